"""ONNX graphs written node by node: plain Gemm and activations, one file each, nothing of this machine inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from aecompress.deploy.checkpoint import Floats, LayerShape, Model

_ONE_NODE = {"relu": "Relu", "leaky-relu": "LeakyRelu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
PARTS = ("encoder", "decoder", "autoencoder")


def build(
    layers: Sequence[LayerShape],
    tensors: Mapping[str, Floats],
    input_name: str,
    output_name: str,
    opset: int,
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
    """One chain of layers as an ONNX model with a dynamic batch.

    Weights are stored ``[in, out]`` under their torch names, so a Gemm needs no transpose.
    """
    nodes, initializers = [], []
    current = input_name
    for index, layer in enumerate(layers):
        last = index == len(layers) - 1
        result = output_name if last else f"{layer.name}.out"
        plain = result if layer.activation == "identity" else f"{layer.name}.pre"
        weight = np.ascontiguousarray(tensors[layer.name + ".weight"].T, dtype=np.float32)
        initializers.append(numpy_helper.from_array(weight, layer.name + ".weight"))
        bias = np.ascontiguousarray(tensors[layer.name + ".bias"], dtype=np.float32)
        initializers.append(numpy_helper.from_array(bias, layer.name + ".bias"))
        names = [current, layer.name + ".weight", layer.name + ".bias"]
        nodes.append(helper.make_node("Gemm", names, [plain], name=layer.name))
        if layer.activation != "identity":
            nodes += activation_nodes(layer, plain, result, opset, initializers)
        current = result
    graph = helper.make_graph(
        nodes,
        output_name,
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["batch", layers[0].inputs])],
        [helper.make_tensor_value_info(output_name, TensorProto.FLOAT, ["batch", layers[-1].outputs])],
        initializers,
    )
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        graph,
        opset_imports=opsets,
        producer_name="aecompress",
        ir_version=helper.find_min_ir_version_for(opsets),
    )
    helper.set_model_props(model, dict(sorted(metadata.items())))
    return model


def activation_nodes(
    layer: LayerShape, source: str, result: str, opset: int, initializers: list[TensorProto]
) -> list[onnx.NodeProto]:
    """The nodes of a layer's activation; exact GELU is spelled out below opset 20, which has no Gelu."""
    name = f"{layer.name}.{layer.activation}"
    if layer.activation == "leaky-relu":
        return [helper.make_node("LeakyRelu", [source], [result], name=name, alpha=0.01)]
    if layer.activation != "gelu":
        return [helper.make_node(_ONE_NODE[layer.activation], [source], [result], name=name)]
    if opset >= 20:
        return [helper.make_node("Gelu", [source], [result], name=name)]
    constants = {"root": 2**-0.5, "one": 1.0, "half": 0.5}
    for key, value in constants.items():
        initializers.append(numpy_helper.from_array(np.array(value, dtype=np.float32), f"{name}.{key}"))
    steps = [
        ("Mul", [source, f"{name}.root"], f"{name}.scaled"),
        ("Erf", [f"{name}.scaled"], f"{name}.erf"),
        ("Add", [f"{name}.erf", f"{name}.one"], f"{name}.gate"),
        ("Mul", [source, f"{name}.half"], f"{name}.halved"),
        ("Mul", [f"{name}.halved", f"{name}.gate"], result),
    ]
    return [helper.make_node(op, inputs, [output], name=output) for op, inputs, output in steps]


def build_all(model: Model, opset: int, metadata: Mapping[str, str]) -> dict[str, onnx.ModelProto]:
    """Encoder (input -> latent), decoder (latent -> reconstruction), autoencoder (input -> reconstruction)."""
    chains = {
        "encoder": (model.encoder, "input", "latent"),
        "decoder": (model.decoder, "latent", "reconstruction"),
        "autoencoder": (model.layers, "input", "reconstruction"),
    }
    return {part: build(chain[0], model.tensors, chain[1], chain[2], opset, metadata) for part, chain in chains.items()}
