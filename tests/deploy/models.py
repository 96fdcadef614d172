"""Small models with numpy weights, and their files on disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from aecompress.deploy import graph, pack
from aecompress.deploy.checkpoint import Floats, Model, save_model
from aecompress.deploy.compact import Chain, Weighted
from aecompress.deploy.forms import DENSE, Packed, encode
from aecompress.layers.base import BoundLayer
from aecompress.layers.dense import dense

INPUTS, HIDDEN, LATENT = 6, 5, 3
METADATA = {"aecompress.version": "0", "aecompress.sparsity": "0.25"}


def chain(part: str, sizes: tuple[int, ...], activation: str) -> tuple[BoundLayer, ...]:
    return tuple(dense(f"{part}.{index}", *pair, activation) for index, pair in enumerate(pairwise(sizes)))


def weighted(name: str, weight: object, bias: object, activation: str = "relu") -> Weighted:
    """A dense layer with its tensors."""
    matrix = np.array(weight, np.float32)
    return Weighted(dense(name, *matrix.shape, activation), matrix, np.array(bias, np.float32))


def tiny_model(activation: str = "gelu", seed: int = 0, inputs: int = INPUTS, latent: int = LATENT) -> Model:
    """inputs-5-latent-5-inputs, the activation after every layer, no weight zero."""
    random = np.random.default_rng(seed)
    encoder = chain("encoder", (inputs, HIDDEN, latent), activation)
    decoder = chain("decoder", (latent, HIDDEN, inputs), activation)
    tensors = {}
    for layer in encoder + decoder:
        tensors[layer.name + ".weight"] = random.normal(size=(layer.outputs, layer.inputs)).astype(np.float32).T.copy()
        tensors[layer.name + ".bias"] = random.normal(size=layer.outputs).astype(np.float32)
    scaling = {"kind": "minmax", "offset": [0.5] * inputs, "divisor": [2.0] * inputs}
    return Model(
        encoder=encoder,
        decoder=decoder,
        tensors=tensors,
        scaling=scaling,
        about={"name": "tiny", "metric": "mse", "metrics": {"test_mse": 0.5}},
    )


def tiny_rows(count: int = 20, inputs: int = INPUTS, seed: int = 1) -> Floats:
    """Rows uniform in [0, 1)."""
    return np.random.default_rng(seed).random((count, inputs), dtype=np.float32)


def sparse(shape: tuple[int, ...], density: float, seed: int = 0) -> Floats:
    """Normal values at random places, zero at the others."""
    random = np.random.default_rng(seed)
    return (random.normal(size=shape) * (random.random(shape) < density)).astype(np.float32)


def packed_layer(weight: Floats, form: Packed) -> onnx.ModelProto:
    """One linear layer ``[in, out]`` without bias whose weight is stored in the given form."""
    layer = weighted("encoder.0", weight, np.zeros(weight.shape[1]), "identity")
    packed = {"encoder.0.weight": form, "encoder.0.bias": encode(layer.bias, "float32", DENSE)}
    product = graph.gemm(pack.stored(packed))
    return graph.build(Chain(weight.shape[:1], (layer,)), "encoder", 18, {}, product=product)


def build_all(
    model: Model, opset: int, metadata: Mapping[str, str], compacted: bool = True
) -> dict[str, onnx.ModelProto]:
    """The plain files by part: input -> latent, latent -> reconstruction, input -> reconstruction."""
    chains = graph.chains(model, compacted).items()
    return {part: graph.build(chain, part, opset, metadata) for part, chain in chains}


def write_onnx(folder: Path, model: Model, opset: int = 18, compacted: bool = True) -> Path:
    """The three ONNX files of a model, as a run writes them."""
    for part, proto in build_all(model, opset, METADATA, compacted).items():
        (folder / f"{part}.onnx").write_bytes(proto.SerializeToString(deterministic=True))
    return folder


def write_model(folder: Path, model: Model) -> Path:
    """A model folder: config, weights and the three ONNX files."""
    save_model(folder, model)
    return write_onnx(folder, model)


def edit(path: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    """Change an ONNX file in place."""
    proto = onnx.load(path)
    change(proto)
    path.write_bytes(proto.SerializeToString())
    return path


def edit_tensor(proto: onnx.ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Replace the initializer ``name`` by what ``change`` makes of it."""
    (initializer,) = (tensor for tensor in proto.graph.initializer if tensor.name == name)
    initializer.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(initializer).copy()), name))


def rename(proto: onnx.ModelProto, names: dict[str, str]) -> None:
    """Rename values wherever a graph speaks of them."""
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in proto.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def hide_names(proto: onnx.ModelProto) -> None:
    """Give every tensor a name of its own, as another exporter would."""
    rename(proto, {tensor.name: f"value{index}" for index, tensor in enumerate(proto.graph.initializer)})
