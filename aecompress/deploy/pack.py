"""Packed ONNX: zeros cost almost nothing in the file, and onnxruntime rebuilds plain Gemms when it loads it.

Each tensor is stored dense, as one bit per element and the non-zero values, or as the gaps between non-zero values,
whichever takes the fewest bytes. Values are float32 (the same bits come out), float16, int8, or four-bit indices into a
codebook per tensor; the last two times a float16 scale per output. Standard ops of opset 18 that onnxruntime folds at
load rebuild the tensor; NonZero and DequantizeLinear are not among those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from aecompress import rng
from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.compact import Chain
from aecompress.deploy.graph import Draft, Store
from aecompress.deploy.reading import read_onnx
from aecompress.deploy.session import input_shape, load, outputs, session
from aecompress.digests import check_listed, read_sums
from aecompress.errors import AecompressError, DataError, OutputError, VerifyError
from aecompress.files import write_bytes
from aecompress.parsing import quoted

Bytes = NDArray[np.uint8]
VALUES = ("float32", "float16", "int8", "int4")
"""How values may be stored, the exact one first."""
STEPS = {"int8": 127, "int7": 64}
"""Levels on each side of 0. int7 is for integer arithmetic: processors without VNNI add two products of a byte and a
weight in 16 bits, which 2 x 255 x 64 still fits."""
GRIDS = (*STEPS, "int4")
"""Values that stand for levels of a :class:`Grid`, which matrices have."""
INDEXES = ("dense", "bitmask", "gaps4", "gaps8")
"""How the places of non-zero values may be stored."""
LONGEST = {"gaps4": 15, "gaps8": 255}
"""The symbol that moves on by itself and stands on no value."""
CODES = 16
LLOYD_STEPS = 60
SHARED = 32
"""Non-zero weights per output below which a scale for each output costs more bytes than it saves error."""
NODE_BYTES = {"dense": 60, "bitmask": 520, "gaps4": 640, "gaps8": 500}
"""About what the ops that rebuild a tensor take in the file, by index."""
VALUE_NODE_BYTES = {"float32": 0, "float16": 60, "int8": 170, "int4": 460}


class Packed(NamedTuple):
    """A tensor in few bytes."""

    shape: tuple[int, ...]
    places: str
    values: str
    arrays: dict[str, NDArray[Any]]
    """``values``, and ``index``, ``scale`` and ``codebook`` where the form has them."""
    stored: int
    """Values in ``values``."""
    symbols: int = 0
    """Gaps in ``index``, escapes included."""

    @property
    def bytes(self) -> int:
        """Return what it takes in a file, the ops that rebuild it included."""
        own = sum(array.nbytes for array in self.arrays.values())
        return own + NODE_BYTES[self.places] + VALUE_NODE_BYTES[self.values]


def pack(tensor: Floats, values: str, grid: Grid | None = None) -> Packed:
    """Return the smallest form of ``tensor`` whose values are as exact as ``values`` or more.

    Args:
        grid: of ``values``, where the tensor was rounded to one already.

    A vector, which is small and weighs much in the error, keeps float16 where less is requested.
    """
    grid = grid or grid_of(tensor, values)
    allowed = VALUES[: VALUES.index(values) + 1] if grid is None else ("float32", "float16", values)
    allowed = tuple(form for form in allowed if grid is not None or form not in GRIDS)
    forms = [encode(tensor, index, form, grid if form == values else None) for index, form in product(INDEXES, allowed)]
    if not tensor.all():  # no level of a codebook is zero
        forms = [form for form in forms if (form.places, form.values) != ("dense", "int4")]
    return min(forms, key=lambda form: form.bytes)


class Grid(NamedTuple):
    """The values that a rounded tensor ``[in, out]`` may take: a scale times the levels."""

    scale: NDArray[np.float16]
    """``[out]``, or ``[1]`` where outputs have few weights each."""
    levels: Floats
    """Rising; whole numbers on both sides of 0 for int8 and int7, a codebook of 16 for int4."""

    def codes(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Return the index of the nearest level of ``values`` ``[..., out]``."""
        middles = (self.levels[1:] + self.levels[:-1]) / 2
        found: NDArray[np.int64] = np.searchsorted(middles, values / self.scale.astype(np.float32))
        return found

    def value(self, codes: NDArray[np.int64]) -> Floats:
        """Return what codes ``[..., out]`` stand for."""
        result: Floats = self.levels[codes] * self.scale.astype(np.float32)
        return result


