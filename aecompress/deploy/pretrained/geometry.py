"""Strides and paddings of convolutions, which a file of weights does not hold: those that give shapes that fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from aecompress.deploy.pretrained.steps import CONVOLUTIONS, Step
from aecompress.errors import DataError
from aecompress.layers.base import Shape


def shaped(path: Path, steps: Sequence[Step], rows: Shape | None) -> Iterator[tuple[tuple[Step, ...], tuple[str, ...]]]:
    """Yield the steps with numbers of their convolutions, and what is assumed with them.

    Raises:
        DataError: there are no such numbers, or too many.
    """
    odd = next((step for step in steps if step.op in CONVOLUTIONS), None)
    if odd is not None:
        raise DataError(f"{path}: {odd.name} is a convolution, whose stride and padding the file does not hold")
    yield tuple(steps), ()
