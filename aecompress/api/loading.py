"""Trained models from folders, as an estimator holds them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from aecompress.api.fitted import Trained
from aecompress.api.front import dense_loss
from aecompress.api.history import history_of
from aecompress.data.base import Request
from aecompress.data.encoding import Encoding
from aecompress.deploy.checkpoint import Model, load_model, model_folder, shape_from_json
from aecompress.deploy.reference import LOSSES
from aecompress.errors import DataError
from aecompress.events import SPLITS
from aecompress.files import standing
from aecompress.plan.export import export_of
from aecompress.runs import front
from aecompress.runs.again import windowed
from aecompress.runs.ended import read_run
from aecompress.runs.job import started_with
from aecompress.spec.fields import RunSpec

SCORER = "scorer.onnx"
"""Whose threshold is that of the model."""


def loaded(folder: Path) -> tuple[RunSpec | None, Trained]:
    """Return the model of a run folder, a model folder or a member of a front, and the run's spec where it is there.

    Raises:
        DataError: there is no complete model, or one that was changed.
    """
    is_run = (folder / "run.json").exists()
    where = model_folder(folder)
    model = load_model(where)
    spec, log = None, []
    members: tuple[Model, ...] = ()
    if is_run:
        spec = started_with(folder)[0].spec
        log = read_run(folder)
    about = described(where / "config.json", model)
    if is_run:
        paths = map(standing, front.check(folder))
        members = tuple(with_losses(path, load_model(path), about.metric) for path in paths)
    return spec, Trained(
        model=model,
        front=members or (with_losses(where, model, about.metric),),
        metric=about.metric,
        names=about.names,
        row_shape=about.row_shape,
        threshold=about.threshold,
        encoding=about.encoding,
        decisions=about.decisions,
        history=history_of(log, about.metric) if log else None,
        dense_loss=dense_loss(log),
        export=export_of(spec or RunSpec()),
        run=folder if is_run else None,
    )


class Described(NamedTuple):
    """What config.json says of a model beside its layers and its scaling."""

    metric: str
    names: tuple[str, ...]
    row_shape: tuple[int, ...]
    threshold: float | None
    encoding: Encoding | None
    decisions: tuple[str, ...]


def described(path: Path, model: Model) -> Described:
    """Return what the config at ``path`` says of a model.

    Raises:
        DataError: it is not what aecompress writes.
    """
    about = model.about
    names, decisions = about.get("inputs", []), about.get("decisions", [])
    shape, window = about.get("row_shape", list(model.shape)), windowed(Request(), model, path.parent).window
    try:
        right = (
            about["metric"] in LOSSES
            and all(isinstance(text, str) for text in [*names, *decisions])
            and len(names) in (0, model.inputs, model.inputs // (window or 1))
            and math.prod(shape_from_json(shape)) == model.inputs
        )
        limit = about["threshold"]["value"] if "threshold" in about else about.get("thresholds", {}).get(SCORER)
        right = right and (limit is None or (isinstance(limit, float) and math.isfinite(limit)))
    except (AttributeError, KeyError, TypeError):
        right = False
    if not right:
        raise DataError(f"{path}: metric, inputs, row_shape or threshold is not that of a model; make the model again")
    encoding = Encoding.from_json(about["columns"], path) if "columns" in about else None
    if encoding is not None and len(encoding.inputs) * (window or 1) != model.inputs:
        raise DataError(f"{path}: columns do not make the {model.inputs} inputs of the model; make the model again")
    return Described(
        metric=about["metric"],
        names=tuple(names),
        row_shape=tuple(shape),
        threshold=limit,
        encoding=encoding,
        decisions=tuple(decisions),
    )


def with_losses(folder: Path, model: Model, metric: str) -> Model:
    """Return an exported model with its losses, as a member of a front has them.

    Raises:
        DataError: its config does not have them.
    """
    metrics = model.about.get("metrics")
    metrics = metrics if isinstance(metrics, dict) else {}
    losses = {split: metrics[f"{split}_{metric}"] for split in SPLITS if f"{split}_{metric}" in metrics}
    found = replace(model, about={"losses": losses, **model.about})
    front.losses_of(folder, found)
    return found
