"""ONNX graphs written node by node: plain Gemm and activations, one file each, nothing of this machine inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from aecompress.data.raw import coarse
from aecompress.deploy.checkpoint import Floats, Model
from aecompress.deploy.compact import Chain, Weighted, chain_of, compact
from aecompress.deploy.turns import without_needless_turns
from aecompress.layers.activations import IDENTITY, activation_of
from aecompress.layers.places import to_first, to_last

SCALING_KEY = "aecompress.scaling"
"""Metadata of a file that has the scaling inside, and the kind of it."""
SCALING_TENSORS = ("offset", "divisor")
"""Its tensors, the fields of :class:`Affine`."""
ROWS_KEY = "aecompress.rows"
"""Metadata that says which rows a file takes and gives, raw or scaled, and the shape of one, such as 8x8."""
ROUNDED_KEY = "aecompress.rounded"
"""Metadata of a file whose values or arithmetic are rounded, and how."""
Real = TypeVar("Real", bound=np.floating[Any])
"""A precision."""
PARTS = {
    "encoder": ("input", "latent"),
    "decoder": ("latent", "reconstruction"),
    "autoencoder": ("input", "reconstruction"),
}
"""What a model is exported as: the names of each file's input and output."""


@dataclass
class Draft:
    """A graph while it is written."""

    opset: int
    part: str
    """A key of :data:`PARTS`: the prefix of names that are not a layer's, so that two graphs can become one."""
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, TensorProto] = field(default_factory=dict)

    def add(self, op: str, inputs: Sequence[str], output: str | Sequence[str], **attributes: Any) -> str:
        """Add one node, which has the name of its last output where ``attributes`` has none, and return that name."""
        outputs = [output] if isinstance(output, str) else list(output)
        self.nodes.append(helper.make_node(op, inputs, outputs, **{"name": outputs[-1]} | attributes))
        return outputs[-1]

    def turned(self, name: str, whole: Sequence[int], order: Sequence[int], shape: Sequence[int]) -> str:
        """Return the name of a stored tensor taken as of shape ``whole``, its axes in ``order``, as of ``shape``.

        Where it is an initializer, it is stored so; else nodes compute it, which runtimes do once, at load.
        """
        if name in self.initializers:
            array = numpy_helper.to_array(self.initializers.pop(name))
            return self.keep(f"{name}.torch", array.reshape(whole).transpose(order).reshape(shape))
        short = f"{self.part[:1]}.t{len(self.nodes)}"  # of packed files, in which a byte counts
        source = self.add("Reshape", [name, self.keep(f"{short}w", np.array(whole, np.int64))], f"{short}r")
        source = self.add("Transpose", [source], f"{short}t", perm=list(order))
        if tuple(whole[axis] for axis in order) == tuple(shape):
            return source
        return self.add("Reshape", [source, self.keep(f"{short}s", np.array(shape, np.int64))], f"{short}e")

    def split(self, name: str, rows: Sequence[int]) -> list[str]:
        """Return the names of the parts of a stored matrix that have so many ``rows``, one after another.

        An initializer is stored in these parts; else a node makes them.
        """
        names = [f"{name}.{part}" for part in range(len(rows))]
        if name in self.initializers:
            array = numpy_helper.to_array(self.initializers.pop(name))
            parts = np.split(array, np.cumsum(rows)[:-1])
            return [self.keep(own, part) for own, part in zip(names, parts, strict=True)]
        self.add("Split", [name, self.keep(f"{name}.rows", np.array(rows, np.int64))], names, axis=0)
        return names

    def stacked(self, names: Sequence[str], shape: Sequence[int]) -> str:
        """Return the name of stored vectors put one after another, seen as of ``shape``.

        Initializers are stored so; else nodes do it.
        """
        if all(name in self.initializers for name in names):
            arrays = [numpy_helper.to_array(self.initializers.pop(name)) for name in names]
            return self.keep(f"{names[0]}.stacked", np.concatenate(arrays).reshape(shape))
        whole = self.add("Concat", names, f"{names[0]}.both", axis=0)
        return self.add(
            "Reshape", [whole, self.keep(f"{whole}.shape", np.array(shape, np.int64))], f"{names[0]}.stacked"
        )

    def keep(self, name: str, values: NDArray[Any] | float) -> str:
        """Keep an initializer, once for each name, and return the name; a Python number becomes a float32 scalar."""
        array = np.asarray(values, np.float32) if isinstance(values, float) else np.ascontiguousarray(values)
        if isinstance(values, np.ndarray) and values.ndim == 0:
            array = values  # ascontiguousarray makes a scalar a vector
        self.initializers.setdefault(name, numpy_helper.from_array(array, name))
        return name


