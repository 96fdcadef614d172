"""What a model is expected to give on some rows, and how far float32 arithmetic alone moves it."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from aecompress import rng
from aecompress.deploy import graph, reference
from aecompress.deploy.checkpoint import Floats, Model
from aecompress.deploy.compact import Chain, run
from aecompress.deploy.graph import PARTS, Affine
from aecompress.layers.base import Shape
from aecompress.polling import Poll, no_poll
from aecompress.registry import VARIANTS

PROBES = 64


ROUNDING = 4.0
"""Multiple of what float32 costs NumPy that onnxruntime, which adds in another order, is allowed on top."""


STEPS = 256
"""Of eight-bit arithmetic over the range of its values."""


def ends() -> dict[str, tuple[str, str]]:
    """Return the names of the input and output of each part, and of each variant that has others."""
    return PARTS | {name: row.ends for name, row in VARIANTS.items() if row.ends is not None}


def part_of(runner: onnxruntime.InferenceSession) -> str:
    """Return which part, or variant with other ends, a file is by the names of its ends; empty where it is none."""
    names = tuple(node.name for node in (*runner.get_inputs(), *runner.get_outputs()))
    return next((part for part, own in ends().items() if own == names), "")


class Expected(NamedTuple):
    """What one part of the model gives on some rows, and how far arithmetic alone moves it."""

    name: str
    fed: Floats
    right: NDArray[np.float64]
    """In scaled units, also where the file gives raw rows."""
    noise: float | NDArray[np.float64]
    """How far float32 arithmetic moves it: all values, or each of a row ``[*shape]``."""
    step: float
    """How far it moves where eight-bit kernels round a half to either side."""
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


def expected_of(name: str, fed: Floats, right: NDArray[np.float64], noise: float | NDArray[np.float64]) -> Expected:
    """Return what a part gives, with the step of its values."""
    return Expected(name, fed, right, noise, float(np.ptp(right)) / STEPS)


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
        latent, whole = (ROUNDING * moved for moved in rounding_of(model, given, exact, poll))
        found["encoder"].append(expected_of(name, given, exact[0], latent))
        found["decoder"].append(expected_of(name, exact[0].astype(np.float32), exact[1], whole))
        found["autoencoder"].append(expected_of(name, given, exact[1], whole))
    return found


def rounding_of(
    model: Model, rows: Floats, exact: tuple[NDArray[np.float64], NDArray[np.float64]], poll: Poll
) -> NDArray[np.float64]:
    """Return how far float32 moves latent codes and reconstructions of ``rows`` from ``exact`` ones: ``[2]``."""
    most = np.zeros(2)
    for part in reference.parts_of(rows, reference.CHUNK_VALUES):
        single = reference.reconstruct(model, rows[part], np.float32, poll)
        found = [float(reference.largest_difference(a[part], b).max()) for a, b in zip(exact, single, strict=True)]
        most = np.maximum(most, found)
    return most


def rounded(expected: Expectations, chains: Mapping[str, Chain]) -> dict[str, list[Expected]]:
    """Return the same rows through ``chains``, whose stored tensors are not the trained ones."""
    return {
        part: [
            expected_of(
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
        source, result = ends()[part]
        for one in cases:
            fed, noise, inside = one.fed, one.noise, None
            if source == "input":
                # What scaling in float32 loses reaches the output no more than the rows' own rounding does there.
                fed = scaling.raw(one.fed)
                noise = noise + ROUNDING * float(np.abs(scaling.scale(fed) - one.fed).max())
            if result == "reconstruction":
                noise, inside = noise + ROUNDING * raw_rounding(one.right, scaling), scaling
            found[part].append(Expected(one.name, fed, one.right, noise, one.step, inside))
    return found


def raw_rounding(scaled: NDArray[np.floating[Any]], scaling: Affine) -> NDArray[np.float64]:
    """Return by how much rounding raw values to float32 moves the scaled ones of rows ``[N, *shape]``: ``[*shape]``."""
    extremes = (np.abs(scaling.raw(extreme)) for extreme in (scaled.min(axis=0), scaled.max(axis=0)))
    return np.spacing(np.maximum(*extremes)).astype(np.float64) / 2 / np.abs(scaling.divisor)


def seen(rows: Floats, scaling: Affine | None) -> Floats:
    """Return scaled ``rows`` ``[N, *shape]`` as a file that takes raw rows in float32 sees them."""
    return rows if scaling is None else scaling.scale(scaling.raw(rows)).astype(np.float32, copy=False)


def score_metric(name: str) -> str:
    """Return the metric that a scorer reports: the run's where it is l1, else mse."""
    return "l1" if name == "l1" else "mse"


def scored(expected: Expectations, metric: str) -> dict[str, list[Expected]]:
    """Return what the scorer of a run with this ``metric`` gives: the mean error of each row.

    A step of s moves a row's l1 by s at most, its mse of m by 2 s sqrt(m) + s^2 (Cauchy and Schwarz).
    """
    kind = score_metric(metric)
    found = []
    for one in expected["autoencoder"]:
        right = reference.row_losses(kind, one.right, one.fed)
        most = 2 * one.step * float(np.sqrt(right.max(initial=0.0))) + one.step**2
        found.append(Expected(one.name, one.fed, right, 4 * one.noise, one.step if kind == "l1" else most))
    return {"scorer": found}


def of_variants(expected: Expectations, metric: str) -> dict[str, Sequence[Expected]]:
    """Return the same and, of each variant with other ends than the three parts, what it gives."""
    found = dict(expected)
    for row in VARIANTS.values():
        if row.ends is not None:
            found |= pkgutil.resolve_name(row.expects)(expected, metric)
    return found


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
