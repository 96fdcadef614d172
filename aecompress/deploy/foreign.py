"""Models trained elsewhere: a chain of linear layers out of safetensors, a state dict's tensors, or an ONNX graph."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from scipy.special import erf

from aecompress.deploy.checkpoint import Floats, load_model, unpack
from aecompress.deploy.reading import STANDARD, check_tensor, read_onnx
from aecompress.errors import DataError
from aecompress.layers.activations import ACTIVATIONS
from aecompress.machine import gib, memory_bytes

ACTIVATION_OPS = {"Relu": "relu", "Gelu": "gelu", "Tanh": "tanh", "Sigmoid": "sigmoid", "LeakyRelu": "leaky-relu"}
ARITHMETIC = {"Erf": erf, "Mul": np.multiply, "Div": np.divide, "Add": np.add}
"""What exporters spell GELU with."""
SKIPPED_OPS = ("Identity", "Dropout", "Flatten")
"""Ops that leave rows ``[N, D]`` as they are."""
FLOATS = ("float16", "bfloat16", "float32", "float64")
"""Number formats that weights may have."""
UNKNOWN = ""
"""The activation of a layer where a file has none: weights alone do not say it."""


Layer = tuple[str, NDArray[Any], NDArray[Any], str]
"""A name in the file, weight ``[out, in]``, bias ``[out]``, and the activation."""


class LayerShape(NamedTuple):
    """One dense layer, as far as a file says it."""

    name: str
    inputs: int
    outputs: int
    activation: str
    """:data:`UNKNOWN` where the file has none."""


@dataclass(frozen=True)
class Foreign:
    """An autoencoder as found: layers and tensors named as ours, activations where the file says them."""

    encoder: tuple[LayerShape, ...]
    decoder: tuple[LayerShape, ...]
    tensors: Mapping[str, Floats]


def from_safetensors(path: Path) -> Foreign:
    """The model of a safetensors file; with the activations of a ``config.json`` beside it, where one of ours is.

    Raises:
        DataError: it cannot be read, or is no chain of linear layers.
    """
    if path.name == "model.safetensors" and (path.parent / "config.json").is_file():
        with contextlib.suppress(DataError, RecursionError):  # many programs write a config.json
            model = load_model(path.parent)
            encoder, decoder = (
                tuple(LayerShape(one.name, one.inputs, one.outputs, one.activation) for one in part)
                for part in (model.encoder, model.decoder)
            )
            return Foreign(encoder, decoder, model.tensors)
    if path.is_file() and path.stat().st_size > memory_bytes():
        raise DataError(
            f"{path}: has {gib(path.stat().st_size)}, this machine {gib(memory_bytes())}; give a smaller file"
        )
    return from_tensors(path, unpack(path))


def from_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> Foreign:
    """Linear layers in the order of their names, encoder before decoder where the names say which is which.

    Raises:
        DataError: naming the first tensor that is no part of such a chain.
    """
    weights = sorted((name for name in tensors if name.endswith("weight")), key=_natural)
    found = []
    for name in weights:
        weight, bias = tensors[name], tensors.get(name.removesuffix("weight") + "bias")
        if weight.ndim != 2 or not weight.size:
            raise DataError(f"{path}: {name} has shape {weight.shape}; only linear layers [out, in] can be taken over")
        if bias is None:
            bias = np.zeros(len(weight), weight.dtype)
        if bias.shape != weight.shape[:1]:
            raise DataError(
                f"{path}: the bias of {name} has shape {bias.shape}, not {weight.shape[:1]}; correct the file"
            )
        found.append((name, weight, bias, UNKNOWN))
    known = set(weights) | {name.removesuffix("weight") + "bias" for name in weights}
    extra = sorted(tensors.keys() - known)
    if extra or not found:
        said = f"{extra[0]} is no weight or bias of a linear layer" if extra else "holds no linear layer"
        raise DataError(f"{path}: {said}; give the weights and biases of an autoencoder alone")
    return chained(path, found)


def _natural(name: str) -> tuple[bool, list[tuple[bool, int, str]]]:
    """Sorts numbers in names by value, and what belongs to a decoder after everything else."""
    parts = re.split(r"(\d+)", name)
    return "decoder" in name.lower(), [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def chained(path: Path, found: list[Layer]) -> Foreign:
    """The layers as an encoder and a decoder.

    Raises:
        DataError: the layers do not follow each other, or are no autoencoder.
    """
    for (name, weight, _, _), (after, below, _, _) in pairwise(found):
        if len(weight) != below.shape[1]:
            raise DataError(
                f"{path}: {name} gives {len(weight)} values, {after} takes {below.shape[1]}; no chain of layers"
            )
    if len(found) < 2 or len(found[-1][1]) != found[0][1].shape[1]:
        raise DataError(
            f"{path}: goes from {found[0][1].shape[1]} to {len(found[-1][1])} values in {len(found)} layer(s); "
            "an autoencoder gives its inputs back, over a latent code"
        )
    named = [index for index, (name, *_) in enumerate(found) if "decoder" in name.lower()]
    widths = [len(weight) for _, weight, _, _ in found[:-1]]
    split = named[0] if named and named[0] > 0 else int(np.argmin(widths)) + 1
    tensors: dict[str, Floats] = {}
    parts: dict[str, list[LayerShape]] = {"encoder": [], "decoder": []}
    for index, (source, weight, bias, activation) in enumerate(found):
        part = "encoder" if index < split else "decoder"
        name = f"{part}.{len(parts[part])}"
        parts[part].append(LayerShape(name, weight.shape[1], len(weight), activation))
        for kind, tensor in (("weight", weight), ("bias", bias)):
            if tensor.dtype.name not in FLOATS:
                raise DataError(f"{path}: {source} holds {tensor.dtype}; floating-point weights are needed")
            with np.errstate(over="ignore"):
                values = np.ascontiguousarray(tensor.T, np.float32)
            if not np.isfinite(values).all():
                raise DataError(f"{path}: {source} holds values that are not finite in float32; train it again")
            tensors[f"{name}.{kind}"] = values
    return Foreign(tuple(parts["encoder"]), tuple(parts["decoder"]), tensors)


def from_onnx(path: Path) -> Foreign:
    """The model of an ONNX graph that is a chain of Gemm, or MatMul and Add, and activations.

    Raises:
        DataError: naming the first node that is something else.
    """
    graph = read_onnx(path, STANDARD).graph
    if graph.sparse_initializer or not all(node.output for node in graph.node):
        raise DataError(f"{path}: has sparse weights, or nodes that give nothing; export it as a plain chain of layers")
    try:
        return chained(path, _walked(path, graph))
    except (ValueError, TypeError, LookupError, OverflowError, AttributeError) as fault:
        raise DataError(f"{path}: is not what its format says ({fault!r:.120}); export it again") from fault


def _walked(path: Path, graph: onnx.GraphProto) -> list[Layer]:
    """The layers of a graph, first to last."""
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in held]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise DataError(f"{path}: has {len(inputs)} inputs and {len(graph.output)} outputs; one of each is needed")
    current, found = inputs[0], list[Layer]()
    nodes = list(_constants_out(path, graph.node, held))
    place = 0
    while place < len(nodes):
        node = nodes[place]
        if current not in node.input:
            raise _no_chain(path, node, "does not follow the node before it")
        if node.op_type in ("Gemm", "MatMul"):
            weight, bias = _product(path, node, held, current)
            found.append((node.name or node.output[0], weight.T, bias, "identity"))
        elif node.op_type == "Add":
            added = [held[name] for name in node.input if name in held]
            if len(added) != 1 or not found or found[-1][3] != "identity":
                raise _no_chain(path, node, "adds something else than a bias")
            name, weight, bias, activation = found[-1]
            found[-1] = (name, weight, bias + _vector(added[0], len(weight)), activation)
        elif spelled := _gelu(nodes[place:], current, held):
            _activate(path, node, found, "gelu")
            place, node = place + spelled - 1, nodes[place + spelled - 1]
        elif node.op_type in ACTIVATION_OPS:
            slope = [attribute.f for attribute in node.attribute if attribute.name == "alpha"]
            if node.op_type == "LeakyRelu" and abs((slope or [0.01])[0] - 0.01) > 1e-6:
                raise _no_chain(path, node, f"has the slope {slope[0]:g}, only 0.01 is known")
            if any(attribute.s == b"tanh" for attribute in node.attribute):
                raise _no_chain(path, node, "is the approximate GELU, only the exact one is known")
            _activate(path, node, found, ACTIVATION_OPS[node.op_type])
        elif node.op_type not in SKIPPED_OPS:
            raise _no_chain(path, node, "is no linear layer and no activation that is known")
        current = node.output[0]
        place += 1
    if current != graph.output[0].name or not found:
        raise DataError(f"{path}: its output {graph.output[0].name} is not the end of its layers; export it again")
    return found


def _vector(bias: NDArray[Any], width: int) -> NDArray[Any]:
    """A bias stored as ``[width]``, ``[1, width]`` or one number."""
    return np.broadcast_to(bias.reshape(-1), (width,))


def _activate(path: Path, node: onnx.NodeProto, found: list[Layer], activation: str) -> None:
    if not found or found[-1][3] != "identity":
        raise _no_chain(path, node, "is an activation that stands on no linear layer")
    found[-1] = (*found[-1][:3], activation)


def _product(
    path: Path, node: onnx.NodeProto, held: Mapping[str, NDArray[Any]], current: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weight ``[in, out]`` and bias ``[out]`` of a Gemm or MatMul."""
    about = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    weight = held.get(node.input[1])
    if node.input[0] != current or weight is None or weight.ndim != 2 or about.get("transA"):
        raise _no_chain(path, node, "is no product of rows with a stored matrix")
    weight = (weight.T if about.get("transB") else weight) * np.float32(about.get("alpha", 1.0))
    bias = np.zeros(weight.shape[1], np.float32)
    if len(node.input) == 3 and node.input[2]:
        if node.input[2] not in held:
            raise _no_chain(path, node, "has a bias that is not stored")
        bias = _vector(held[node.input[2]], len(bias)) * np.float32(about.get("beta", 1.0))
    return weight, bias