Store = Callable[[Draft, str, NDArray[np.float32]], str]
"""Puts a tensor into a draft under a name; the name of the float32 value it can be read from."""
Product = Callable[[Draft, Weighted, str, str], None]
"""Writes a layer's weights and bias applied to a value, ``(draft, layer, source, result)``, without its activation."""


def plain(draft: Draft, name: str, tensor: NDArray[np.float32]) -> str:
    """Store as it is."""
    return draft.keep(name, tensor)


def half(draft: Draft, name: str, tensor: NDArray[np.float32]) -> str:
    """Store as float16; onnxruntime casts back once, at load."""
    return draft.add("Cast", [draft.keep(name + ".half", tensor.astype(np.float16))], name, to=TensorProto.FLOAT)


def gemm(store: Store) -> Product:
    """Return a float32 product of tensors stored by ``store``."""

    def write(draft: Draft, layer: Weighted, source: str, result: str) -> None:
        weight, bias, *_ = *(store(draft, name, tensor) for name, tensor in layer.tensors.items()), "", ""
        layer.bound.layer.emit(draft, layer.bound.given, weight, bias, source, result)

    return write


def halves(chain: Chain, values: str) -> Product:
    """Return the float32 product of tensors stored as float16, whatever the ``chain`` and export.values."""
    return gemm(half)


@dataclass(frozen=True)
class Affine:
    """The scaling of rows: ``(raw - offset) / divisor``, each a number or one per input."""

    offset: Floats
    divisor: Floats

    @property
    def coarse(self) -> bool:
        """Return whether rounding raw rows to float32 moves scaled values by more than rounding always does."""
        return bool(coarse(self.offset.astype(np.float64), self.divisor.astype(np.float64)).any())

    def scale(self, raw: NDArray[Real]) -> NDArray[Real]:
        """Return raw rows ``[N, *shape]`` scaled, in their own precision: of float32 as the graph computes it."""
        moved = raw - self.offset
        moved /= self.divisor  # of many rows, another array would be large
        return cast(NDArray[Real], moved)

    def raw(self, scaled: NDArray[np.floating[Any]]) -> Floats:
        """Return scaled rows ``[N, *shape]`` as raw ones in float32."""
        exact = scaled.astype(np.float64)
        exact *= self.divisor
        exact += self.offset
        return exact.astype(np.float32)


@dataclass(frozen=True)
class Scorer:
    """Reconstruction error per row instead of the reconstruction."""

    metric: str
    """l1 or mse."""


def build(
    chain: Chain,
    part: str,
    opset: int,
    metadata: Mapping[str, str],
    *,
    product: Product | None = None,
    scaling: Affine | None = None,
    scorer: Scorer | None = None,
) -> onnx.ModelProto:
    """Build the ONNX model of one chain of layers, with a dynamic batch.

    Weights are stored ``[in, out]`` under their torch names, so a Gemm needs no transpose.

    Args:
        part: a key of :data:`PARTS`.
        product: how a layer's product is stored and computed; None: float32, as it is.
        scaling: put into the graph, so that it takes raw rows and gives raw reconstructions.
        scorer: make the output ``score`` ``[batch]``, the error between scaled input and reconstruction.
    """
    draft, write = Draft(opset, part), product or gemm(plain)
    gives = chain.layers[-1].bound.gives
    first, last = PARTS[part]
    unscale = scaling is not None and last == "reconstruction" and scorer is None
    current = scaled = scale(draft, scaling, first) if scaling is not None and first == "input" else first
    if chain.reads is not None:
        current = draft.add("Gather", [current, draft.keep(f"{part}.reads", chain.reads)], f"{part}.read", axis=1)
    if len(chain.shape) > 1:
        current = to_first(draft, current, chain.shape, f"{part}.first")
    end = f"{part}.scaled.reconstruction" if unscale or scorer is not None else last
    for layer in chain.layers:
        inner = layer is not chain.layers[-1] or len(gives) > 1
        result = f"{layer.name}.out" if inner else end
        write_layer(draft, write, layer, current, result)
        current = result
    if len(gives) > 1:
        current = to_last(draft, current, gives, end)
    if scaling is not None and unscale:
        raw(draft, scaling, current, last)
    if scorer is not None:
        last = score(draft, scaled, current, scorer, len(chain.shape))
    shape: list[str | int | None] = ["batch"] if scorer else ["batch", *gives]
    graph = helper.make_graph(
        without_needless_turns(draft.nodes, first, last),
        part,
        [helper.make_tensor_value_info(first, TensorProto.FLOAT, ["batch", *chain.shape])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)],
        list(draft.initializers.values()),
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


