"""Values of a graph that is read, as views of what the chain's last step gives.

Reshapes, transposes, expansions and slices compute nothing: a view keeps, for each of its values, the index of the one
that it is. Whatever mixture of them a program writes, a layer is then known by what it reads alone, and the steps
between are the few that the mixture amounts to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.pretrained.pointwise import Pointwise
from aecompress.deploy.pretrained.steps import Step
from aecompress.deploy.pretrained.windows import Window

Array = NDArray[Any]
Index = NDArray[np.int64]
Shape = tuple[int, ...]
ZERO, LOWEST = -1, -2
"""Indices of values that are no value of the chain: padding of zeros, and of the lowest number."""
MOST_VALUES = 1 << 25
"""Values of a view, the rows of a batch together."""


class Refused(Exception):
    """A value or an operator that no layer of ours is; the message says why, for a sentence that names the node."""


@dataclass(frozen=True)
class Transposed:
    """A transposed convolution whose ends may still be cut."""

    step: Step
    windows: tuple[Window, ...]
    sizes: Shape
    """Places that it gives."""


@dataclass(frozen=True, eq=False)
class Link:
    """A step, and the link before it: a chain that can branch without being copied."""

    before: Link | None
    item: Step | Pointwise | Transposed | tuple[Step, ...] | None
    """None: the input."""
    shape: Shape
    """Shape of what it gives, ``[N, ...]``."""

    @property
    def size(self) -> int:
        """Return how many values it gives."""
        return math.prod(self.shape)

    def then(self, item: Step | Pointwise | Transposed | tuple[Step, ...], shape: Shape | None = None) -> Link:
        """Return the chain with one step more."""
        return Link(self, item, self.shape if shape is None else shape)

    @property
    def op(self) -> str:
        """Return what its step is, "" where that is none."""
        item = self.item.step if isinstance(self.item, Transposed) else self.item
        return item.op if isinstance(item, Step) else ""


@dataclass(frozen=True, eq=False)
class View:
    """A value of the graph: values of a link's result, in some order."""

    link: Link
    index: Index
    """``[...]``: of each value, the one of ``link`` that it is, counted in C order; negative: a constant."""

    @property
    def shape(self) -> Shape:
        """Return its shape, the batch included."""
        return self.index.shape

    def moved(self, change: Callable[[Index], Array]) -> View:
        """Return a view whose values are moved, copied or dropped as ``change`` does with an array of its shape."""
        return replace(self, index=check_size(change(self.index)))


def check_size(index: Array) -> Array:
    """Return ``index`` as it is.

    Raises:
        Refused: it has too many values.
    """
    if index.size > MOST_VALUES:
        raise Refused(f"has {index.size:,} values, more than are read; give a smaller model")
    return index


def whole(link: Link) -> View:
    """Return all that a link gives, as it is."""
    if link.size > MOST_VALUES:
        raise Refused(f"gives {link.size:,} values, more than are read; give a smaller model")
    return View(link, np.arange(link.size).reshape(link.shape))


def start(shape: Shape) -> View:
    """Return the input ``[N, ...]`` of a graph."""
    return whole(Link(None, None, shape))


def is_whole(index: Index, size: int) -> bool:
    """Return whether ``index`` has each of ``size`` values once."""
    if index.size != size or (index.size and index.min() < 0):
        return False
    seen = np.zeros(size, bool)
    seen[index] = True
    return bool(seen.all())


def in_order(index: Index) -> bool:
    """Return whether values stand in the order in which the link gives them, whatever the shape."""
    return np.array_equal(index.reshape(-1), np.arange(index.size))


def stripped(view: View) -> View:
    """Return the same values as a view of the link before those that only move values."""
    while view.link.before is not None and view.link.op in ("flatten", "reshape", "permute"):
        assert isinstance(view.link.item, Step)
        before, index = view.link.before, view.index
        if view.link.op == "permute":
            axes = (0, *(axis + 1 for axis in view.link.item.numbers["axes"]))
            order = np.arange(before.size).reshape(before.shape).transpose(axes).reshape(-1)
            index = np.where(index < 0, index, order[index])
        view = View(before, index)
    return view