def _constants_out(path: Path, nodes: Any, held: dict[str, NDArray[Any]]) -> Any:
    """The nodes that depend on the input; Constant and Cast of stored values go into ``held``."""
    for node in nodes:
        if node.op_type == "Constant":
            values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
            if values:
                check_tensor(path, values[0])
                held[node.output[0]] = numpy_helper.to_array(values[0])
            for attribute in node.attribute:
                if attribute.name == "value_floats":
                    held[node.output[0]] = np.array(attribute.floats, np.float32)
        elif node.op_type == "Identity" and node.input[0] in held:
            held[node.output[0]] = held[node.input[0]]
        elif node.op_type == "Cast" and node.input[0] in held:
            held[node.output[0]] = held[node.input[0]].astype(np.float32)
        elif node.op_type == "Transpose" and node.input[0] in held and held[node.input[0]].ndim == 2:
            held[node.output[0]] = held[node.input[0]].T
        else:
            yield node


def _gelu(nodes: list[onnx.NodeProto], current: str, held: Mapping[str, NDArray[Any]]) -> int:
    """How many of the ``nodes`` spell out 0.5 x (1 + erf(x / sqrt 2)); 0 when they do not. Tried on numbers."""
    x = np.linspace(-3, 3, 13)
    for count in (5, 4):
        values: dict[str, Any] = {**held, current: x}
        try:
            for node in nodes[:count]:
                values[node.output[0]] = ARITHMETIC[node.op_type](*(values[name] for name in node.input))
            got = values[nodes[count - 1].output[0]]
        except (KeyError, IndexError, ValueError):  # another op, too few nodes, or values of other shapes
            continue
        if np.shape(got) == x.shape and np.allclose(got, ACTIVATIONS["gelu"].value(x), atol=1e-5):
            return count
    return 0


def _no_chain(path: Path, node: onnx.NodeProto, why: str) -> DataError:
    return DataError(
        f"{path}: node {node.name or node.output[0]!r} ({node.op_type}) {why}; "
        "only chains of Gemm or MatMul and Add with activations can be taken over"
    )
