"""A model as other programs define it: a chain of steps in torch's conventions, and what of it folds into layers.

Values are channels-first, as torch has them: ``[C, H, W]`` for images, ``[C, L]`` for a convolution's series, and
``[L, C]`` for a recurrent layer's. Shapes and axes leave the batch out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.errors import DataError

UNKNOWN = ""
"""The activation of a layer where the file has none: a file of weights holds no activations."""
CONVOLUTIONS = ("conv1d", "conv2d", "conv1d-transpose", "conv2d-transpose")
PRODUCTS = ("linear", *CONVOLUTIONS)
"""Steps whose result an affine map after them can go into."""
RECURRENT = ("lstm", "gru")
WEIGHTED = (*PRODUCTS, *RECURRENT, "affine")
VANISHING = ("dropout", "identity")
"""Steps that do nothing once a model is trained."""
SHAPING = ("flatten", "unflatten", "reshape", "permute")
PER_UNIT = ("upsample", "repeat", "global-avg-pool", "avg-pool", "max-pool")
"""Steps that treat every unit alike."""
OPS = (*WEIGHTED, "batch-norm", "activation", *VANISHING, *SHAPING, *PER_UNIT)
"""What a step can be."""
BATCH_NORM_EPS = 1e-5
"""Added to a variance, where a file does not say it: torch's default."""

Array = NDArray[Any]


class Step(NamedTuple):
    """One step of a chain.

    ``linear``, ``conv1d``, ``conv2d`` and their ``-transpose``: tensors weight and, if there is one, bias, in torch's
    layout; numbers stride, padding, dilation, groups, output_padding. ``batch-norm``: running_mean, running_var, and
    weight and bias where it has them; eps. ``affine``: x * weight + bias, each of one value or one a unit (``axis`` -1:
    units are on the last axis). ``activation``: its name; ``prelu`` has its weight. ``unflatten`` and ``reshape``:
    shape. ``permute``: axes. ``max-pool`` and ``avg-pool``: kernel, stride, padding. ``upsample``: factor, mode.
    ``lstm`` and ``gru``: weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0; sequences. ``repeat``: times.
    """

    name: str
    """Of the module or node, for messages."""
    op: str
    """One of :data:`OPS`."""
    tensors: Mapping[str, Array] = MappingProxyType({})
    numbers: Mapping[str, Any] = MappingProxyType({})
    """A number that is missing has torch's default."""


def activation(name: str, activation: str = UNKNOWN) -> Step:
    """Return the step of an activation."""
    return Step(name, "activation", numbers={"name": activation})


def folded(path: Path, steps: Sequence[Step]) -> list[Step]:
    """Return the same function with fewer steps: what vanishes is gone, affine maps are in the weights beside them.

    A batch norm is x * a + b with a = weight / sqrt(running_var + eps) and b = bias - running_mean * a (Ioffe and
    Szegedy 2015). One that follows a linear layer or a convolution goes into it, any other into the layer after it,
    where that reads no zeros beside its input; what then remains are steps ``affine``. Sums are in float64.

    Args:
        path: for messages.

    Raises:
        DataError: a step is of no known kind, lacks a tensor, or does not fit the step beside it.
    """
    plain = [_plain(path, step) for step in steps if step.op not in VANISHING]
    chain = [step for step in plain if step.op != "activation" or step.numbers["name"] != "identity"]
    place = 0
    while place < len(chain):
        if chain[place].op == "affine":
            rest = _without(path, chain, place)
            if rest is not None:
                chain, place = rest, max(place - 2, 0)
                continue
        place += 1
    return chain