def once_each(view: View, name: str) -> View:
    """Return a view that has each value of its link once: what repeats or drops values becomes part of the chain.

    Raises:
        Refused: no step does it.
    """
    view = stripped(view)
    if is_whole(view.index, view.link.size):
        return view
    if view.index.size and view.index.min() < 0:
        raise Refused("pads values where no convolution or pool follows")
    if view.index.size == 0:
        raise Refused("gives no values")
    cut = _trimmed(view)
    if is_whole(cut.index, cut.link.size):
        return cut
    return _repeated(cut, name)


def _trimmed(view: View) -> View:
    """Return a view of a link that gives no more than the view has, where the link can be made to."""
    places = np.unravel_index(np.unique(view.index), view.link.shape)
    box = tuple((int(place.min()), int(place.max()) + 1) for place in places)
    if all(stop - first == size for (first, stop), size in zip(box, view.link.shape, strict=True)):
        return view
    link = _cut(view.link, box)
    kept = np.arange(view.link.size).reshape(view.link.shape)[tuple(slice(*ends) for ends in box)].reshape(-1)
    position = np.zeros(view.link.size, np.int64)
    position[kept] = np.arange(kept.size)
    return View(link, position[view.index])


def _cut(link: Link, box: tuple[tuple[int, int], ...]) -> Link:
    """Return a link that gives only the values of ``box`` of each axis.

    Raises:
        Refused: it cannot.
    """
    sizes = tuple(stop - first for first, stop in box)
    if isinstance(link.item, Pointwise) and link.before is not None:
        before = _cut(link.before, box)
        if len(before.shape) != len(sizes):
            return before.then(replace_axes(link.item))
        return before.then(link.item)
    if isinstance(link.item, Transposed) and sizes[:2] == link.shape[:2]:
        ends = [(first, size - stop) for (first, stop), size in zip(box[2:], link.shape[2:], strict=True)]
        windows = tuple(
            window._replace(before=window.before + first, after=window.after + last)
            for window, (first, last) in zip(link.item.windows, ends, strict=True)
        )
        return replace(link, item=replace(link.item, windows=windows, sizes=sizes[2:]), shape=sizes)
    if link.op in ("lstm", "gru") and box[1] == (link.shape[1] - 1, link.shape[1]):
        assert isinstance(link.item, Step)
        numbers = {**link.item.numbers, "sequences": False}
        return replace(link, item=link.item._replace(numbers=numbers), shape=(sizes[0], sizes[2]))
    raise Refused("drops values that the layer before it gives; give the model without that")


def replace_axes(item: Pointwise) -> Pointwise:
    """Return a function of values ``[1, units]`` as one of ``[units]``."""
    if item.affine is None:
        return item
    factor, summand = (constant.reshape(constant.shape[-1:]) for constant in item.affine)
    return item._replace(affine=(factor, summand), function=lambda x: x * factor + summand)


def _repeated(view: View, name: str) -> View:
    """Return a view that repeats values as one of a step that repeats them.

    Raises:
        Refused: no step repeats them so.
    """
    runs = tuple(_run(view.index, axis) for axis in range(view.index.ndim))
    once = View(view.link, view.index[tuple(slice(None, None, run) for run in runs)])
    if runs[0] != 1 or max(runs) == 1 or not is_whole(once.index, once.link.size):
        raise Refused("repeats or drops values as no layer does; give the model without that")
    axis = 1 if runs[1] > 1 else 2
    flat = view.index.ndim == 3 and len(once.link.shape) == 2
    if flat and runs[axis] == view.shape[axis] and runs[3 - axis] == 1:
        link = realized(View(once.link, np.take(once.index, 0, axis)), name)
        count, *code = link.shape
        rows = link.then(Step(name, "repeat", numbers={"times": runs[axis]}), (count, runs[axis], *code))
        return View(rows, np.moveaxis(whole(rows).index, 1, axis))
    units = 1 if runs[1] == 1 else view.index.ndim - 1
    factor = tuple(run for axis, run in enumerate(runs) if axis not in (0, units))
    link = realized(once.moved(lambda index: np.moveaxis(index, units, 1)), name)
    shape = (*link.shape[:2], *(size * run for size, run in zip(link.shape[2:], factor, strict=True)))
    if runs[units] != 1 or view.index.ndim < 3:
        raise Refused("repeats units; give the model without that")
    step = Step(name, "upsample", numbers={"factor": factor, "mode": "nearest"})
    return whole(link.then(step, shape)).moved(lambda index: np.moveaxis(index, 1, units))


