"""Every operator at every granularity under every drive, through real runs: what is reported is what is in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecompress.deploy.checkpoint import load_model
from aecompress.errors import SpecError
from aecompress.events import Finished, Front, Generation
from aecompress.evolve.operators import operator_of
from aecompress.registry import OPERATORS
from aecompress.runs.front import load
from aecompress.runs.job import prepare
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve

TARGET, PROBABILITY = 0.6, 0.8
WORK: dict[str, Any] = {
    "data.source": "binary-clusters:4x10x30", "model.hidden": [8], "model.latent": 4, "train.epochs": 6,
    "train.batch": 8, "evolve.cells": 3,
}  # fmt: skip
DRIVES: dict[str, dict[str, Any]] = {
    "target": {"prune.target_sparsity": TARGET, "prune.regrowth": 0.0},
    "target with regrowth": {"prune.target_sparsity": TARGET, "prune.regrowth": 0.5},
    "target, values only": {"prune.target_sparsity": TARGET, "prune.masks": "free"},
    "probability": {"prune.probability": PROBABILITY, "prune.schedule": "fixed"},
}


def counted(folder: Path) -> int:
    """Exact zeros in a model folder's model.safetensors."""
    return sum(int((tensor == 0).sum()) for tensor in load_model(folder).tensors.values())


def refused(operator: str, granularity: str, drive: str) -> str:
    """What the refusal says of a combination that cannot be; empty of one that can."""
    if drive == "probability" and granularity == "unit":
        return "the published forms say themselves what they cut"
    return "has no published form" if drive == "probability" and operator_of(operator).published is None else ""


def test_what_is_refused_follows_from_the_rows() -> None:
    table = [(o, g, d) for o in OPERATORS for g in ("weight", "unit") for d in DRIVES]
    without = sum(not row.published for row in OPERATORS.values())
    assert sum(bool(refused(*line)) for line in table) == without + len(OPERATORS)


@pytest.mark.parametrize("drive", DRIVES)
@pytest.mark.parametrize("granularity", ["weight", "unit"])
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("mode", ["canonical", "coevo"])
def test_the_zeros_reported_are_those_in_the_file(
    tmp_path: Path, mode: str, operator: str, granularity: str, drive: str
) -> None:
    fields = WORK | DRIVES[drive] | {"prune.operator": operator, "prune.granularity": granularity, "mode": mode}
    resolved = {path: ("table", value) for path, value in fields.items()}
    why = refused(operator, granularity, drive)
    if why:
        with pytest.raises(SpecError, match=why):
            prepare(resolve(resolved), tmp_path / "r")
        assert not (tmp_path / "r").exists()
        return
    said = list(run(prepare(resolve(resolved), tmp_path / "r")))
    (end,) = [event for event in said if isinstance(event, Finished)]
    (front,) = [event for event in said if isinstance(event, Front)]
    last = [event for event in said if isinstance(event, Generation)][-1]
    model = load_model(tmp_path / "r" / "model")
    zeros = counted(tmp_path / "r" / "model")
    assert end.zeros == model.zeros == zeros and end.parameters == model.parameters
    assert end.sparsity == pytest.approx(zeros / model.parameters)
    assert model.parameters - zeros in front.nonzeros
    if mode == "canonical":
        assert round(last.sparsity[-1] * model.parameters) == zeros
    if (tmp_path / "r" / "front").is_dir():
        found = load(tmp_path / "r")
        assert [one.nonzeros for one in found] == [model.parameters - counted(one.path) for one in found]
        assert [one.nonzeros for one in found] == list(front.nonzeros)
    if drive != "probability":
        wanted = round(TARGET * model.parameters)
        assert zeros >= wanted
        if granularity == "weight" and drive == "target" and mode == "canonical":
            assert zeros == wanted
    assert np.isfinite(end.metrics["test_l1"])
