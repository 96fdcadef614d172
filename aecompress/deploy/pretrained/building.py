"""Layers put on views, and the steps that a chain of them is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.pretrained.exported.residual import UnfitError, as_chain
from aecompress.deploy.pretrained.pointwise import LONGEST, PROBES, Pointwise, Unknown, affine, composed, resolved
from aecompress.deploy.pretrained.steps import Step
from aecompress.deploy.pretrained.views import (
    LOWEST,
    ZERO,
    Link,
    Refused,
    Shape,
    Transposed,
    View,
    behind,
    is_whole,
    once_each,
    placed,
    pointwise,
    realized,
    stripped,
    whole,
)
from aecompress.deploy.pretrained.windows import Window, fitted, fitted_transpose, outputs, with_taps

Array = NDArray[Any]
MOST_TIMES = 100
"""How many times the values of a stored matrix a dense layer may have that reads few of many values."""
SMALL = 1 << 22
"""Values of a dense layer's matrix that are never too many."""


def affine_of(view: View, name: str, factor: Array | float, summand: Array | float) -> View:
    """Return view * factor + summand, constants that broadcast with it."""
    constants = [np.asarray(constant, np.float64) for constant in (factor, summand)]
    view, rows = _placed(view, constants, name)
    return pointwise(view, affine(name, *rows))


def function_of(values: Sequence[View | Array], name: str, what: str, function: Callable[..., Array]) -> View:
    """Return a function of each value of views, and of constants that broadcast with them.

    Args:
        what: the operator, for messages.

    Raises:
        Refused: views are of different steps, or arranged differently.
    """
    views = [value for value in values if isinstance(value, View)]
    chains = [_functions(view.link) for view in views]
    alike = all(np.array_equal(view.index, views[0].index) for view in views[1:])
    shared = next((link for link in chains[0] if all(any(link is each for each in chain) for chain in chains)), None)
    if (shared is None or not alike) and what in ("Add", "Sum") and len(views) == 2 == len(values):
        return residual(views[0], views[1], name)
    if shared is None or not alike:
        raise Refused(f"joins branches of the graph by {what}; only a chain with residual additions can be read")
    if len(views) == 1:
        shared = views[0].link
    constants = [value for value in values if not isinstance(value, View)]
    base, rows = _placed(View(shared, views[0].index), constants, name)
    if len(views) > 1 and base.link is not shared:
        raise Refused("mixes branches of the graph with constants as no activation does; give the model without that")
    functions = [composed(_since(chain, shared)) for chain in chains]

    def run(x: Array) -> Array:
        own, others = iter(functions), iter(rows)
        return function(*(next(own)(x) if isinstance(value, View) else next(others) for value in values))

    return pointwise(base, Pointwise(name, run, what=what))


def residual(one: View, other: View, name: str) -> View:
    """Return the sum of two branches that come of one value, of which one has no layer or a single one.

    Raises:
        Refused: the branches are of another form.
    """
    before = {id(link) for link in behind(other.link)}
    shared = next((link for link in behind(one.link) if id(link) in before), None)
    if shared is None or one.link.shape != other.link.shape or not np.array_equal(one.index, other.index):
        raise Refused("adds branches of the graph that give their values in different orders; only a chain can be read")
    body, skip = sorted((_steps_since(view.link, shared) for view in (one, other)), key=len, reverse=True)
    try:
        steps = as_chain(name, body, skip, _is_positive(shared))
    except UnfitError as fault:
        raise Refused(f"is a residual addition that {fault}; only a chain can be read") from None
    return View(shared.then(tuple(steps), one.link.shape), one.index)


def _steps_since(link: Link, shared: Link) -> list[Step]:
    links = list[Link]()
    for each in behind(link):
        if each is shared:
            break
        links.append(each)
    return _steps(links[::-1])


