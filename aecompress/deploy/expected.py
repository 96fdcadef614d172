"""What a model is expected to give on some rows, and how far float32 arithmetic alone moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

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


class Expected(NamedTuple):
    """What one part of the model gives on some rows, and how far float32 arithmetic alone moves it."""

    name: str
    fed: Floats
    right: NDArray[np.float64]
    noise: float


Expectations = Mapping[str, Sequence[Expected]]
"""By part."""


def expectations(model: Model, rows: Floats, poll: Poll = no_poll) -> dict[str, list[Expected]]:
    """Return what the reference gives for scaled ``rows`` ``[N, *shape]`` and for random probes."""
    found: dict[str, list[Expected]] = {part: [] for part in PARTS}
    for name, given in (("rows", rows), ("probes", probes(rows, model.shape))):
        if not len(given):
            continue
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
                max(one.noise, ROUNDING * float(np.abs(right - run(chain, one.fed, np.float32)).max())),
            )
            for one in expected[part]
            for right in [run(chain, one.fed)]
        ]
        for part, chain in chains.items()
    }


def unscaled(expected: Expectations, scaling: Affine) -> dict[str, list[Expected]]:
    """Return the same for files that take raw rows and give raw reconstructions."""
    offset, divisor = scaling.offset.astype(np.float64), scaling.divisor.astype(np.float64)
    found: dict[str, list[Expected]] = {}
    for part, cases in expected.items():
        found[part] = []
        for one in cases:
            fed, right, noise = one.fed, one.right, one.noise
            if ENDS[part][0] == "input":
                # What scaling in float32 loses reaches the output no more than the rows' own rounding does there.
                fed = (one.fed * divisor + offset).astype(np.float32)
                noise += ROUNDING * float(np.abs((fed - offset) / divisor - one.fed).max())
            if ENDS[part][1] == "reconstruction":
                right, noise = right * divisor + offset, noise * float(np.abs(divisor).max())
            found[part].append(Expected(one.name, fed, right, noise))
    return found


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


def affine(model: Model) -> Affine:
    """Return the scaling of a model as arrays: one number, or one for each value of a row ``[*shape]``."""
    offset, divisor = (np.asarray(model.scaling[key], np.float32) for key in ("offset", "divisor"))
    return Affine(*(values.reshape(model.shape) if values.ndim else values for values in (offset, divisor)))


def probes(rows: Floats, shape: Shape) -> Floats:
    """Draw uniform rows ``[64, *shape]`` over the range of ``rows``: they reach inputs that real rows never use."""
    low, high = (float(rows.min()), float(rows.max())) if len(rows) else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    draws = rng.host(0, "verify-probes").random((PROBES, *shape))
    return (low + (high - low) * draws).astype(np.float32)