def _run(index: Index, axis: int) -> int:
    """Return how often each value stands behind itself along an axis; 1 where that is not the same for all."""
    rows = np.moveaxis(index, axis, 0)
    count = len(rows)
    changed = [place for place in range(1, count) if not np.array_equal(rows[place], rows[place - 1])]
    run = changed[0] if changed else count
    if count % run or changed != list(range(run, count, run)):
        return 1
    return run


def realized(view: View, name: str) -> Link:
    """Return a link that gives just what the view is, in its shape: with a reshape and a permutation where need be.

    Raises:
        Refused: no step gives that.
    """
    view = once_each(view, name)
    link, index = view.link, view.index
    if in_order(index):
        return _shaped(link, index.shape, name)
    if index.shape[0] != link.shape[0]:
        raise Refused("mixes rows of a batch; export the model without that")
    order = _of_row(index)
    if order is not None and (moved := _reordered(link, order)) is not None:
        return _shaped(moved, index.shape, name)
    return _permuted(link, index, name)


def _shaped(link: Link, shape: Shape, name: str) -> Link:
    """Return a link with its values in another shape."""
    if link.shape == shape:
        return link
    if shape[0] != link.shape[0]:
        raise Refused("mixes rows of a batch; export the model without that")
    if len(shape) == 2:
        return link.then(Step(name, "flatten"), shape)
    axes = _moved_ones(link.shape[1:], shape[1:])
    if axes is not None:
        return link.then(Step(name, "permute", numbers={"axes": axes}), shape)
    return link.then(Step(name, "reshape", numbers={"shape": shape[1:]}), shape)


def _moved_ones(before: Shape, shape: Shape) -> tuple[int, ...] | None:
    """Return the permutation that moves nothing but axes of one value, such as the channel of a grey image; None: it
    does not give ``shape``."""
    ones, others = ([axis for axis, size in enumerate(before) if (size == 1) is one] for one in (True, False))
    if len(ones) != shape.count(1) or [before[axis] for axis in others] != [size for size in shape if size != 1]:
        return None
    return tuple(ones.pop(0) if size == 1 else others.pop(0) for size in shape)


def _of_row(index: Index) -> Index | None:
    """Return of each value of a row which value of the same row it is; None: rows differ."""
    rows = index.reshape(len(index), -1)
    first: Index = rows[0]
    same = (rows == first + rows.shape[1] * np.arange(len(rows))[:, None]).all()
    return first if same else None


def _reordered(link: Link, order: Index) -> Link | None:
    """Return the chain whose last layer gives its values in another order, if that is a dense one."""
    if isinstance(link.item, Pointwise) and link.before is not None and len(link.shape) == 2:
        before = _reordered(link.before, order)
        return None if before is None else before.then(_reordered_function(link.item, order))
    if link.op != "linear" or len(link.shape) != 2:
        return None
    assert isinstance(link.item, Step)
    tensors = {name: tensor[order] for name, tensor in link.item.tensors.items()}
    return replace(link, item=link.item._replace(tensors=tensors))


def _reordered_function(item: Pointwise, order: Index) -> Pointwise:
    inverse = np.argsort(order)

    def move(x: Array, by: Index) -> Array:
        return x[..., by] if x.shape[-1:] == by.shape else x

    return item._replace(
        function=lambda x: move(item.function(move(x, inverse)), order),
        affine=None if item.affine is None else (move(item.affine[0], order), move(item.affine[1], order)),
    )