def grid_of(tensor: Floats, values: str) -> Grid | None:
    """Return the levels for ``tensor`` ``[in, out]``; None where each value is rounded by itself."""
    if values not in GRIDS or tensor.ndim < 2:
        return None
    along = 0 if np.count_nonzero(tensor) >= SHARED * tensor.shape[1] else None
    if values in STEPS:
        most = STEPS[values]
        scale = up16(np.abs(tensor).max(axis=along).reshape(-1) / most)
        return Grid(scale, np.arange(-most, most + 1, dtype=np.float32))
    count = np.maximum(np.count_nonzero(tensor, axis=along), 1)
    scale = up16(np.sqrt(np.square(tensor, dtype=np.float64).sum(axis=along) / count).reshape(-1))
    scaled = tensor / scale.astype(np.float32)
    return Grid(scale, codebook_of(scaled[tensor != 0]))


def up16(scale: NDArray[Any]) -> NDArray[np.float16]:
    """Return a positive float16 no smaller than ``scale``, so that the largest value stays on the grid."""
    rounded = np.clip(scale, 2.0**-14, 65000).astype(np.float16)
    result: NDArray[np.float16] = np.where(rounded < scale, np.nextafter(rounded, np.float16(np.inf)), rounded)
    return result


def encode(tensor: Floats, index: str, values: str, grid: Grid | None = None) -> Packed:
    """Pack ``tensor`` with its non-zero places stored as ``index`` and its values as ``values``, on ``grid``."""
    grid = grid or grid_of(tensor, values)
    kept = tensor != 0
    codes = np.zeros(tensor.shape, np.int64) if grid is None else grid.codes(tensor)
    if values == "int8" and index != "dense":
        kept &= codes != 127  # what rounds to zero needs no place
    places = np.arange(tensor.size) if index == "dense" else np.flatnonzero(kept)
    if not len(places):  # no op gathers from nothing, so one zero is stored
        places = np.zeros(1, np.int64)
    flat = tensor.reshape(-1)[places]
    arrays: dict[str, NDArray[Any]]
    if grid is None:
        with np.errstate(over="ignore"):
            arrays = {"values": flat.astype(values)}
    elif values == "int8":
        arrays = {"values": (codes.reshape(-1)[places] - 127).astype(np.int8), "scale": grid.scale}
    else:
        book = grid.levels.astype(np.float16)
        arrays = {"values": nibbles(codes.reshape(-1)[places].astype(np.uint8)), "scale": grid.scale, "codebook": book}
    if index == "bitmask":
        bits = np.zeros(tensor.size, np.uint8)
        bits[places] = 1
        arrays["index"] = np.packbits(bits, bitorder="little")
    symbols = to_gaps(places, LONGEST[index]) if index in LONGEST else np.zeros(0, np.uint8)
    if index in LONGEST:
        arrays["index"] = nibbles(symbols) if index == "gaps4" else symbols
    return Packed(
        shape=tensor.shape, places=index, values=values, arrays=arrays, stored=len(places), symbols=len(symbols)
    )


def codebook_of(flat: Floats) -> Floats:
    """Return sixteen rising values with a small squared error on ``flat``: Lloyd's method from its quantiles.

    They are float16 numbers, as they are stored.
    """
    if not len(flat):
        return np.arange(CODES, dtype=np.float32)
    ordered = np.sort(flat.astype(np.float64))
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    book = np.quantile(ordered, (np.arange(CODES) + 0.5) / CODES)
    for _ in range(LLOYD_STEPS):
        cuts = np.searchsorted(ordered, (book[1:] + book[:-1]) / 2)
        edges = np.concatenate([[0], cuts, [len(ordered)]])
        counts = np.diff(edges)
        book = np.where(counts > 0, np.diff(sums[edges]) / np.maximum(counts, 1), book)
    return np.sort(book).astype(np.float16).astype(np.float32)


def nibbles(values: Bytes) -> Bytes:
    """Put two values below 16 into a byte, the first in the low half."""
    padded = np.append(values, np.zeros(len(values) % 2, np.uint8))
    result: Bytes = padded[::2] | np.left_shift(padded[1::2], 4, dtype=np.uint8)
    return result


def to_gaps(places: NDArray[np.int64], longest: int) -> Bytes:
    """Return rising places as symbols: ``s < longest`` moves ``s + 1`` on to a value, ``longest`` moves to none."""
    gaps = np.diff(places, prepend=-1) - 1
    escapes = gaps // longest
    symbols: Bytes = np.full(len(places) + int(escapes.sum()), longest, dtype=np.uint8)
    symbols[np.cumsum(escapes + 1) - 1] = (gaps % longest).astype(np.uint8)
    return symbols


def pack_all(chain: Chain, values: str, grids: Mapping[str, Grid] | None = None) -> dict[str, Packed]:
    """Pack every tensor of a chain in its smallest form, by name."""
    return {
        name: pack(tensor, values, (grids or {}).get(name))
        for layer in chain.layers
        for name, tensor in layer.tensors.items()
    }


def stored(forms: Mapping[str, Packed]) -> Store:
    """Store each tensor in the form it has there."""
    return lambda draft, name, tensor: write(draft, name, forms[name])


