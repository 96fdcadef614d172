"""What a model is expected to give on some rows, and how far float32 arithmetic alone moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from aecompress import rng
from aecompress.deploy import graph, reference
from aecompress.deploy.checkpoint import Floats, Model
from aecompress.deploy.compact import Chain, run
from aecompress.deploy.graph import PARTS, Affine
from aecompress.layers.base import Shape
from aecompress.polling import Poll, no_poll

PROBES = 64


ROUNDING = 4.0
"""Multiple of what float32 costs NumPy that onnxruntime, which adds in another order, is allowed on top."""


ENDS = {**PARTS, "scorer": ("input", "score")}
"""Names of each part's input and output."""


SIGNATURES = {ends: part for part, ends in ENDS.items()}


class Expected(NamedTuple):
    """What one part of the model gives on some rows, and how far float32 arithmetic alone moves it."""

    name: str
    fed: Floats
    right: NDArray[np.float64]
    """In scaled units, also where the file gives raw rows."""
    noise: float | NDArray[np.float64]
    """Of all values, or of each of a row ``[*shape]``."""
    scaling: Affine | None = None
    """Of the output, where the file gives raw rows."""

    def scaled(self, output: NDArray[Any] | str) -> NDArray[Any] | str:
        """Return an output in the units of :attr:`right`, so that a column of large values does not hide the others.

        How a file failed, in words, and an output of another shape stay as they are.
        """
        if isinstance(output, str) or self.scaling is None or output.shape[1:] != self.right.shape[1:]:
            return output
        return self.scaling.scale(output.astype(np.float64))


Expectations = Mapping[str, Sequence[Expected]]
"""By part."""


def expectations(
    model: Model, rows: Floats, poll: Poll = no_poll, scaling: Affine | None = None
) -> dict[str, list[Expected]]:
    """Return what the reference gives for scaled ``rows`` ``[N, *shape]`` and for random probes.

    Args:
        scaling: of files that take raw rows: the rows are then as these see them (:func:`seen`).
    """
    found: dict[str, list[Expected]] = {part: [] for part in PARTS}
    for name, given in (("rows", rows), ("probes", probes(rows, model.shape))):
        if not len(given):
            continue
        given = seen(given, scaling)
        exact = reference.reconstruct(model, given, np.float64, poll)
        single = reference.reconstruct(model, given, np.float32, poll)
        latent, whole = (ROUNDING * float(np.abs(a - b).max()) for a, b in zip(exact, single, strict=True))
        found["encoder"].append(Expected(name, given, exact[0], latent))
        found["decoder"].append(Expected(name, exact[0].astype(np.float32), exact[1], whole))
        found["autoencoder"].append(Expected(name, given, exact[1], whole))
    return found


def rounded(expected: Expectations, chains: Mapping[str, Chain]) -> dict[str, list[Expected]]:
    """Return the same rows through ``chains``, whose stored tensors are not the trained ones."""
    return {
        part: [
            Expected(
                one.name,
                one.fed,
                right,
                # Rounding hardly changes how far arithmetic moves a network; the larger of two samples is nearer to it.
                np.maximum(one.noise, ROUNDING * float(np.abs(right - run(chain, one.fed, np.float32)).max())),
            )
            for one in expected[part]
            for right in [run(chain, one.fed)]
        ]
        for part, chain in chains.items()
    }


def unscaled(expected: Expectations, scaling: Affine) -> dict[str, list[Expected]]:
    """Return the same for files that take raw rows and give raw reconstructions."""
    found: dict[str, list[Expected]] = {}
    for part, cases in expected.items():
        found[part] = []
        for one in cases:
            fed, noise, inside = one.fed, one.noise, None
            if ENDS[part][0] == "input":
                # What scaling in float32 loses reaches the output no more than the rows' own rounding does there.
                fed = scaling.raw(one.fed)
                noise = noise + ROUNDING * float(np.abs(scaling.scale(fed) - one.fed).max())
            if ENDS[part][1] == "reconstruction":
                noise, inside = noise + ROUNDING * raw_rounding(one.right, scaling), scaling
            found[part].append(Expected(one.name, fed, one.right, noise, inside))
    return found


def raw_rounding(scaled: NDArray[np.floating[Any]], scaling: Affine) -> NDArray[np.float64]:
    """Return by how much rounding raw values to float32 moves the scaled ones of rows ``[N, *shape]``: ``[*shape]``."""
    ends = (np.abs(scaling.raw(extreme)) for extreme in (scaled.min(axis=0), scaled.max(axis=0)))
    return np.spacing(np.maximum(*ends)).astype(np.float64) / 2 / np.abs(scaling.divisor)


def seen(rows: Floats, scaling: Affine | None) -> Floats:
    """Return scaled ``rows`` ``[N, *shape]`` as a file that takes raw rows in float32 sees them."""
    return rows if scaling is None else scaling.scale(scaling.raw(rows)).astype(np.float32, copy=False)


def scored(expected: Expectations, metric: str) -> dict[str, list[Expected]]:
    """Return what a scorer gives: the mean error of each row."""
    return {
        "scorer": [
            Expected(one.name, one.fed, reference.row_losses(metric, one.right, one.fed), 4 * one.noise)
            for one in expected["autoencoder"]
        ]
    }


def embedded(proto: onnx.ModelProto, model: Model) -> Affine | None:
    """Return the scaling that a file says it has inside; None where it takes scaled rows."""
    inside = any(entry.key == graph.SCALING_KEY for entry in proto.metadata_props)
    return affine(model) if inside else None


def affine(model: Model) -> Affine | None:
    """Return the scaling of a model as arrays: one number, or one for each value of a row ``[*shape]``.

    None where scaled rows are the raw ones.
    """
    offset, divisor = (np.asarray(model.scaling[key], np.float32) for key in ("offset", "divisor"))
    if not offset.any() and np.all(divisor == 1):
        return None
    return Affine(*(values.reshape(model.shape) if values.ndim else values for values in (offset, divisor)))


def probes(rows: Floats, shape: Shape) -> Floats:
    """Draw uniform rows ``[64, *shape]`` over the range of ``rows``: they reach inputs that real rows never use."""
    low, high = (float(rows.min()), float(rows.max())) if len(rows) else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    draws = rng.host(0, "verify-probes").random((PROBES, *shape))
    return (low + (high - low) * draws).astype(np.float32)
