"""What a run exports, how well it must agree, and what is reported of it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from aecompress.flags import FLAGS
from aecompress.spec.fields import FIELDS, DataSpec, RunSpec, metric_of


@dataclass(frozen=True)
class Export:
    """What is exported, how well it must agree, and what is reported of it."""

    spec_hash: str
    seed: int
    metric: str
    """The reported loss."""
    losses: tuple[str, ...]
    """Taken on every split."""
    opset: int
    rows: int
    """Test rows kept beside the model; 0: none."""
    tolerance: float
    """Largest difference of any value, per unit of the largest value (at least 1)."""
    loss_tolerance: float
    """Largest relative difference of a loss."""
    variants: tuple[str, ...]
    """Files beside the three plain ones."""
    values: str
    """Of packed files: one of :data:`aecompress.deploy.grid.VALUES`, or smallest."""
    int8: str
    """Whether int8 files are measured, always kept or never written."""
    variant_loss: float
    """Largest rise of the loss by a variant's rounding, as a share."""
    embed_scaling: bool
    """Whether the files take raw rows."""
    quantile: float
    """Share of training rows below the scorer's threshold."""
    bits: int
    """Of the weights, where training rounds them; else 0."""
    pca_command: str
    """What exports the principal components of the same rows, but for the size of the code; empty: rows in memory."""
    is_pca: bool
    """Whether the network has the form of them."""
    brought: bool
    """Whether its layers are those of a model from elsewhere."""


def export_of(spec: RunSpec) -> Export:
    """Return what a complete spec exports."""
    return Export(
        spec_hash=spec.hash,
        seed=spec.seed,
        metric=metric_of(spec.train.loss),
        losses=("l1", "mse", *EXTRA_LOSSES.get(spec.train.loss, ())),
        bits=spec.train.bits,
        pca_command=pca_command(spec.data, spec.seed),
        is_pca=spec.model.network == "pca",
        brought=bool(spec.model.init),
        **spec.export.model_dump(),
    )


EXTRA_LOSSES = {"bce": ("bce",), "bce-then-l1": ("bce",), "huber": ("huber",)}
"""Reported besides L1 and MSE, by the loss of training."""


def pca_command(data: DataSpec, seed: int) -> str:
    """Return the command that exports the principal components of the rows of a spec, split as they are."""
    words = ["aecompress", "prune", data.source, *data.more]
    for flag in FLAGS:
        section, _, name = flag.field.partition(".")
        if section == "data" and (value := getattr(data, name)) != FIELDS[flag.field]:
            words += [flag.flag, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    seeded = ["--seed", str(seed)] if seed != FIELDS["seed"] else []
    return shlex.join([*words, *seeded, "--network", "pca"])
