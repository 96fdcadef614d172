"""int8 ONNX: eight-bit weights with one scale per output, and activations quantised by ranges seen or on the fly.

``static`` writes QuantizeLinear/DequantizeLinear pairs with ranges calibrated on training rows, so a row's result does
not depend on the rows beside it. ``dynamic`` takes the range of each call's values, so it does. All operators are those
of opset 13, the first with a scale per output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.compact import Chain, Weighted
from aecompress.deploy.graph import Draft, Product, gemm, plain
from aecompress.deploy.pack import Grid
from aecompress.layers.activations import ACTIVATIONS

TINY = 1e-12
Range = tuple[float, float]
Keep = Callable[[Draft, str, NDArray[np.int8], NDArray[np.float32]], tuple[str, str]]
"""Stores a weight ``[in, out]`` and the scale ``[out]`` of each output; the names of the two to read them by."""


def ranges(chain: Chain, rows: Floats) -> dict[str, Range]:
    """Return the smallest and largest value, with zero, that each layer reads of ``rows`` ``[N, D]``."""
    values: NDArray[Any] = rows if chain.reads is None else rows[:, chain.reads]
    seen = {}
    for layer in chain.layers:
        seen[layer.name] = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
        values = ACTIVATIONS[layer.activation].value(layer.before(values, np.float32).astype(np.float64))
    return seen


def quantised(layer: Weighted, grids: Mapping[str, Grid]) -> tuple[NDArray[np.int8], Floats]:
    """Return weights ``[in, out]`` as int8, and the scale ``[out]`` of each output, on the layer's grid."""
    grid = grids[f"{layer.name}.weight"]
    scale = np.broadcast_to(grid.scale.astype(np.float32), layer.bias.shape)
    numbers = np.where(layer.weight == 0, 0, grid.levels[grid.codes(layer.weight)])
    return numbers.astype(np.int8), np.ascontiguousarray(scale)


def dynamic(seen: Mapping[str, Range], grids: Mapping[str, Grid]) -> Product:
    """Return a product in int8 with the input's range taken from the call; onnxruntime fuses it into a kernel."""
    return lambda draft, layer, source, result: write_dynamic(draft, layer, grids, source, result)


def write_dynamic(draft: Draft, layer: Weighted, grids: Mapping[str, Grid], source: str, result: str) -> None:
    """Write the nodes of one product under :func:`dynamic`."""
    weight, scale = quantised(layer, grids)
    names = list(layer.tensors)
    quantised_names = [f"{layer.name}.{part}" for part in ("q", "q.scale", "q.zero")]
    draft.nodes.append(_node("DynamicQuantizeLinear", [source], quantised_names))
    q, q_scale, q_zero = quantised_names
    stored = draft.keep(names[0] + ".int8", weight)
    zero = draft.keep(names[0] + ".zero", np.zeros(weight.shape[1], np.int8))
    product = draft.add("MatMulInteger", [q, stored, q_zero, zero], f"{layer.name}.product")
    cast = draft.add("Cast", [product], f"{layer.name}.float", to=TensorProto.FLOAT)
    both = draft.add("Mul", [q_scale, draft.keep(names[0] + ".scale", scale)], f"{layer.name}.scales")
    scaled = draft.add("Mul", [cast, both], f"{layer.name}.scaled")
    draft.add("Add", [scaled, draft.keep(names[1], layer.bias)], result)


def as_they_are(draft: Draft, name: str, weight: NDArray[np.int8], scale: NDArray[np.float32]) -> tuple[str, str]:
    """Store a weight and its scale as they are."""
    return draft.keep(name + ".int8", weight), draft.keep(name + ".scale", scale)


def static(seen: Mapping[str, Range], grids: Mapping[str, Grid], keep: Keep = as_they_are) -> Product:
    """Return a product in int8 with the input's range fixed, in quantise-dequantise pairs that onnxruntime fuses."""

    def write(draft: Draft, layer: Weighted, source: str, result: str) -> None:
        weight, scale = quantised(layer, grids)
        step, zero = step_and_zero(*seen[layer.name])
        names = list(layer.tensors)
        pair = [draft.keep(f"{layer.name}.in.scale", step), draft.keep(f"{layer.name}.in.zero", zero)]
        q = draft.add("QuantizeLinear", [source, *pair], f"{layer.name}.q")
        x = draft.add("DequantizeLinear", [q, *pair], f"{layer.name}.in")
        stored, scales = keep(draft, names[0], weight, scale)
        zeros = draft.keep(names[0] + ".zero", np.zeros(len(scale), np.int8))
        w = draft.add("DequantizeLinear", [stored, scales, zeros], names[0], axis=1)
        steps = (step * scale).astype(np.float32)
        bias = np.clip(np.rint(layer.bias.astype(np.float64) / np.maximum(steps, TINY)), -(2**31), 2**31 - 1)
        b = draft.add(
            "DequantizeLinear",
            [
                draft.keep(names[1] + ".int32", bias.astype(np.int32)),
                draft.keep(names[1] + ".scale", steps),
                draft.keep(names[1] + ".zero", np.zeros(len(scale), np.int32)),
            ],
            names[1],
            axis=0,
        )
        draft.add("Gemm", [x, w, b], result, name=layer.name)

    return write


def step_and_zero(low: float, high: float) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the step and the zero point of values from ``low``, 0 or less, to ``high``, as arrays of one number."""
    step = np.float32(max(high - low, TINY) / 255)
    return np.array(step), np.array(np.uint8(np.clip(round(-low / step), 0, 255)))


def _node(op: str, inputs: list[str], outputs: list[str]) -> Any:
    from onnx import helper

    return helper.make_node(op, inputs, outputs)


def of_products(write: Product) -> Product:
    """Return ``write`` for layers that are one product; others stay in float32."""

    def chosen(draft: Draft, layer: Weighted, source: str, result: str) -> None:
        (write if layer.product else gemm(plain))(draft, layer, source, result)

    return chosen


METHODS: dict[str, Callable[[Mapping[str, Range], Mapping[str, Grid]], Product]] = {
    "static": lambda seen, grids: of_products(static(seen, grids)),
    "dynamic": lambda seen, grids: of_products(dynamic(seen, grids)),
}