def write_layer(draft: Draft, write: Product, layer: Weighted, source: str, result: str) -> None:
    """Write a layer with its activation: before it where it only moves values, so that Transposes meet."""
    if layer.activation == IDENTITY:
        write(draft, layer, source, result)
        return
    emit, name = activation_of(layer.activation).emit, f"{layer.name}.{layer.activation}"
    between = f"{layer.name}.pre"
    if layer.bound.weighted or layer.matrix.passes:
        write(draft, layer, source, between)
        emit(draft, name, between, result)
    else:
        emit(draft, name, source, between)
        write(draft, layer, between, result)


def scale(draft: Draft, scaling: Affine, rows: str) -> str:
    """Add the scaling of raw ``rows``, without what changes nothing, and return the name of the scaled ones."""
    stored = kept(draft, scaling)
    for op, tensor, result in (("Sub", "offset", "moved"), ("Div", "divisor", "scaled")):
        if tensor in stored:
            rows = draft.add(op, [rows, stored[tensor]], f"{draft.part}.{result}")
    return rows


def raw(draft: Draft, scaling: Affine, scaled: str, result: str) -> None:
    """Add what makes ``scaled`` rows raw again, without what changes nothing."""
    stored = kept(draft, scaling)
    last = "offset" if "offset" in stored else "divisor"
    for op, tensor in (("Mul", "divisor"), ("Add", "offset")):
        if tensor in stored:
            name = result if tensor == last else f"{draft.part}.stretched"
            scaled = draft.add(op, [scaled, stored[tensor]], name)


def kept(draft: Draft, scaling: Affine) -> dict[str, str]:
    """Keep the tensors of a scaling that change anything, and return the names they are kept under."""
    tensors = {"offset": scaling.offset, "divisor": scaling.divisor}
    changing = {name: array for name, array in tensors.items() if np.any(array != (name == "divisor"))}
    return {name: draft.keep(f"{draft.part}.{name}", array) for name, array in changing.items()}


def score(draft: Draft, rows: str, reconstruction: str, scorer: Scorer, axes: int) -> str:
    """Add the mean error of each row of so many ``axes``, ``score`` ``[batch]``."""
    over = list(range(1, axes + 1))
    draft.add("Sub", [reconstruction, rows], "difference")
    if scorer.metric == "l1":
        draft.add("Abs", ["difference"], "error")
    else:
        draft.add("Mul", ["difference", "difference"], "error")
    if draft.opset >= 18:
        kept = draft.keep("score.axes", np.array(over, np.int64))
        return draft.add("ReduceMean", ["error", kept], "score", keepdims=0)
    return draft.add("ReduceMean", ["error"], "score", axes=over, keepdims=0)


def chains(model: Model, compacted: bool = True) -> dict[str, Chain]:
    """Return encoder, decoder and joined autoencoder, each compacted by itself."""
    layers = {"encoder": model.encoder, "decoder": model.decoder, "autoencoder": model.layers}
    whole = {part: chain_of(layers[part], model.tensors) for part in PARTS}
    return {part: compact(chain) for part, chain in whole.items()} if compacted else whole
