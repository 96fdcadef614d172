"""A residual block, f(x) + s(x), as layers that follow each other: s(x) is carried beside the layers of f.

An activation that is linear on each side of 0, as ReLU (slope 0) or leaky ReLU with slope a, loses nothing of a value
that goes into two units: x = (act(x) - act(-x)) / (1 + a). A value that is never negative needs one unit. The last
layer of f adds what was carried, so that the block computes the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.pretrained.steps import Step, folded, groups, inputs, outputs
from aecompress.errors import DataError

Matrix = NDArray[np.float64]
MAPS = ("affine", "activation")
FORWARD = ("linear", "conv1d", "conv2d")
"""Products that keep a value at its place, or can."""


class UnfitError(Exception):
    """A block is of another form; the message is the end of a sentence that says why."""


class Layer(NamedTuple):
    """A product of a branch, with what follows it."""

    step: Step
    slope: float | None
    """Of its activation below 0; None: there is no activation."""

    @property
    def kernel(self) -> tuple[int, ...]:
        """Return the places that it reads, along each axis."""
        return tuple(self.step.tensors["weight"].shape[2:])

    def number(self, name: str, default: int) -> tuple[int, ...]:
        """Return a number of a convolution for each axis."""
        found: Any = self.step.numbers.get(name, default)
        return tuple(found) if isinstance(found, list | tuple) else (int(found),) * len(self.kernel)


class Carried(NamedTuple):
    """A value beside a branch: ``decode @ units``, where ``units`` are those that carry it."""

    decode: Matrix
    positive: bool
    """Whether it is never negative."""


def as_chain(name: str, body: Sequence[Step], skip: Sequence[Step], positive: bool) -> list[Step]:
    """Return the steps of ``body(x) + skip(x)`` as one chain.

    Args:
        name: for messages.
        body: steps with activations.
        skip: no steps, or one product.
        positive: whether x is never negative.

    Raises:
        UnfitError: the branches are of another form.
    """
    try:
        layers, beside = layers_of(name, body), folded(Path(name), skip)
    except DataError as fault:
        raise UnfitError(f"has a branch that is no layers: {str(fault).removeprefix(f'{name}: ')}") from fault
    linear = affine_of(beside, inputs(layers[0].step))
    if linear[0].shape != (outputs(layers[-1].step), inputs(layers[0].step)):
        raise UnfitError("adds values of different shapes")
    at = place_of(layers, beside)
    carried, steps = Carried(np.eye(inputs(layers[0].step)), positive), list[Step]()
    for index, layer in enumerate(layers):
        value, shift = carried.decode, np.zeros(len(carried.decode))
        if index == at and beside:
            value, shift = linear[0] @ value, linear[1]
            carried = Carried(value, False)
        if index == len(layers) - 1:
            steps.append(closed(layer, value, shift, index == 0))
            break
        sign = signs(layer, carried)
        steps += opened(layer, np.concatenate([each * value for each in sign]), index == 0)
        steps[-1 - (layer.slope is not None)] = with_shift(steps[-1 - (layer.slope is not None)], sign, shift)
        share = 1 if layer.slope is None or len(sign) == 1 else 1 / (1 + layer.slope)
        carried = Carried(np.concatenate([each * share * np.eye(len(value)) for each in sign], 1), carried.positive)
    return steps


def signs(layer: Layer, carried: Carried) -> tuple[int, ...]:
    """Return with which signs a value goes through a layer's activation."""
    return (1,) if layer.slope is None or carried.positive else (1, -1)


def layers_of(name: str, body: Sequence[Step]) -> list[Layer]:
    """Return a branch as products with activations, the first and the last one a product.

    Raises:
        DataError: steps do not fit each other.
        UnfitError: it has something else, or an activation that loses a value.
    """
    steps = folded(Path(name), body)
    products = [step for step in steps if step.op in FORWARD]
    if not products:
        raise UnfitError("has no layer inside")
    before, after = [steps[0]] if steps[0].op in MAPS else [], [steps[-1]] if steps[-1].op in MAPS else []
    if before or after:
        steps = [unchanged(products[0], inputs(products[0]))] * len(before) + steps
        steps = folded(Path(name), steps + [unchanged(products[-1], outputs(products[-1]))] * len(after))
    odd = next((step for step in steps if step.op not in (*FORWARD, "activation")), None)
    if odd is not None:
        raise UnfitError(f"has {odd.op} ({odd.name}) inside")
    found: list[Layer] = []
    for step in steps:
        if step.op != "activation":
            found.append(Layer(step, None))
        elif found[-1].slope is None:
            found[-1] = Layer(found[-1].step, slope_of(step))
        else:
            found.append(Layer(unchanged(found[-1].step, outputs(found[-1].step)), slope_of(step)))
    return found