def _plain(path: Path, step: Step) -> Step:
    """Return a step with float64 tensors, a batch norm as the affine map that it is."""
    if step.op not in OPS:
        raise DataError(f"{path}: {step.name} is {step.op!r}, which no layer here is; replace it")
    tensors = {name: np.asarray(tensor, np.float64) for name, tensor in step.tensors.items()}
    needs = {"batch-norm": ("running_mean", "running_var"), "affine": ("weight", "bias")}
    names = needs.get(step.op, ("weight",) if step.op in PRODUCTS else ())
    lacking = [name for name in names if name not in tensors]
    if lacking:
        raise DataError(f"{path}: {step.name} ({step.op}) has no {lacking[0]}; save the model again")
    if step.op == "batch-norm":
        return _batch_norm(path, step, tensors)
    if step.op == "affine":
        tensors = {name: np.atleast_1d(tensor) for name, tensor in tensors.items()}
    if step.op in PRODUCTS:
        tensors.setdefault("bias", np.zeros(outputs(step)))
    return step._replace(tensors=tensors)


def _batch_norm(path: Path, step: Step, tensors: Mapping[str, Array]) -> Step:
    mean, variance = tensors["running_mean"], tensors["running_var"]
    gain, shift = tensors.get("weight", np.ones_like(mean)), tensors.get("bias", np.zeros_like(mean))
    if not mean.shape == variance.shape == gain.shape == shift.shape or mean.ndim != 1:
        raise DataError(f"{path}: {step.name} (batch norm) has tensors of different shapes; save the model again")
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = gain / np.sqrt(variance + step.numbers.get("eps", BATCH_NORM_EPS))
    if not np.isfinite(scale).all():
        raise DataError(f"{path}: {step.name} (batch norm) has variances that are negative; train it again")
    axis = {"axis": step.numbers["axis"]} if "axis" in step.numbers else {}
    return Step(step.name, "affine", {"weight": scale, "bias": shift - mean * scale}, axis)


def outputs(step: Step) -> int:
    """Return the units that a linear layer or a convolution gives."""
    weight = step.tensors["weight"]
    return weight.shape[1] * groups(step) if step.op.endswith("-transpose") else len(weight)


def inputs(step: Step) -> int:
    """Return the units that a layer with weights is given."""
    if step.op in RECURRENT:
        return int(step.tensors["weight_ih_l0"].shape[1])
    weight = step.tensors["weight"]
    return len(weight) if step.op.endswith("-transpose") else weight.shape[1] * groups(step)


def groups(step: Step) -> int:
    """Return how many groups a convolution has."""
    return int(step.numbers.get("groups", 1))


def _without(path: Path, chain: list[Step], place: int) -> list[Step] | None:
    """Return ``chain`` with its affine map at ``place`` in a step beside it; None: in none exactly."""
    affine = chain[place]
    for direction, join in ((-1, _into_before), (1, _into_after)):
        at, moved = place + direction, affine
        while 0 <= at < len(chain):
            beyond = chain[at + direction] if 0 <= at + direction < len(chain) else None
            beyond_it = _through(chain[at], moved, direction, beyond)
            if beyond_it is None:
                break
            at, moved = at + direction, beyond_it
        merged = join(path, chain[at], moved) if 0 <= at < len(chain) else None
        if merged is not None:
            changed = [*chain]
            changed[at] = merged
            return changed[:place] + changed[place + 1 :]
    return None


