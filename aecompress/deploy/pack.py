"""Packed ONNX: zeros cost almost nothing in the file, and onnxruntime rebuilds plain Gemms when it loads it.

Each tensor is stored dense, as one bit per element and the non-zero values, or as the gaps between non-zero values,
whichever takes the fewest bytes. Values are float32 (the same bits come out), float16, int8 with one scale per tensor,
or four-bit indices into a codebook per tensor. Standard ops of opset 18 that onnxruntime folds at load rebuild the
tensor; NonZero and DequantizeLinear are not among those.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from aecompress import rng
from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.graph import Draft, Store
from aecompress.deploy.verify import session
from aecompress.errors import VerifyError
from aecompress.files import write_bytes

Bytes = NDArray[np.uint8]
MIN_OPSET = 18
VALUES = ("float32", "float16", "int8", "int4")
"""How values may be stored, the exact one first."""
INDEXES = ("dense", "bitmask", "gaps4", "gaps8")
"""How the places of non-zero values may be stored."""
LONGEST = {"gaps4": 15, "gaps8": 255}
"""The symbol that moves on by itself and stands on no value."""
CODES = 16
LLOYD_STEPS = 60
NODE_BYTES = {"dense": 60, "bitmask": 520, "gaps4": 640, "gaps8": 500}
"""About what the ops that rebuild a tensor take in the file, by index."""
VALUE_NODE_BYTES = {"float32": 0, "float16": 60, "int8": 110, "int4": 350}


class Packed(NamedTuple):
    """A tensor in few bytes."""

    shape: tuple[int, ...]
    places: str
    values: str
    arrays: dict[str, NDArray[Any]]
    """``index`` (where there is one) and ``values``, with ``scale`` or ``codebook``."""
    stored: int
    """Values in ``values``."""
    symbols: int = 0
    """Gaps in ``index``, escapes included."""

    @property
    def bytes(self) -> int:
        """What it takes in a file, the ops that rebuild it included."""
        own = sum(array.nbytes for array in self.arrays.values())
        return own + NODE_BYTES[self.places] + VALUE_NODE_BYTES[self.values]


def pack(tensor: Floats, values: str) -> Packed:
    """The smallest form of ``tensor`` with values stored as ``values``, or more exactly where that is smaller.

    Vectors, which are few and weigh much in the error, keep eight bits where ``int4`` is asked.
    """
    asked = "int8" if values == "int4" and tensor.ndim < 2 else values
    allowed = VALUES[: VALUES.index(asked) + 1]
    return min((encode(tensor, index, form) for index, form in product(INDEXES, allowed)), key=lambda p: p.bytes)


def encode(tensor: Floats, index: str, values: str) -> Packed:
    """``tensor`` with its non-zero places stored as ``index`` and its values as ``values``."""
    flat = tensor.reshape(-1)
    if index == "dense":
        return Packed(tensor.shape, index, values, encode_values(flat, values), len(flat))
    if values == "int8":  # what rounds to zero needs no place
        flat = np.where(np.abs(flat) * 254 < np.abs(flat).max(initial=0), np.float32(0), flat)
    places = np.flatnonzero(flat)
    if not len(places):  # no op gathers from nothing, so one zero is stored
        places = np.zeros(1, np.int64)
    stored = encode_values(flat[places], values)
    if index == "bitmask":
        bits = np.zeros(len(flat), np.uint8)
        bits[places] = 1
        arrays = {"index": np.packbits(bits, bitorder="little"), **stored}
        return Packed(tensor.shape, index, values, arrays, len(places))
    symbols = to_gaps(places, LONGEST[index])
    arrays = {"index": nibbles(symbols) if index == "gaps4" else symbols, **stored}
    return Packed(tensor.shape, index, values, arrays, len(places), len(symbols))


def encode_values(flat: Floats, values: str) -> dict[str, NDArray[Any]]:
    """Values ``[n]`` in the given form."""
    if values == "float32":
        return {"values": flat}
    if values == "float16":
        return {"values": np.clip(flat, -65504, 65504).astype(np.float16)}
    if values == "int8":
        scale = np.float32(max(float(np.abs(flat).max()), 1e-30) / 127)
        return {"values": np.rint(flat / scale).astype(np.int8), "scale": np.array(scale)}
    codebook = codebook_of(flat)
    codes = np.searchsorted((codebook[1:] + codebook[:-1]) / 2, flat).astype(np.uint8)
    return {"values": nibbles(codes), "codebook": codebook}


def codebook_of(flat: Floats) -> Floats:
    """Sixteen values in rising order with a small squared error on ``flat``: Lloyd's method from its quantiles."""
    ordered = np.sort(flat.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    book = np.quantile(ordered, (np.arange(CODES) + 0.5) / CODES)
    for _ in range(LLOYD_STEPS):
        cuts = np.searchsorted(ordered, (book[1:] + book[:-1]) / 2)
        edges = np.concatenate([[0], cuts, [len(ordered)]])
        counts = np.diff(edges)
        book = np.where(counts > 0, np.diff(sums[edges]) / np.maximum(counts, 1), book)
    return np.sort(book).astype(np.float32)


def nibbles(values: Bytes) -> Bytes:
    """Two values below 16 a byte, the first in the low half."""
    padded = np.append(values, np.zeros(len(values) % 2, np.uint8))
    result: Bytes = padded[::2] | np.left_shift(padded[1::2], 4, dtype=np.uint8)
    return result


def to_gaps(places: NDArray[np.int64], longest: int) -> Bytes:
    """Rising places as symbols: ``s < longest`` moves on by ``s + 1`` to a value, ``longest`` by itself, to none."""
    gaps = np.diff(places, prepend=-1) - 1
    escapes = gaps // longest
    symbols: Bytes = np.full(len(places) + int(escapes.sum()), longest, dtype=np.uint8)
    symbols[np.cumsum(escapes + 1) - 1] = (gaps % longest).astype(np.uint8)
    return symbols


def store(values: str, record: dict[str, Packed] | None = None) -> Store:
    """Store tensors packed; ``record`` gets the form of each."""

    def put(draft: Draft, name: str, tensor: Floats) -> str:
        packed = pack(tensor, values)
        if record is not None:
            record[name] = packed
        return write(draft, name, packed)

    return put


def write(draft: Draft, name: str, packed: Packed) -> str:
    """The initializers of a packed tensor and the ops that rebuild it as value ``name``."""
    tag, count = f"t{len(draft.initializers)}", int(np.prod(packed.shape))

    def op(kind: str, *inputs: str, **attributes: Any) -> str:
        return draft.add(kind, inputs, f"{tag}{len(draft.nodes)}", **attributes)

    def number(value: int, dtype: type = np.int64, rank: int = 1) -> str:
        array: NDArray[Any] = np.full((1,) * rank, value, dtype)
        return draft.keep(f"{np.dtype(dtype).char}{value}{'v' * rank}", array)

    def spread(source: str, bits: int, length: int) -> str:
        """Bytes [m] as numbers of so many bits, [length]."""
        shifts = draft.keep(f"by{bits}", np.arange(0, 8, bits, dtype=np.uint8))
        column = op("Unsqueeze", source, number(1))
        moved = op("BitShift", column, shifts, direction="RIGHT")
        low = op("BitwiseAnd", moved, number((1 << bits) - 1, np.uint8))
        return op("Slice", op("Reshape", low, number(-1)), number(0), number(length), number(0))

    def stored(length: int) -> str:
        """The values [length] as float32."""
        if packed.values == "float32":
            return parts["values"]
        if packed.values == "int4":
            codes = op("Cast", spread(parts["values"], 4, length), to=TensorProto.INT32)
            return op("Gather", parts["codebook"], codes)
        cast = op("Cast", parts["values"], to=TensorProto.FLOAT)
        return op("Mul", cast, parts["scale"]) if packed.values == "int8" else cast

    if packed.places == "dense" and packed.values == "float32":
        return draft.keep(name, packed.arrays["values"].reshape(packed.shape))
    parts = {part: draft.keep(f"{tag}.{part}", array) for part, array in packed.arrays.items()}
    shape = draft.keep("s" + "x".join(map(str, packed.shape)), np.array(packed.shape, np.int64))
    if packed.places == "dense":
        return draft.add("Reshape", [stored(count), shape], name)
    symbols = parts["index"]
    if packed.places == "bitmask":
        flags = op("Cast", spread(symbols, 1, count), to=TensorProto.INT32)
    else:
        symbols = spread(symbols, 4, packed.symbols) if packed.places == "gaps4" else symbols
        symbols = op("Cast", symbols, to=TensorProto.INT32)
        flags = op("Cast", op("Less", symbols, number(LONGEST[packed.places], np.int32)), to=TensorProto.INT32)
    nth = op("Sub", op("CumSum", flags, number(0, np.int32, 0)), number(1, np.int32))
    nth = op("Max", nth, number(0, np.int32))
    gathered = op("Gather", stored(packed.stored), nth)
    zero = draft.keep("zero", np.zeros(1, np.float32))
    values = op("Where", op("Cast", flags, to=TensorProto.BOOL), gathered, zero)
    if packed.places != "bitmask":
        ends = op("CumSum", op("Add", symbols, flags), number(0, np.int32, 0))
        places = op("Sub", ends, number(1, np.int32))
        blank = op("Expand", zero, number(count))
        values = op("ScatterElements", blank, places, values, axis=0)
    return draft.add("Reshape", [values, shape], name)


def decode(packed: Packed) -> Floats:
    """The tensor that a packed form stands for."""
    arrays, count = packed.arrays, int(np.prod(packed.shape))
    values = arrays["values"]
    if packed.values == "int4":
        values = arrays["codebook"][_halves(values, packed.stored)]
    elif packed.values == "int8":
        values = values.astype(np.float32) * arrays["scale"]
    values = values.astype(np.float32)
    if packed.places == "dense":
        return values.reshape(packed.shape)
    if packed.places == "bitmask":
        places = np.flatnonzero(np.unpackbits(arrays["index"], count=count, bitorder="little"))
    else:
        longest = LONGEST[packed.places]
        symbols = _halves(arrays["index"], packed.symbols) if packed.places == "gaps4" else arrays["index"]
        on_value = symbols < longest
        places = (np.cumsum(symbols.astype(np.int64) + on_value) - 1)[on_value]
    flat = np.zeros(count, np.float32)
    flat[places] = values
    return flat.reshape(packed.shape)


def _halves(index: Bytes, length: int) -> Bytes:
    return np.stack([index & 15, index >> 4], 1).reshape(-1)[:length]


def entropy_bytes(tensors: Mapping[str, Floats], value_bits: int) -> float:
    """The bound on any file of these tensors: non-zeros x bits, and elements x H(density) for each tensor."""
    bits = 0.0
    for tensor in tensors.values():
        density = np.count_nonzero(tensor) / tensor.size
        bits += np.count_nonzero(tensor) * value_bits
        if 0 < density < 1:
            bits -= tensor.size * (density * np.log2(density) + (1 - density) * np.log2(1 - density))
    return bits / 8


def make_plain(path: Path, output: Path) -> None:
    """Write the plain form of a packed file, verified to give the same values.

    Raises:
        DataError: the file cannot be read or used.
        VerifyError: the plain file is another function.
    """
    before = session(path, 1)
    plain = unpack(onnx.load(path))
    write_bytes(output, plain.SerializeToString(deterministic=True))
    after = session(output, 1)
    node = before.get_inputs()[0]
    rows = rng.host(0, "plain-rows").random((7, node.shape[1]), dtype=np.float32)
    if not np.array_equal(before.run(None, {node.name: rows})[0], after.run(None, {node.name: rows})[0]):
        output.unlink()
        raise VerifyError(f"{output}: would not give what {path} gives; nothing was written")


def unpack(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with everything that depends on no input computed: a packed model as a plain one."""
    known = {tensor.name for tensor in model.graph.initializer}
    fixed: list[onnx.NodeProto] = []
    moving: list[onnx.NodeProto] = []
    for node in model.graph.node:
        (fixed if all(name in known or not name for name in node.input) else moving).append(node)
        if fixed and fixed[-1] is node:
            known.update(node.output)
    made: set[str] = {name for node in fixed for name in node.output}
    wanted = [name for name in dict.fromkeys(name for node in moving for name in node.input) if name in made]
    used = {name for node in moving for name in node.input}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    del result.graph.node[:], result.graph.initializer[:]
    result.graph.node.extend(moving)
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    result.graph.initializer.extend(kept)
    if wanted:
        outputs = [helper.make_empty_tensor_value_info(name) for name in wanted]
        graph = helper.make_graph(fixed, "fixed", [], outputs, list(model.graph.initializer))
        fold = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
        arrays = ReferenceEvaluator(fold).run(None, {})
        for name, array in zip(wanted, arrays, strict=True):
            result.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    return result
