"""Maps of each unit by itself as steps: batch norm, and arithmetic with constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from aecompress.deploy.pretrained.exported.place import Array, Place, Steps, step
from aecompress.deploy.pretrained.exported.products import factor
from aecompress.layers.base import Shape


def batch_norm(place: Place) -> Steps:
    """Return batch norm by the statistics that were kept in training."""
    weight, bias, mean, variance = (place.constant(at) for at in range(1, 5))
    tensors = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": variance}
    if place.op == "_native_batch_norm_legit_no_training":
        return [step(place, "batch-norm", tensors, eps=float(place.get(6)))]
    if place.get(5) or mean is None or variance is None:
        return by_batch(place)
    return [step(place, "batch-norm", tensors, eps=float(place.get(7)))]


def by_batch(place: Place) -> Steps:
    """Refuse a normalisation by other rows."""
    raise place.refused("normalises by the batch that it is given", "train it with track_running_stats=True")


def added(place: Place) -> Steps:
    """Return ``x + alpha c`` or ``c + alpha x``."""
    alpha = np.float32(factor(place, "alpha"))
    if place.get(0) is place.below:
        return affine(place, np.float32(1), constant_of(place, 1) * alpha)
    return affine(place, alpha, constant_of(place, 0))


def subtracted(place: Place) -> Steps:
    """Return ``x - alpha c`` or ``c - alpha x``; of ``rsub`` the other way around."""
    alpha = np.float32(place.get(2, "alpha", 1))
    first = place.get(0) is place.below
    other = constant_of(place, 1 if first else 0)
    if place.op == "rsub":
        return affine(place, -alpha, other)
    return affine(place, np.float32(1), -other * alpha) if first else affine(place, -alpha, other)


def multiplied(place: Place) -> Steps:
    """Return ``x c``."""
    return affine(place, constant_of(place, 1 if place.get(0) is place.below else 0), np.float32(0))


def divided(place: Place) -> Steps:
    """Return ``x / c``."""
    if place.get(0) is not place.below or place.node.kwargs.get("rounding_mode"):
        raise place.refused("is no division by a constant", "write it with layers and activations alone")
    divisor = constant_of(place, 1)
    if not divisor.all():
        raise place.refused("divides by 0", "correct the constant")
    return affine(place, (1 / divisor.astype(np.float64)).astype(np.float32), np.float32(0))


def negated(place: Place) -> Steps:
    """Return ``-x``."""
    return affine(place, np.float32(-1), np.float32(0))


def constant_of(place: Place, at: int) -> Array:
    """Return an argument that is a number or a constant tensor."""
    found = place.constant(at)
    assert found is not None
    return found


def affine(place: Place, weight: Array | np.float32, bias: Array | np.float32) -> Steps:
    """Return ``x weight + bias`` of constants that broadcast to a row's values; nothing where it changes nothing."""
    weight, bias = np.asarray(weight, np.float32), np.asarray(bias, np.float32)
    if (weight == 1).all() and not bias.any():
        return []
    shape = place.given
    numbers: dict[str, Any] = {}
    spread = [spread_over(place, each) for each in (weight, bias)]
    if all(each.size == 1 for each in spread):
        wanted: Shape = (1,)
    elif along(spread, shape, 0):
        wanted = (shape[0],)
    elif along(spread, shape, len(shape) - 1):
        wanted, numbers = (shape[-1],), {"axis": -1}
    else:
        wanted = (math.prod(shape),)
        spread = [np.broadcast_to(each, shape) for each in spread]
    tensors = {
        name: np.array(np.broadcast_to(each.reshape(-1), wanted), np.float32)
        for name, each in zip(("weight", "bias"), spread, strict=True)
    }
    found = [step(place, "affine", tensors, **numbers)]
    if wanted == (math.prod(shape),) and len(shape) > 1 and wanted != (1,):
        return [step(place, "reshape", shape=wanted), *found, step(place, "reshape", shape=shape)]
    return found


def spread_over(place: Place, constant: Array) -> Array:
    """Return a constant with as many axes as a row has; the batch must not count in it.

    Raises:
        DataError: it has a value for each row of the batch.
    """
    axes = len(place.given) + 1
    found = constant.reshape((1,) * (axes - constant.ndim) + constant.shape)
    if found.shape[place.batch] != 1:
        raise place.refused("has a constant of each row of the batch", "use constants that are the same for all rows")
    return found.reshape(found.shape[: place.batch] + found.shape[place.batch + 1 :])


def along(constants: list[Array], shape: Shape, axis: int) -> bool:
    """Return whether constants vary along one axis of a row alone."""
    return all(
        size == 1 or (at == axis and size == shape[at])
        for constant in constants
        for at, size in enumerate(constant.shape)
    )