def unchanged(like: Step, units: int) -> Step:
    """Return a product of the kind of ``like`` that gives what it reads."""
    axes = like.tensors["weight"].ndim - 2
    return Step(
        like.name, like.op, {"weight": np.eye(units).reshape(units, units, *[1] * axes), "bias": np.zeros(units)}
    )


def slope_of(activation: Step) -> float:
    """Return the slope below 0 of ReLU or leaky ReLU.

    Raises:
        UnfitError: it is another activation.
    """
    name, _, slope = str(activation.numbers["name"]).partition(":")
    if name not in ("relu", "leaky-relu"):
        raise UnfitError(f"has the activation {name} inside ({activation.name}), beside which no value can be carried")
    return 0.0 if name == "relu" else float(slope or 0.01)


def affine_of(skip: Sequence[Step], units: int) -> tuple[Matrix, Matrix]:
    """Return weight ``[out, in]`` and bias ``[out]`` of the branch without activations.

    Raises:
        UnfitError: it is no such branch.
    """
    if not skip:
        return np.eye(units), np.zeros(units)
    step = skip[0]
    if len(skip) == 1 and step.op == "affine":
        weight, bias = (np.broadcast_to(step.tensors[name], (units,)) for name in ("weight", "bias"))
        return np.diag(weight), np.array(bias)
    if len(skip) > 1 or step.op not in FORWARD or set(Layer(step, None).kernel) - {1} or groups(step) != 1:
        raise UnfitError("has two branches with layers of their own")
    if any(Layer(step, None).number("padding", 0)):
        raise UnfitError("pads in the branch without activations")
    weight = step.tensors["weight"]
    return weight.reshape(weight.shape[:2]), step.tensors["bias"]


def place_of(layers: Sequence[Layer], skip: Sequence[Step]) -> int:
    """Return the index of the layer of the branch at whose places the other one's product is.

    Raises:
        UnfitError: a layer moves values, or the two have other strides.
    """
    for layer in layers:
        sizes = zip(layer.kernel, layer.number("padding", 0), layer.number("dilation", 1), strict=True)
        if any(size % 2 == 0 or 2 * pad != step * (size - 1) for size, pad, step in sizes) or groups(layer.step) != 1:
            raise UnfitError(f"has a convolution inside ({layer.step.name}) that does not keep values at their places")
    strides = [layer.number("stride", 1) for layer in layers]
    wanted = Layer(skip[0], None).number("stride", 1) if skip and skip[0].op in FORWARD else ()
    moving = [index for index, stride in enumerate(strides) if set(stride) - {1}]
    if (set(wanted) <= {1} and moving) or (set(wanted) - {1} and [strides[index] for index in moving] != [wanted]):
        raise UnfitError("has branches with different strides")
    return moving[0] if moving else 0


def at_centre(matrix: Matrix, kernel: tuple[int, ...]) -> Matrix:
    """Return a matrix ``[out, in]`` as a convolution ``[out, in, *kernel]`` that reads each place itself."""
    weight = np.zeros((*matrix.shape, *kernel))
    centre: Any = (slice(None), slice(None), *(size // 2 for size in kernel))
    weight[centre] = matrix
    return weight


def opened(layer: Layer, carry: Matrix, first: bool) -> list[Step]:
    """Return a layer with units beside its own that carry a value, and its activation."""
    own, beside = layer.step.tensors["weight"], at_centre(carry, layer.kernel)
    if first:
        weight = np.concatenate([own, beside])
    else:
        weight = np.zeros((len(own) + len(beside), own.shape[1] + beside.shape[1], *layer.kernel))
        weight[: len(own), : own.shape[1]], weight[len(own) :, own.shape[1] :] = own, beside
    bias = np.concatenate([layer.step.tensors["bias"], np.zeros(len(beside))])
    step = layer.step._replace(tensors={"weight": weight, "bias": bias})
    if layer.slope is None:
        return [step]
    name = "relu" if layer.slope == 0 else "leaky-relu" if layer.slope == 0.01 else f"leaky-relu:{layer.slope:.9g}"
    return [step, Step(step.name, "activation", numbers={"name": name})]


def with_shift(step: Step, sign: tuple[int, ...], shift: Matrix) -> Step:
    """Return a layer with a bias of the value that it carries."""
    bias = step.tensors["bias"].copy()
    bias[len(bias) - len(sign) * len(shift) :] += np.concatenate([each * shift for each in sign])
    return step._replace(tensors={**step.tensors, "bias": bias})


def closed(layer: Layer, carry: Matrix, shift: Matrix, first: bool) -> Step:
    """Return the last layer of a branch, which adds the value that was carried."""
    own, beside = layer.step.tensors["weight"], at_centre(carry, layer.kernel)
    weight = own + beside if first else np.concatenate([own, beside], 1)
    return layer.step._replace(tensors={"weight": weight, "bias": layer.step.tensors["bias"] + shift})