def restored(chain: Chain, forms: Mapping[str, Packed]) -> Chain:
    """Return the chain that packed tensors stand for."""
    layers = []
    for layer in chain.layers:
        weight, bias = (decode(forms[name]) for name in layer.tensors)
        layers.append(replace(layer, weight=weight, bias=bias))
    return replace(chain, layers=tuple(layers))


def write(draft: Draft, name: str, packed: Packed) -> str:
    """Write the initializers of a packed tensor and the ops that rebuild it as value ``name``."""
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
            return op("Gather", op("Cast", parts["codebook"], to=TensorProto.FLOAT), codes)
        return op("Cast", parts["values"], to=TensorProto.FLOAT)

    def scaled(flat: str) -> str:
        """The flat tensor in its shape, times the scale of each output."""
        if "scale" not in parts:
            return draft.add("Reshape", [flat, shape], name)
        scale = op("Cast", parts["scale"], to=TensorProto.FLOAT)
        return draft.add("Mul", [op("Reshape", flat, shape), scale], name)

    if packed.places == "dense" and packed.values == "float32":
        return draft.keep(name, packed.arrays["values"].reshape(packed.shape))
    parts = {part: draft.keep(f"{tag}.{part}", array) for part, array in packed.arrays.items()}
    shape = draft.keep("s" + "x".join(map(str, packed.shape)), np.array(packed.shape, np.int64))
    if packed.places == "dense":
        return scaled(stored(count))
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
    return scaled(values)


def decode(packed: Packed) -> Floats:
    """Return the tensor that a packed form stands for."""
    arrays, count = packed.arrays, int(np.prod(packed.shape))
    values = arrays["values"]
    if packed.values == "int4":
        values = arrays["codebook"][_halves(values, packed.stored)]
    values = values.astype(np.float32)
    scale = arrays["scale"].astype(np.float32) if "scale" in arrays else np.float32(1)
    if packed.places == "dense":
        return np.asarray(values.reshape(packed.shape) * scale, np.float32)
    if packed.places == "bitmask":
        places = np.flatnonzero(np.unpackbits(arrays["index"], count=count, bitorder="little"))
    else:
        longest = LONGEST[packed.places]
        symbols = _halves(arrays["index"], packed.symbols) if packed.places == "gaps4" else arrays["index"]
        on_value = symbols < longest
        places = (np.cumsum(symbols.astype(np.int64) + on_value) - 1)[on_value]
    flat = np.zeros(count, np.float32)
    flat[places] = values
    return np.asarray(flat.reshape(packed.shape) * scale, np.float32)


def _halves(index: Bytes, length: int) -> Bytes:
    return np.stack([index & 15, index >> 4], 1).reshape(-1)[:length]


def make_plain(path: Path, output: Path) -> None:
    """Write the plain form of a packed file, after it was verified to give the same values.

    Raises:
        DataError: the file cannot be read or used; nothing was written.
        OutputError: nothing can be written there, or what is there belongs to a model folder; nothing was written.
        VerifyError: the plain file is another function; nothing was written.
    """
    check_plain_output(path, output)
    check_listed(path)
    before = session(path, 1)
    try:
        plain = unpack(read_onnx(path)).SerializeToString(deterministic=True)
    except AecompressError:
        raise
    except Exception as fault:  # whatever an operator's Python code raises
        raise DataError(f"{path}: its constants cannot be computed ({quoted(fault)}); export it again") from fault
    expected, found = some_values(path, before), some_values(path, load(path, plain, 1))
    if not all(np.array_equal(one, other, equal_nan=True) for one, other in zip(expected, found, strict=True)):
        raise VerifyError(f"{output}: would not give what {path} gives; nothing was written")
    write_bytes(output, plain)


def check_plain_output(path: Path, output: Path) -> None:
    """Refuse a place for the plain form of ``path`` before any work.

    Raises:
        OutputError: it is a folder or in none, is ``path`` itself, or belongs to a model folder.
    """
    cure = "name another file with -o"
    if output.is_dir():
        raise OutputError(f"{output}: is a folder; {cure}")
    if not output.parent.is_dir():
        raise OutputError(f"{output}: {output.parent} is not a folder; make it, or {cure}")
    if output.exists() and path.exists() and output.samefile(path):
        raise OutputError(f"{output}: is the packed file itself; {cure}")
    if output.name in read_sums(output.parent):
        raise OutputError(f"{output}: belongs to a model folder, which lists its checksum; {cure}")


def some_values(path: Path, runner: onnxruntime.InferenceSession) -> list[NDArray[Any]]:
    """Return what a file gives on seven random rows.

    Raises:
        DataError: it does not take rows of float32, or fails on them.
    """
    shape = input_shape(path, runner, "made plain")
    count = shape[0] if isinstance(shape[0], int) else 7
    rows = rng.host(0, "plain-rows").random((count, *shape[1:]), dtype=np.float32)
    return outputs(path, runner, rows)


def unpack(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the same graph with everything that depends on no input computed: a packed model as a plain one."""
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