def _is_positive(link: Link) -> bool:
    """Return whether all that a link gives is known to be 0 or more."""
    items = [each.item for each in _functions(link) if isinstance(each.item, Pointwise)]
    values = composed(items[::-1])(PROBES.reshape(-1, *[1] * (len(link.shape) - 1)))
    return bool(items) and bool((values >= 0).all())


def _placed(view: View, constants: Sequence[Array], name: str) -> tuple[View, list[Array]]:
    """Return a view, and constants that broadcast with it as ones that broadcast with a row of its link."""
    rows = list[Array]()
    for constant in constants:
        given, row = placed(view, constant, name)
        if given.link is not view.link and rows:
            return _placed(given, constants, name)
        view = given
        rows.append(row)
    return view, rows


def _functions(link: Link) -> list[Link]:
    """Return a link and those before it, back to the first that is no function of each value."""
    found = list[Link]()
    for each in behind(link):
        found.append(each)
        if not isinstance(each.item, Pointwise) or len(found) > LONGEST:
            break
    return found


def _since(chain: Sequence[Link], shared: Link) -> list[Pointwise]:
    """Return the functions of a chain, last link first, that come after a link of it."""
    place = next(place for place, link in enumerate(chain) if link is shared)
    return [link.item for link in reversed(chain[:place]) if isinstance(link.item, Pointwise)]


def linear(view: View, name: str, weight: Array, bias: Array | None = None) -> View:
    """Return the product of a view ``[..., K]`` with a matrix ``[K, M]``, plus a bias ``[M]``.

    Raises:
        Refused: the view has another number of values, or rows of a batch would be mixed.
    """
    *places, inputs = view.shape
    if inputs != len(weight):
        raise Refused(f"multiplies {inputs} values with a matrix of {len(weight)} rows; export the model again")
    rows = stripped(view).link.shape[0]
    tensors = {"weight": weight.T} if bias is None else {"weight": weight.T, "bias": bias}
    if math.prod(places) != rows:
        return _linear_at_places(view, name, tensors, rows)
    view = stripped(view)
    if view.link.before is not None and not is_whole(view.index, view.link.size):
        view = _once_each_if_possible(view, name)
    index, size = view.index.reshape(rows, inputs), view.link.size // rows
    first = index[0]
    starts = np.where(first < 0, 0, size) * np.arange(rows)[:, None]
    if not (index == first + starts).all() or (first == LOWEST).any() or (first >= size).any():
        raise Refused("mixes rows of a batch; export the model without that")
    link = view.link
    if len(link.shape) != 2:
        link = link.then(Step(name, "flatten"), (rows, size))
    if not np.array_equal(first, np.arange(size)):
        if size * weight.shape[1] > max(SMALL, MOST_TIMES * weight.size):
            raise Refused(f"reads {inputs} of {size:,} values; give the model without that")
        matrix = np.zeros((size, weight.shape[1]), np.float64)
        np.add.at(matrix, first[first >= 0], weight[first >= 0])
        tensors["weight"] = matrix.T
    out = (rows, weight.shape[1])
    return whole(link.then(Step(name, "linear", tensors), out)).moved(lambda all: all.reshape(*places, out[1]))


def _once_each_if_possible(view: View, name: str) -> View:
    """Return a view of each value once, or as it is where no step gives that: a matrix can leave out and add up."""
    try:
        return once_each(view, name)
    except Refused:
        return view


