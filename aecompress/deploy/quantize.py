"""int8 ONNX: eight-bit weights with one scale per output, and activations quantised by ranges seen or on the fly.

``static`` writes QuantizeLinear/DequantizeLinear pairs with ranges calibrated on training rows, so a row's result does
not depend on the rows beside it. ``dynamic`` takes the range of each call's values, so it does. All operators are those
of opset 13, the first with a scale per output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.compact import Chain, Weighted
from aecompress.deploy.forms import Packed
from aecompress.deploy.graph import Draft, Product, Store, gemm, plain
from aecompress.deploy.grid import Grid
from aecompress.deploy.pack import forms_of, smallest, stored
from aecompress.layers.activations import activation_of
from aecompress.layers.places import first, to_first

TINY = 1e-12
HALVED = 64
"""Outputs of a layer below which an int32 bias is stored whole: what computes it would take as many bytes."""
MOST_EXACT = 2.0**24
"""float32 holds every whole number up to it."""
Range = tuple[float, float]


class Keep(NamedTuple):
    """How a graph has its constants; each gives the names that they are read by."""

    weight: Callable[[Draft, str, NDArray[np.int8], NDArray[np.float32]], tuple[str, str, str]]
    """A weight ``[in, out]``, and the scale and the zero point ``[out]`` of each output.

    onnxruntime below 1.21 computes nothing without a zero point, and later ones do not fuse the product.
    """
    bias: Callable[[Draft, str, Floats, Floats, str, str], tuple[str, str]]
    """A bias ``[out]`` in whole numbers of its ``steps`` ``[out]``, and these, the product of two others."""


AS_THEY_ARE = Keep(
    weight=lambda draft, name, weight, scale: (
        draft.keep(name + ".int8", weight),
        draft.keep(name + ".scale", scale),
        draft.keep(name + ".zero", np.zeros(len(scale), np.int8)),
    ),
    bias=lambda draft, name, bias, steps, one, other: (
        draft.keep(name + ".int32", whole_bias(bias, steps)),
        draft.keep(name + ".scale", steps),
    ),
)
"""Every constant stored whole."""


def ranges(chain: Chain, rows: Floats) -> dict[str, Range]:
    """Return the smallest and largest value, with zero, that each layer reads of ``rows`` ``[N, D]``."""
    values: NDArray[Any] = rows if chain.reads is None else rows[:, chain.reads]
    seen = {}
    for layer in chain.layers:
        seen[layer.name] = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        values = activation_of(layer.activation).value(layer.before(values, np.float32).astype(np.float64))
    return seen


def quantised(layer: Weighted, grids: Mapping[str, Grid]) -> tuple[NDArray[np.int8], Floats]:
    """Return weights ``[in, out]`` as int8, and the scale ``[out]`` of each output, on the layer's grid.

    Inputs are in the order of a flattened graph value, channels-first.
    """
    grid = grids[f"{layer.name}.weight"]
    scale = np.broadcast_to(grid.scale.astype(np.float32), layer.bias.shape)
    numbers = np.where(layer.weight == 0, 0, grid.levels[grid.codes(layer.weight)])
    return first(numbers, layer.bound.given, 0).astype(np.int8), np.ascontiguousarray(scale)


def dynamic(seen: Mapping[str, Range], grids: Mapping[str, Grid], keep: Keep) -> Product:
    """Return a product in int8 with the input's range taken from the call; onnxruntime fuses it into a kernel."""

    def write(draft: Draft, layer: Weighted, source: str, result: str) -> None:
        weight, scale = quantised(layer, grids)
        names = list(layer.tensors)
        q, q_scale, q_zero = (f"{layer.name}.{part}" for part in ("q", "q.scale", "q.zero"))
        draft.nodes.append(helper.make_node("DynamicQuantizeLinear", [source], [q, q_scale, q_zero], name=q))
        stored, scales, zero = keep.weight(draft, names[0], weight, scale)
        product = draft.add("MatMulInteger", [q, stored, q_zero, zero], f"{layer.name}.product")
        cast = draft.add("Cast", [product], f"{layer.name}.float", to=TensorProto.FLOAT)
        both = draft.add("Mul", [q_scale, scales], f"{layer.name}.scales")
        scaled = draft.add("Mul", [cast, both], f"{layer.name}.scaled")
        draft.add("Add", [scaled, draft.keep(names[1], layer.bias)], result)

    return write


