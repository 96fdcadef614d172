"""Models in ONNX graphs: a chain of Gemm, or MatMul and Add, with activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper
from scipy.special import erf, expit

from aecompress.deploy.graph import SCALING_KEY, SCALING_TENSORS
from aecompress.deploy.pretrained.base import Linear, Pretrained, chained
from aecompress.deploy.reading import STANDARD, check_tensor, read_onnx
from aecompress.errors import DataError
from aecompress.layers.activations import ACTIVATIONS, leaky_name
from aecompress.layers.names import slope_of

Constants = Mapping[str, NDArray[Any]]
"""Stored tensors by name."""
ACTIVATION_OPS = {activation.op: name for name, activation in ACTIVATIONS.items() if activation.op}
ARITHMETIC: dict[str, Callable[..., Any]] = {
    "Erf": erf, "Mul": np.multiply, "Div": np.divide, "Add": np.add, "Sigmoid": expit, "Tanh": np.tanh,
    "Softplus": lambda x: np.logaddexp(0, x),
}  # fmt: skip
"""The operators that exporters write some activations with."""
SPELLED = ("gelu", "silu", "mish")
"""These activations."""
LONGEST = 5
"""Nodes that they take at most."""
SKIPPED_OPS = ("Identity", "Dropout", "Flatten")
"""Operators that leave rows ``[N, D]`` as they are."""
DAMAGE = (ValueError, TypeError, LookupError, OverflowError, AttributeError)
"""What reading a damaged graph raises."""


def read(path: Path) -> Pretrained:
    """Read the model of a graph that is one chain of linear layers and activations.

    Raises:
        DataError: naming the first node that is something else.
    """
    model = read_onnx(path, STANDARD)
    graph, inside = model.graph, any(entry.key == SCALING_KEY for entry in model.metadata_props)
    if graph.sparse_initializer or not all(node.output for node in graph.node):
        raise DataError(f"{path}: has sparse weights, or nodes without output; export it as a plain chain of layers")
    try:
        return chained(path, _layers(path, graph, inside))
    except DAMAGE as fault:
        raise DataError(f"{path}: does not follow the ONNX format ({fault!r:.120}); export it again") from fault


def _layers(path: Path, graph: onnx.GraphProto, inside: bool) -> list[Linear]:
    """Return the layers of a graph, first to last.

    Args:
        inside: whether it is one of ours with the scaling of its rows inside, which is skipped: a run has its own.
    """
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    inputs = [value.name for value in graph.input if value.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise DataError(f"{path}: has {len(inputs)} inputs and {len(graph.output)} outputs; one of each is needed")
    source, layers = inputs[0], list[Linear]()
    nodes = list(_without_constants(path, graph.node, constants))
    place = 0
    while place < len(nodes):
        node, taken = nodes[place], 1
        if source not in node.input:
            raise _not_a_chain(path, node, "does not follow the node before it")
        if node.op_type in ("Gemm", "MatMul"):
            weight, bias = _product(path, node, constants, source)
            layers.append(Linear(node.name or node.output[0], weight, bias, "identity"))
        elif inside and any(name.rpartition(".")[2] in SCALING_TENSORS for name in node.input):
            pass
        elif node.op_type == "Add":
            _add_bias(path, node, constants, layers)
        elif spelled := _spelled(nodes[place : place + LONGEST], source, constants):
            _activate(path, node, layers, spelled[0])
            taken = spelled[1]
        elif node.op_type in ACTIVATION_OPS:
            _activate(path, node, layers, _activation_of(path, node, constants))
        elif node.op_type not in SKIPPED_OPS:
            raise _not_a_chain(path, node, "is not a linear layer or a known activation")
        place += taken
        source = nodes[place - 1].output[0]
    if source != graph.output[0].name or not layers:
        raise DataError(f"{path}: its output {graph.output[0].name} is not the end of its layers; export it again")
    return layers


def _without_constants(
    path: Path, nodes: Iterable[NodeProto], constants: dict[str, NDArray[Any]]
) -> Iterator[NodeProto]:
    """Yield the nodes that depend on the input; what the others compute goes into ``constants``."""
    for node in nodes:
        stored = constants.get(node.input[0]) if node.input else None
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    check_tensor(path, attribute.t)
                    constants[node.output[0]] = numpy_helper.to_array(attribute.t)
                if attribute.name == "value_floats":
                    constants[node.output[0]] = np.array(attribute.floats, np.float32)
        elif node.op_type == "Identity" and stored is not None:
            constants[node.output[0]] = stored
        elif node.op_type == "Cast" and stored is not None:
            constants[node.output[0]] = stored.astype(np.float32)
        elif node.op_type == "Transpose" and stored is not None and stored.ndim == 2:
            constants[node.output[0]] = stored.T
        else:
            yield node


def _product(path: Path, node: NodeProto, constants: Constants, source: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the weight ``[fan_in, columns]`` and bias ``[columns]`` of a Gemm or MatMul."""
    about = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    weight = constants.get(node.input[1])
    if node.input[0] != source or weight is None or weight.ndim != 2 or about.get("transA"):
        raise _not_a_chain(path, node, "is not a product of rows with a stored matrix")
    weight = (weight.T if about.get("transB") else weight) * np.float32(about.get("alpha", 1.0))
    bias = np.zeros(weight.shape[1], np.float32)
    if len(node.input) == 3 and node.input[2]:
        if node.input[2] not in constants:
            raise _not_a_chain(path, node, "has a bias that is not stored")
        bias = _vector(constants[node.input[2]], len(bias)) * np.float32(about.get("beta", 1.0))
    return weight, bias