def _linear_at_places(view: View, name: str, tensors: dict[str, Array], rows: int) -> View:
    """Return a dense layer that is applied at each place of a sequence or image.

    On values that are channels-first it is a convolution with a kernel of one.
    """
    *lead, inputs = view.shape
    if rows == 0 or math.prod(lead) % rows:
        raise Refused("mixes rows of a batch; export the model without that")
    units = len(tensors["weight"])
    natural = stripped(view).link.shape
    places = tuple(lead[1:]) if lead[0] == rows else (math.prod(lead) // rows,)
    for given in (natural[2:], natural[1:-1]):
        if math.prod(given) == math.prod(places):
            places = given
    index = view.moved(lambda all: all.reshape(rows, *places, inputs))
    ahead = realized(index.moved(lambda all: np.moveaxis(all, -1, 1)), name)
    if ahead is stripped(view).link and len(places) in (1, 2):
        kernel = {key: _with_kernel(tensor, len(places)) for key, tensor in tensors.items()}
        step = Step(name, f"conv{len(places)}d", kernel)
        result = whole(ahead.then(step, (rows, units, *places))).moved(lambda all: np.moveaxis(all, 1, -1))
    else:
        result = whole(realized(index, name).then(Step(name, "linear", tensors), (rows, *places, units)))
    return result.moved(lambda all: all.reshape(*lead, units))


def _with_kernel(tensor: Array, axes: int) -> Array:
    return tensor.reshape(*tensor.shape, *[1] * axes) if tensor.ndim == 2 else tensor


def convolution(
    view: View, name: str, weight: Array, bias: Array | None, windows: Sequence[Window], groups: int = 1
) -> View:
    """Return the convolution of a view ``[N, C, *places]`` with a kernel ``[out, C / groups, *kernel]``.

    Raises:
        Refused: its numbers do not fit, or are none that torch has.
    """
    _check_units(view, weight.shape[1] * groups, windows)
    if (axis := _single(view, windows)) is not None:
        kernel, rest = weight.squeeze(axis + 2), [window for place, window in enumerate(windows) if place != axis]
        flat = convolution(view.moved(lambda all: all.squeeze(axis + 2)), name, kernel, bias, rest, groups)
        return flat.moved(lambda all: np.expand_dims(all, axis + 2))
    view, windows = _with_borders(view, windows, ZERO)
    link, sizes = realized(view, name), view.shape[2:]
    fits = [fitted(size, window) for size, window in zip(sizes, windows, strict=True)]
    found = [fit for fit in fits if fit is not None]
    given = tuple(outputs(size, window) for size, window in zip(sizes, windows, strict=True))
    if len(found) < len(fits) or min(given) < 1:
        raise Refused("pads one side more than the other with a dilated kernel; pad both sides alike")
    numbers = {
        "stride": tuple(window.stride for window in windows),
        "padding": tuple(fit.padding for fit in found),
        "dilation": tuple(window.dilation for window in windows),
        "groups": groups,
    }
    tensors = {"weight": with_taps(weight, found)} | ({} if bias is None else {"bias": bias})
    step = Step(name, f"conv{len(sizes)}d", tensors, numbers)
    return whole(link.then(step, (view.shape[0], len(weight), *given)))


def _check_units(view: View, units: int, windows: Sequence[Window]) -> None:
    if len(view.shape) != 2 + len(windows) or len(windows) not in (1, 2):
        raise Refused(f"is given values of shape {view.shape[1:]}; convolutions and pools have one or two axes")
    if view.shape[1] != units:
        raise Refused(f"is given {view.shape[1]} channels, its weights take {units}; export the model again")
    if any(window.kernel < 1 or window.stride < 1 or window.dilation < 1 for window in windows):
        raise Refused("has a kernel, stride or dilation below 1; export the model again")


def _single(view: View, windows: Sequence[Window]) -> int | None:
    """Return the axis of places of which there is one, as in a series that is an image; None: there is none."""
    if len(windows) != 2 or len(stripped(view).link.shape) == len(view.shape):
        return None
    plain = [window.kernel == 1 and not window.before and not window.after for window in windows]
    return next((axis for axis in (0, 1) if view.shape[axis + 2] == 1 and plain[axis]), None)


def _with_borders(view: View, windows: Sequence[Window], border: int) -> tuple[View, list[Window]]:
    """Return a view without the padding around it, which the windows get."""
    index, wider = view.index, list(windows)
    if index.size and index.min() >= 0:
        return view, wider
    for axis, window in enumerate(windows, 2):
        rows = np.moveaxis(index, axis, 0)
        inner = [place for place, row in enumerate(rows) if not (row == border).all()]
        if not inner:
            raise Refused("is given nothing but padding; export the model again")
        first, last = inner[0], inner[-1] + 1
        index = index[(slice(None),) * axis + (slice(first, last),)]
        wider[axis - 2] = window._replace(before=window.before + first, after=window.after + len(rows) - last)
    return View(view.link, index), wider


def transposed(
    view: View,
    name: str,
    tensors: dict[str, Array],
    windows: Sequence[Window],
    groups: int = 1,
    output_padding: Sequence[int] | None = None,
) -> View:
    """Return the transposed convolution of a view ``[N, C, *places]`` with a kernel ``[C, out / groups, *kernel]``.

    Args:
        tensors: weight, and bias where it has one.
        windows: what is cut ``before`` and ``after``.
        output_padding: values more at the end of each axis.
    """
    weight, more = tensors["weight"], list(output_padding or [0] * len(windows))
    _check_units(view, len(weight), windows)
    axis = _single(view, windows)
    if axis is not None and not more[axis]:
        squeezed = {**tensors, "weight": weight.squeeze(axis + 2)}
        rest = [window for place, window in enumerate(windows) if place != axis]
        flat = transposed(
            view.moved(lambda all: all.squeeze(axis + 2)), name, squeezed, rest, groups, more[:axis] + more[axis + 1 :]
        )
        return flat.moved(lambda all: np.expand_dims(all, axis + 2))
    link = realized(view, name)
    sizes = tuple(
        (size - 1) * window.stride + window.span - window.before - window.after + extra
        for size, window, extra in zip(view.shape[2:], windows, more, strict=True)
    )
    if min(sizes) < 1 or min(window.before for window in windows) < 0:
        raise Refused("gives no values; export the model again")
    numbers = {
        "stride": tuple(window.stride for window in windows),
        "dilation": tuple(window.dilation for window in windows),
        "groups": groups,
    }
    step = Step(name, f"conv{len(windows)}d-transpose", tensors, numbers)
    shape = (view.shape[0], weight.shape[1] * groups, *sizes)
    return whole(link.then(Transposed(step, tuple(windows), sizes), shape))


def pool(view: View, name: str, op: str, windows: Sequence[Window], counted: bool = True) -> View:
    """Return the pool of a view ``[N, C, *places]``.

    Args:
        op: ``max-pool`` or ``avg-pool``.
        counted: whether zeros beside the values count in a mean, as in torch.
    """
    _check_units(view, view.shape[1] if len(view.shape) > 1 else 0, windows)
    if (axis := _single(view, windows)) is not None:
        rest = [window for place, window in enumerate(windows) if place != axis]
        flat = pool(view.moved(lambda all: all.squeeze(axis + 2)), name, op, rest, counted)
        return flat.moved(lambda all: np.expand_dims(all, axis + 2))
    own = any(window.before or window.after for window in windows)
    view, windows = _with_borders(view, windows, LOWEST if op == "max-pool" else ZERO)
    link, sizes = realized(view, name), view.shape[2:]
    fits = [fitted(size, window) for size, window in zip(sizes, windows, strict=True)]
    padded = any(fit is None or fit.padding or fit.front or fit.back for fit in fits)
    if any(fit is None or fit.front or fit.back for fit in fits) or any(window.dilation > 1 for window in windows):
        raise Refused("pads one side more than the other, or is dilated; pad both sides alike")
    if op == "avg-pool" and padded and own and not counted:
        raise Refused("leaves the padding out of its mean; pool without padding")
    numbers = {
        "kernel": tuple(window.kernel for window in windows),
        "stride": tuple(window.stride for window in windows),
        "padding": tuple(fit.padding for fit in fits if fit is not None),
    }
    given = tuple(outputs(size, window) for size, window in zip(sizes, windows, strict=True))
    return whole(link.then(Step(name, op, numbers=numbers), (*view.shape[:2], *given)))


def pool_all(view: View, name: str, op: str, kept: bool) -> View:
    """Return the mean or maximum over all places of a view ``[N, C, *places]``: ``[N, C]``, or with axes of one."""
    link, shape = realized(view, name), view.shape
    if len(shape) not in (3, 4):
        raise Refused(f"is given values of shape {shape[1:]}; pools have one or two axes")
    if op == "global-avg-pool":
        result = whole(link.then(Step(name, op), shape[:2]))
    else:
        result = pool(view, name, "max-pool", [Window(size, size) for size in shape[2:]])
    return result.moved(lambda all: all.reshape(*shape[:2], *([1] * (len(shape) - 2) if kept else [])))


def upsampled(view: View, name: str, factor: Shape) -> View:
    """Return a view ``[N, C, *places]`` with so many linearly interpolated values for one, as torch has them."""
    link = realized(view, name)
    shape = (*view.shape[:2], *(size * times for size, times in zip(view.shape[2:], factor, strict=True)))
    step = Step(name, "upsample", numbers={"factor": factor, "mode": "linear"})
    return whole(link.then(step, shape))


class Recurrent(NamedTuple):
    """A recurrent layer in torch's layout: its op, and weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0."""

    op: str
    tensors: dict[str, Array]


def recurrent(view: View, name: str, layer: Recurrent) -> View:
    """Return what a recurrent layer gives at each step of a view ``[N, L, inputs]``: ``[N, L, units]``."""
    inputs, units = layer.tensors["weight_ih_l0"].shape[1], layer.tensors["weight_hh_l0"].shape[1]
    if len(view.shape) != 3 or view.shape[2] != inputs:
        raise Refused(f"is given values of shape {view.shape[1:]}, its weights take {inputs}; export the model again")
    step = Step(name, layer.op, layer.tensors, {"sequences": True})
    return whole(realized(view, name).then(step, (*view.shape[:2], units)))


def steps_of(view: View, name: str) -> list[Step]:
    """Return the chain that gives a view, as steps.

    Raises:
        Refused: a function in it is none of our activations; the message names it.
    """
    return _steps(list(behind(realized(view, name)))[::-1][1:])


def _steps(links: Sequence[Link]) -> list[Step]:
    """Return links, first to last, as steps."""
    steps, run = list[Step](), list[Pointwise]()
    for place, link in enumerate(links):
        if isinstance(link.item, Pointwise):
            run.append(link.item)
            if place + 1 < len(links) and isinstance(links[place + 1].item, Pointwise):
                continue
            found = resolved(run, len(link.shape) - 1)
            if isinstance(found, Unknown):
                raise Refused(f"{found.name}\n{found.what}")
            steps, run = steps + found, []
        elif isinstance(link.item, Transposed):
            assert link.before is not None
            steps.append(_with_numbers(link.item, link.before.shape[2:]))
        elif isinstance(link.item, Step):
            steps.append(link.item)
        elif link.item is not None:
            steps += link.item
    return steps


def _with_numbers(item: Transposed, sizes: Shape) -> Step:
    """Return a transposed convolution of values of ``sizes`` in torch's numbers."""
    each = zip(sizes, item.windows, item.sizes, strict=True)
    fits = [fitted_transpose(size, window, wanted) for size, window, wanted in each]
    found = [fit for fit in fits if fit is not None]
    if len(found) < len(fits):
        raise Refused("cuts one side more than the other with a dilated kernel; cut both sides alike")
    numbers = {
        **item.step.numbers,
        "padding": tuple(fit.padding for fit in found),
        "output_padding": tuple(fit.output_padding for fit in found),
    }
    tensors = {**item.step.tensors, "weight": with_taps(item.step.tensors["weight"], found)}
    return item.step._replace(tensors=tensors, numbers=numbers)
