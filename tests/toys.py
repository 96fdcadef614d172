"""A toy operator, two toy schedules and a toy variant, each added by one row of the registry."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from aecompress.deploy.variants.base import Outcome, Request, Source
from aecompress.deploy.verify import Check
from aecompress.evolve.evidence import Evidence
from aecompress.evolve.schedules import Curve, Schedule, Shape
from aecompress.files import write_bytes
from aecompress.polling import Poll
from aecompress.registry import OperatorRow, ScheduleRow, VariantRow


def order(evidence: Evidence) -> Tensor:
    """The place of every weight: the first go first, ``[P, model_size]``."""
    return torch.arange(float(evidence.net.model_size)).expand(len(evidence.weights), -1)


def order_published(evidence: Evidence) -> Tensor:
    """The first tenth goes."""
    return order(evidence) >= 0.1 * evidence.net.model_size


def sometimes(shape: Shape) -> Schedule:
    """Return s(t) = p in every other generation."""
    return lambda t: shape.probability * (t % 2)


def straight(start: float, end: float) -> Curve:
    """Return the straight rise from ``start`` to ``end``."""
    return lambda progress: min(max((progress - start) / (end - start), 0.0), 1.0)


def listing(folder: Path, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """``layers.txt``: the names of the layers."""
    names = [layer.name for layer in source.model.layers]
    write_bytes(folder / "layers.txt", "\n".join(names).encode())
    outcome.checks.append(Check("layers.txt names", True, f"{len(names)} layers"))
    outcome.files["layers"] = "layers.txt"


ORDER = OperatorRow(score="tests.toys:order", published="tests.toys:order_published")
SOMETIMES = ScheduleRow(build="tests.toys:sometimes")
STRAIGHT = ScheduleRow(build="tests.toys:straight", rise=True)
LISTING = VariantRow(write="tests.toys:listing")