def _through(step: Step, affine: Step, direction: int, beyond: Step | None) -> Step | None:
    """Return the affine map that does beyond ``step`` what ``affine`` does on this side of it; None: none does."""
    weight, bias = affine.tensors["weight"], affine.tensors["bias"]
    if step.op in SHAPING and len(weight) == len(bias) == 1:
        return affine
    linear = beyond if beyond is not None and beyond.op == "linear" else None
    if step.op in ("unflatten", "reshape") and direction < 0 and linear is not None and "axis" not in affine.numbers:
        return _renewed(affine, np.repeat(_wide(affine), math.prod(step.numbers["shape"][1:]), 1))
    if _flattens(step) and direction > 0 and linear is not None:
        both, values = _wide(affine), inputs(linear)
        places = max(values // both.shape[1], 1)
        return _renewed(affine, np.tile(both, places) if "axis" in affine.numbers else np.repeat(both, places, 1))
    commutes = (
        (step.op == "max-pool" and bool((weight >= 0).all()))
        or (step.op == "avg-pool" and not np.any(step.numbers.get("padding", 0)))
        or step.op in ("upsample", "repeat", "global-avg-pool")
    )
    return affine if commutes else None


def _flattens(step: Step) -> bool:
    return step.op == "flatten" or (step.op == "reshape" and len(step.numbers["shape"]) == 1)


def _wide(affine: Step) -> Array:
    """Return weight and bias of an affine map as ``[2, units]``."""
    return np.stack(np.broadcast_arrays(affine.tensors["weight"], affine.tensors["bias"]))


def _renewed(affine: Step, both: Array) -> Step:
    return Step(affine.name, "affine", {"weight": both[0], "bias": both[1]})


def _into_before(path: Path, step: Step, affine: Step) -> Step | None:
    """Return the step before an affine map with the map in it; None: it cannot be."""
    if step.op == "affine":
        return _renewed_both(path, step, affine)
    if step.op not in PRODUCTS:
        return None
    count, weight = outputs(step), step.tensors["weight"]
    scale, shift = _fitting(path, step, affine, count)
    if step.op.endswith("-transpose"):
        shape = (groups(step), -1, weight.shape[1], *weight.shape[2:])
        factors = scale.reshape(groups(step), 1, weight.shape[1], *[1] * (weight.ndim - 2))
        changed = (weight.reshape(shape) * factors).reshape(weight.shape)
    else:
        changed = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    return step._replace(tensors={**step.tensors, "weight": changed, "bias": step.tensors["bias"] * scale + shift})


def _into_after(path: Path, step: Step, affine: Step) -> Step | None:
    """Return the step after an affine map with the map in it; None: it cannot be."""
    if step.op == "affine":
        return _renewed_both(path, affine, step)
    if step.op in RECURRENT:
        weight = step.tensors["weight_ih_l0"]
        scale, shift = _fitting(path, step, affine, weight.shape[1])
        bias = step.tensors.get("bias_ih_l0", np.zeros(len(weight))) + weight @ shift
        return step._replace(tensors={**step.tensors, "weight_ih_l0": weight * scale, "bias_ih_l0": bias})
    if step.op not in PRODUCTS:
        return None
    bare = affine.tensors["bias"].any()
    if bare and (step.op.endswith("-transpose") or np.any(step.numbers.get("padding", 0))):
        return None  # it reads zeros beside its input, and these are not shifted
    if step.op == "linear" and len(affine.tensors["weight"]) not in (1, inputs(step)):
        return None
    weight, count = step.tensors["weight"], inputs(step)
    scale, shift = _fitting(path, step, affine, count)
    if step.op.endswith("-transpose"):
        changed, added = weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), np.zeros(outputs(step))
    else:
        each = (groups(step), 1, weight.shape[1], *[1] * (weight.ndim - 2))
        grouped = weight.reshape(groups(step), -1, *weight.shape[1:])
        changed = (grouped * scale.reshape(each)).reshape(weight.shape)
        added = (grouped * shift.reshape(each)).reshape(len(weight), -1).sum(1)
    return step._replace(tensors={**step.tensors, "weight": changed, "bias": step.tensors["bias"] + added})


def _renewed_both(path: Path, first: Step, second: Step) -> Step:
    """Return two affine maps as one."""
    one, two = _wide(first), _wide(second)
    if 1 not in (one.shape[1], two.shape[1]) and one.shape != two.shape:
        raise DataError(f"{path}: {second.name} has {two.shape[1]} values, {first.name} before it {one.shape[1]}")
    axis = {**first.numbers, **second.numbers}
    weight, bias = one[0] * two[0], one[1] * two[0] + two[1]
    return Step(first.name, "affine", {"weight": weight, "bias": np.broadcast_to(bias, weight.shape)}, axis)


def _fitting(path: Path, step: Step, affine: Step, count: int) -> tuple[Array, Array]:
    """Return weight and bias of an affine map, one a unit.

    Raises:
        DataError: it has another number.
    """
    both = _wide(affine)
    if both.shape[1] not in (1, count):
        raise DataError(
            f"{path}: {affine.name} has {both.shape[1]} values, {step.name} beside it {count} units; save it again"
        )
    scale, shift = np.broadcast_to(both, (2, count))
    return scale, shift
