"""Operators that move values and compute nothing, on constants and on the indices of a view alike."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from aecompress.deploy.pretrained.onnx.nodes import Array, Node
from aecompress.deploy.pretrained.views import LOWEST, MOST_VALUES, ZERO, Refused

Move = Callable[[Array, Node], "Array | list[Array]"]
VERY_LOW = -1e30
"""Padding at most this is no maximum."""


def check_count(count: int) -> None:
    """Refuse to make so many values of fewer.

    Raises:
        Refused: they are too many.
    """
    if count > MOST_VALUES:
        raise Refused(f"gives {count:,} values, more than are read; give a smaller model")


def axes_of(node: Node, place: int, count: int) -> tuple[int, ...] | None:
    """Return the axes that a node names, counted from 0 of ``count``; None: it names none."""
    axes = node.numbers("axes", place)
    return None if axes is None else tuple(axis % count for axis in axes)


def reshape(x: Array, node: Node) -> Array:
    """Reshape; 0 keeps an axis, unless the node says otherwise."""
    shape = node.numbers("shape", 1) or []
    if not node.about.get("allowzero"):
        shape = [x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)]
    return x.reshape(shape)


def flatten(x: Array, node: Node) -> Array:
    """Make two axes, those before ``axis`` and those after it."""
    axis = int(node.about.get("axis", 1))
    axis += x.ndim if axis < 0 else 0
    return x.reshape(math.prod(x.shape[:axis]), -1)


def squeeze(x: Array, node: Node) -> Array:
    """Drop axes of one value."""
    axes = axes_of(node, 1, max(x.ndim, 1))
    return x.squeeze(axes)


def unsqueeze(x: Array, node: Node) -> Array:
    """Insert axes of one value."""
    axes = node.numbers("axes", 1) or []
    return np.expand_dims(x, tuple(axis % (x.ndim + len(axes)) for axis in axes))


def transpose(x: Array, node: Node) -> Array:
    """Permute axes; the other way round where the node does not say how."""
    return x.transpose(node.about.get("perm"))


def expand(x: Array, node: Node) -> Array:
    """Broadcast to a shape."""
    shape = np.broadcast_shapes(x.shape, tuple(node.numbers("shape", 1) or []))
    check_count(math.prod(shape))
    return np.broadcast_to(x, shape)


def tile(x: Array, node: Node) -> Array:
    """Repeat along each axis."""
    times = node.numbers("repeats", 1) or []
    check_count(x.size * math.prod(times))
    return np.tile(x, times)


def slice_of(x: Array, node: Node) -> Array:
    """Take stretches of axes."""
    starts, ends = node.numbers("starts", 1) or [], node.numbers("ends", 2) or []
    axes = node.numbers("axes", 3) or list(range(len(starts)))
    steps = node.numbers("steps", 4) or [1] * len(starts)
    taken = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        size = x.shape[axis]
        stop = None if step < 0 and end < -size else end
        taken[axis] = slice(start, stop, step)
    return x[tuple(taken)]


def gather(x: Array, node: Node) -> Array:
    """Take places along an axis."""
    axis, places = int(node.about.get("axis", 0)) % max(x.ndim, 1), node.stored(1)
    check_count(x.size // max(x.shape[axis], 1) * places.size)
    return np.take(x, places.astype(np.int64), axis)


def split(x: Array, node: Node) -> list[Array]:
    """Cut an axis into pieces."""
    axis, sizes = int(node.about.get("axis", 0)), node.numbers("split", 1)
    if sizes is None:
        each = -(-x.shape[axis] // node.outputs)
        return np.split(x, range(each, x.shape[axis], each), axis)
    return np.split(x, np.cumsum(sizes)[:-1], axis)


def pad(x: Array, node: Node) -> Array:
    """Pad with a constant; of a view with :data:`ZERO` or :data:`LOWEST`."""
    numbers, axes = node.numbers("pads", 1) or [], axes_of(node, 3, x.ndim)
    if node.about.get("mode", b"constant") != b"constant":
        raise Refused("repeats or mirrors values beside the image; pad with zeros")
    ends = [(0, 0)] * x.ndim
    for place, axis in enumerate(range(x.ndim) if axes is None else axes):
        ends[axis] = (numbers[place], numbers[place + len(numbers) // 2])
    cut = tuple(slice(max(-first, 0), size - max(-last, 0)) for (first, last), size in zip(ends, x.shape, strict=True))
    more = [(max(first, 0), max(last, 0)) for first, last in ends]
    check_count(math.prod(sum(each) + size for each, size in zip(more, x.shape, strict=True)))
    value = node.number("value", 2, 0.0)
    if not np.issubdtype(x.dtype, np.signedinteger) or not _is_view(node):
        return np.pad(x[cut], more, constant_values=value)
    if any(map(sum, more)) and value != 0 and value > VERY_LOW:
        raise Refused(f"pads with {value:g}; pad with zeros")
    return np.pad(x[cut], more, constant_values=ZERO if value == 0 else LOWEST)


def _is_view(node: Node) -> bool:
    return not isinstance(node.given(0), np.ndarray)


def resize(x: Array, node: Node) -> Array:
    """Take the nearest value, or of a linear mode nothing: :mod:`operators` reads that."""
    for axis, (size, scale) in enumerate(zip(*sizes_of(x, node), strict=True)):
        if size != x.shape[axis]:
            check_count(x.size // max(x.shape[axis], 1) * size)
            x = np.take(x, _nearest(node, x.shape[axis], size, scale), axis)
    return x


def sizes_of(x: Array, node: Node) -> tuple[list[int], list[float]]:
    """Return the size of each axis that a Resize or Upsample gives, and its scale."""
    scales = node.about.get("scales", node.constant(1 if node.op == "Upsample" or len(node.inputs) == 2 else 2))
    axes = node.about.get("axes") or list(range(x.ndim))
    if scales is not None and np.size(scales):
        found = dict(zip(axes, (float(scale) for scale in np.asarray(scales).reshape(-1)), strict=True))
        sizes = [math.floor(size * found.get(axis, 1.0)) for axis, size in enumerate(x.shape)]
        return sizes, [found.get(axis, 1.0) for axis in range(x.ndim)]
    given = dict(zip(axes, node.numbers("sizes", 3) or [], strict=True))
    sizes = [given.get(axis, size) for axis, size in enumerate(x.shape)]
    return sizes, [size / max(before, 1) for size, before in zip(sizes, x.shape, strict=True)]


def _nearest(node: Node, before: int, size: int, scale: float) -> Array:
    """Return the place that each of ``size`` values is taken from, of ``before`` (ONNX, Resize)."""
    old = node.op == "Upsample"
    mode = b"asymmetric" if old else node.about.get("coordinate_transformation_mode", b"half_pixel")
    rule = b"floor" if old else node.about.get("nearest_mode", b"round_prefer_floor")
    x = np.arange(size, dtype=np.float64)
    places = {
        b"half_pixel": (x + 0.5) / scale - 0.5,
        b"pytorch_half_pixel": (x + 0.5) / scale - 0.5 if size > 1 else 0 * x,
        b"asymmetric": x / scale,
        b"align_corners": x * (before - 1) / max(size - 1, 1),
    }
    rounded: dict[bytes, Callable[[Array], Array]] = {
        b"floor": np.floor,
        b"ceil": np.ceil,
        b"round_prefer_floor": lambda at: np.ceil(at - 0.5),
        b"round_prefer_ceil": lambda at: np.floor(at + 0.5),
    }
    if mode not in places or rule not in rounded:
        raise Refused(f"takes places by {mode!r} and {rule!r}; use the nearest value, asymmetric and floor")
    result: Array = np.clip(rounded[rule](places[mode]), 0, before - 1).astype(np.int64)
    return result


MOVES: dict[str, Move] = {
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Expand": expand,
    "Tile": tile,
    "Slice": slice_of,
    "Gather": gather,
    "Split": split,
    "Pad": pad,
    "Identity": lambda x, node: x,
    "Dropout": lambda x, node: x,
}