def static(seen: Mapping[str, Range], grids: Mapping[str, Grid], keep: Keep) -> Product:
    """Return a product in int8 with the input's range fixed, in quantise-dequantise pairs that onnxruntime fuses."""

    def write(draft: Draft, layer: Weighted, source: str, result: str) -> None:
        weight, scale = quantised(layer, grids)
        step, zero = step_and_zero(*seen[layer.name])
        names = list(layer.tensors)
        pair = [draft.keep(f"{layer.name}.in.scale", step), draft.keep(f"{layer.name}.in.zero", zero)]
        q = draft.add("QuantizeLinear", [source, *pair], f"{layer.name}.q")
        x = draft.add("DequantizeLinear", [q, *pair], f"{layer.name}.in")
        stored, scales, zeros = keep.weight(draft, names[0], weight, scale)
        w = draft.add("DequantizeLinear", [stored, scales, zeros], names[0], axis=1)
        steps = (step * scale).astype(np.float32)
        whole, both = keep.bias(draft, names[1], layer.bias, steps, pair[0], scales)
        b = draft.add("DequantizeLinear", [whole, both], names[1], axis=0)
        draft.add("Gemm", [x, w, b], result, name=layer.name)

    return write


def whole_bias(bias: Floats, steps: Floats) -> NDArray[np.int32]:
    """Return a bias ``[out]`` in whole numbers of its ``steps`` ``[out]``, computed in float32, as a graph can."""
    numbers = np.rint(bias / steps).astype(np.float64)
    found: NDArray[np.int32] = np.clip(numbers, -(2**31), 2**31 - 1).astype(np.int32)
    return found