def _permuted(link: Link, index: Index, name: str) -> Link:
    """Return a link that gives ``index`` by one reshape and one permutation of axes, and perhaps another reshape.

    Raises:
        Refused: there are none.
    """
    strides = _strides(index)
    if strides is None:
        finer = (len(index), *_axes_of(index[0].reshape(-1)))
        strides = _strides(index.reshape(finer))
        if strides is None:
            raise Refused("moves values as no layer does; give the model without that")
        return _shaped(_permuted(link, index.reshape(finer), name), index.shape, name)
    for axis in reversed(range(1, index.ndim)):
        if not strides[axis]:
            strides[axis] = strides[axis + 1] if axis + 1 < index.ndim else 0
    order = sorted(range(1, index.ndim), key=lambda axis: (-strides[axis], axis))
    shape = (index.shape[0], *(index.shape[axis] for axis in order))
    axes = tuple(order.index(axis) for axis in range(1, index.ndim))
    link = _shaped(link, shape, name)
    return link.then(Step(name, "permute", numbers={"axes": axes}), index.shape)


def _strides(index: Index) -> list[int] | None:
    """Return by how much values differ along each axis, 0 along one of a single value; None: not always by the same."""
    strides = [int(index[_unit(axis, index.ndim)]) if size > 1 else 0 for axis, size in enumerate(index.shape)]
    expected = np.zeros(index.shape, np.int64)
    for axis, stride in enumerate(strides):
        expected += stride * np.arange(index.shape[axis]).reshape(-1, *[1] * (index.ndim - 1 - axis))
    return strides if np.array_equal(expected, index) else None


def _axes_of(order: Index) -> tuple[int, ...]:
    """Return the shape in which values differ by one stride along each axis, if there is one: the longest runs."""
    shape: tuple[int, ...] = ()
    while len(order) > 1:
        changed = np.flatnonzero(np.diff(order) != order[1] - order[0])
        run = int(changed[0]) + 1 if len(changed) else len(order)
        if len(order) % run:
            return (len(order), *shape)
        shape, order = (run, *shape), order[::run]
    return shape


def _unit(axis: int, count: int) -> tuple[int, ...]:
    return tuple(int(place == axis) for place in range(count))


def pointwise(view: View, item: Pointwise) -> View:
    """Return a view to whose values a function is applied that is the same for all.

    Raises:
        Refused: it has values that are padding.
    """
    if view.index.size and view.index.min() < 0:
        raise Refused("is applied to padding; pad behind it")
    return View(view.link.then(item), view.index)


def placed(view: View, constant: Array, name: str) -> tuple[View, Array]:
    """Return a constant that broadcasts with a view as one that broadcasts with a row of the view's link.

    Returns:
        The view, perhaps of another link, and the constant, of one value along each axis on which it is constant.

    Raises:
        Refused: rows of a batch have different values.
    """
    shape = np.broadcast_shapes(view.shape, constant.shape)
    if math.prod(shape) > MOST_VALUES:
        raise Refused(f"gives {math.prod(shape):,} values, more than are read; give a smaller model")
    if shape != view.shape:
        view = view.moved(lambda index: np.broadcast_to(index, shape))
    if constant.size == 1:
        return view, constant.reshape(())
    view = once_each(view, name)
    values = np.empty(view.link.size, constant.dtype)
    values[view.index.reshape(-1)] = np.broadcast_to(constant, shape).reshape(-1)
    rows = values.reshape(view.link.shape)
    if not (rows == rows[:1]).all():
        raise Refused("has another constant in each row; give the model without that")
    row = _reduced(rows[0])
    if sum(size > 1 for size in row.shape) > 1:
        flat = (view.link.shape[0], view.link.size // view.link.shape[0])
        return View(view.link.then(Step(name, "flatten"), flat), view.index), rows[0].reshape(-1)
    return view, row


def _reduced(row: Array) -> Array:
    """Return values with one along each axis on which they are the same."""
    for axis in range(row.ndim):
        first = row.take([0], axis)
        if (row == first).all():
            row = first
    return row.reshape(()) if row.size == 1 else row


def behind(link: Link) -> Iterator[Link]:
    """Yield a link and those before it, the last one first."""
    at: Link | None = link
    while at is not None:
        yield at
        at = at.before