def _add_bias(path: Path, node: NodeProto, constants: Constants, layers: list[Linear]) -> None:
    """Add the stored input of an Add to the bias of the last layer."""
    added = [constants[name] for name in node.input if name in constants]
    if len(added) != 1 or not layers or layers[-1].activation != "identity":
        raise _not_a_chain(path, node, "adds something else than a bias")
    last = layers[-1]
    layers[-1] = last._replace(bias=last.bias + _vector(added[0], len(last.bias)))


def _vector(bias: NDArray[Any], width: int) -> NDArray[Any]:
    """Return a bias that is stored as ``[width]``, ``[1, width]`` or one number as ``[width]``."""
    return np.broadcast_to(bias.reshape(-1), (width,))


def _activation_of(path: Path, node: NodeProto, constants: Constants) -> str:
    """Return the name of an activation; refuse forms that we do not have."""
    about = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type == "LeakyRelu":
        name = leaky_name(about.get("alpha", 0.01))
        if name != "leaky-relu" and slope_of(name) is None:
            raise _not_a_chain(path, node, f"has the slope {about['alpha']:g}; slopes from 0 to 999 are known")
        return name
    if about.get("alpha", 1) != 1 and node.op_type == "Elu":
        raise _not_a_chain(path, node, f"has alpha = {about['alpha']:g}, only 1 is known")
    if node.op_type == "Clip" and [float(constants.get(name, np.array(np.nan))) for name in node.input[1:]] != [0, 6]:
        raise _not_a_chain(path, node, "has other bounds than 0 and 6, those of relu6")
    if any(attribute.s == b"tanh" for attribute in node.attribute):
        raise _not_a_chain(path, node, "is the approximate GELU, only the exact one is known")
    return ACTIVATION_OPS[node.op_type]


def _activate(path: Path, node: NodeProto, layers: list[Linear], activation: str) -> None:
    """Give the last layer its activation."""
    if not layers or layers[-1].activation != "identity":
        raise _not_a_chain(path, node, "is an activation without a linear layer before it")
    layers[-1] = layers[-1]._replace(activation=activation)


def _spelled(nodes: list[NodeProto], source: str, constants: Constants) -> tuple[str, int] | None:
    """Return the activation that the first ``nodes`` compute, and how many; None when they compute none.

    They are tried on numbers.
    """
    x = np.linspace(-3, 3, 13)
    for count in range(LONGEST, 1, -1):
        values: dict[str, Any] = {**constants, source: x}
        try:
            for node in nodes[:count]:
                values[node.output[0]] = ARITHMETIC[node.op_type](*(values[name] for name in node.input))
            result = values[nodes[count - 1].output[0]]
        except (KeyError, IndexError, ValueError):  # another operator, too few nodes, or values of other shapes
            continue
        for name in SPELLED:
            if np.shape(result) == x.shape and np.allclose(result, ACTIVATIONS[name].value(x), atol=1e-5):
                return name, count
    return None


def _not_a_chain(path: Path, node: NodeProto, why: str) -> DataError:
    return DataError(
        f"{path}: node {node.name or node.output[0]!r:.200} ({node.op_type}) {why}; "
        "only chains of Gemm or MatMul and Add with activations can be read"
    )