def step_and_zero(low: float, high: float) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the step and the zero point of values from ``low``, 0 or less, to ``high``, as arrays of one number."""
    step = np.float32(max(high - low, TINY) / 255)
    return np.array(step), np.array(np.uint8(np.clip(round(-low / step), 0, 255)))


def of_products(write: Product, other: Store) -> Product:
    """Return ``write`` for layers that are one product; others stay in float32, their tensors stored by ``other``."""

    def chosen(draft: Draft, layer: Weighted, source: str, result: str) -> None:
        given, gives = layer.bound.given, layer.bound.gives
        if not layer.product:
            gemm(other)(draft, layer, source, result)
            return
        if len(given) > 1:
            source = draft.add("Flatten", [source], f"{layer.name}.flat")
        if len(gives) == 1:
            write(draft, layer, source, result)
            return
        write(draft, layer, source, f"{layer.name}.row")
        shape = draft.keep(f"{layer.name}.shape", np.array([-1, *gives], np.int64))
        row = draft.add("Reshape", [f"{layer.name}.row", shape], f"{layer.name}.places")
        to_first(draft, row, gives, result)

    return chosen


METHODS: dict[str, Callable[[Mapping[str, Range], Mapping[str, Grid], Keep], Product]] = {
    "static": static,
    "dynamic": dynamic,
}
"""In the order of preference."""


def product_of(method: str, seen: Mapping[str, Range], grids: Mapping[str, Grid]) -> Product:
    """Return the product of a method, with all constants as they are."""
    return of_products(METHODS[method](seen, grids, AS_THEY_ARE), plain)


def packed_product_of(method: str, chain: Chain, seen: Mapping[str, Range], grids: Mapping[str, Grid]) -> Product:
    """Return the same in few bytes: onnxruntime computes the same constants when it loads the file."""
    store = stored(packed_constants(chain, seen if method == "static" else {}, grids))
    return of_products(METHODS[method](seen, grids, computed(store)), store)


def packed_constants(chain: Chain, seen: Mapping[str, Range], grids: Mapping[str, Grid]) -> dict[str, Packed]:
    """Return the weights and scales of a chain in few bytes, by the names that :func:`computed` reads them by.

    Whole numbers are packed as values on a grid of scale 1; what stays in float32 as it is.

    Args:
        seen: empty for dynamic ranges, where biases stay in float32.
    """
    forms: dict[str, dict[int, Packed]] = {}
    for layer in chain.layers:
        names = list(layer.tensors)
        if not layer.product:
            forms |= {name: forms_of(tensor, "float32") for name, tensor in layer.tensors.items()}
            continue
        weight, scale = quantised(layer, grids)
        grid = Grid(np.ones(1, np.float16), grids[names[0]].levels)
        forms[names[0] + ".number"] = forms_of(weight.astype(np.float32), "int8", grid)
        if not shared(scale):
            forms[names[0] + ".scale"] = forms_of(scale, "float16")
        if seen and halved(layer.bias, step_and_zero(*seen[layer.name])[0] * scale):
            forms[names[1] + ".half"] = forms_of(layer.bias, "float16")
    return smallest(forms)


def halved(bias: Floats, steps: Floats) -> bool:
    """Return whether a bias is stored as float16 numbers, which it consists of, from which whole ones are computed."""
    exact = np.array_equal(bias, bias.astype(np.float16)) and len(bias) >= HALVED
    return bool(exact and (np.abs(bias / steps) < MOST_EXACT).all())


def shared(scale: Floats) -> bool:
    """Return whether all outputs have one scale, so that it is stored once."""
    return bool((scale == scale[0]).all())


def computed(store: Store) -> Keep:
    """Return constants that the graph computes from few bytes."""

    def weight(draft: Draft, name: str, values: NDArray[np.int8], scale: NDArray[np.float32]) -> tuple[str, str, str]:
        number = store(draft, name + ".number", values.astype(np.float32))
        whole = draft.add("Cast", [number], short(draft, f"w{len(draft.nodes)}"), to=TensorProto.INT8)
        zero = zeros(draft, len(scale))
        if not shared(scale):
            return whole, store(draft, name + ".scale", scale), zero
        one = draft.keep(name + ".scale", scale[:1])
        each = draft.add("Expand", [one, length(draft, len(scale))], short(draft, f"e{len(draft.nodes)}"))
        return whole, each, zero

    def zeros(draft: Draft, count: int) -> str:
        name = short(draft, f"zero{count}")
        if not any(name in node.output for node in draft.nodes):
            value = numpy_helper.from_array(np.zeros(1, np.int8))
            draft.add("ConstantOfShape", [length(draft, count)], name, value=value)
        return name

    def length(draft: Draft, count: int) -> str:
        return draft.keep(short(draft, f"length{count}"), np.array([count], np.int64))

    def bias(draft: Draft, name: str, values: Floats, steps: Floats, one: str, other: str) -> tuple[str, str]:
        both = draft.add("Mul", [one, other], short(draft, f"s{len(draft.nodes)}"))
        if not halved(values, steps):
            return draft.keep(name + ".int32", whole_bias(values, steps)), both
        numbers = draft.add("Div", [store(draft, name + ".half", values), both], short(draft, f"d{len(draft.nodes)}"))
        near = draft.add("Round", [numbers], short(draft, f"r{len(draft.nodes)}"))
        return draft.add("Cast", [near], short(draft, f"b{len(draft.nodes)}"), to=TensorProto.INT32), both

    def short(draft: Draft, name: str) -> str:
        return f"{draft.part[:1]}.{name}"

    return Keep(weight, bias)
