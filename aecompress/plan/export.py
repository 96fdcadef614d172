"""What a run exports, how well it must agree, and what is reported of it."""

from __future__ import annotations

from dataclasses import dataclass

from aecompress.spec.fields import RunSpec, metric_of


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


def export_of(spec: RunSpec) -> Export:
    """Return what a complete spec exports."""
    return Export(
        spec_hash=spec.hash,
        seed=spec.seed,
        metric=metric_of(spec.train.loss),
        losses=("l1", "mse", *EXTRA_LOSSES.get(spec.train.loss, ())),
        **spec.export.model_dump(),
    )


EXTRA_LOSSES = {"bce": ("bce",), "bce-then-l1": ("bce",), "huber": ("huber",)}
"""Reported besides L1 and MSE, by the loss of training."""
