"""The graph that rebuilds packed tensors, from operators that opset 13 has and every runtime computes alike.

All single bits of a file lie in one tensor of bytes, all half bytes in another, all float16 in a third and all int8 in
a fourth; each is taken apart by one Split. Bits are isolated by integer Div and Mod, because OpenVINO computes BitShift
wrongly; docs/deploy.md has the table that it was chosen by. Sums are float32, with a Cast before and after CumSum, as
long as float32 holds them. onnxruntime folds all of it when it loads the file; NonZero and DequantizeLinear it does
not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from aecompress.deploy.forms import DENSE, Packed, gaps_of, ones_of
from aecompress.deploy.graph import Draft

Key = tuple[str, str | int]
"""What a part of a shared tensor is, and whose."""
Parts = dict[Key, NDArray[Any]]
Digit = tuple[int, int]
"""Numbers of so many bits, and the bits below the digit."""

MOST_EXACT = 1 << 24
"""Up to here, float32 holds every whole number."""


@dataclass
class Writer:
    """Short names, constants that are stored once, and nodes."""

    draft: Draft
    numbers: count[int] = field(default_factory=count)
    constants: dict[tuple[str, tuple[int, ...], bytes], str] = field(default_factory=dict)
    """By type, shape and content."""

    def name(self) -> str:
        """Return a new name, which begins as the part does."""
        return f"{self.draft.part[:1]}{next(self.numbers)}"

    def keep(self, array: NDArray[Any]) -> str:
        """Store an array under a new name, or return that of an equal one."""
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.constants:
            self.constants[key] = self.draft.keep(self.name(), array)
        return self.constants[key]

    def op(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        return self.draft.add(kind, inputs, output or self.name(), **attributes)

    def flat(self, source: str, output: str = "") -> str:
        """Reshape to one axis."""
        return self.op("Reshape", source, self.keep(np.array([-1], np.int64)), output=output)

    def split(self, source: str, sizes: Sequence[int], outputs: Sequence[str] = ()) -> list[str]:
        """Take a vector apart; ``outputs`` names the parts that need a name of theirs."""
        names = list(outputs) or [""] * len(sizes)
        if len(sizes) == 1:
            return [self.flat(source, names[0]) if names[0] else source]
        found = [name or self.name() for name in names]
        lengths = self.keep(np.array(sizes, np.int64))
        self.draft.nodes.append(helper.make_node("Split", [source, lengths], found, name=found[0]))
        return found


def write(draft: Draft, forms: Mapping[str, Packed]) -> None:
    """Write the constants of packed tensors, and the operators that rebuild each as a value of its name."""
    writer = Writer(draft)
    packed = {}
    for name, form in forms.items():
        if (form.low, form.values) == (DENSE, "float32"):
            draft.keep(name, form.stored.reshape(form.shape))
        else:
            packed[name] = form
    groups: dict[int, list[str]] = {}
    for name, form in packed.items():
        groups.setdefault(form.low, []).append(name)
    groups.pop(DENSE, None)
    integers = unpacked(writer, fields_of(packed, groups))
    floats = cast_parts(writer, packed)
    values = {name: values_of(writer, name, form, integers, floats) for name, form in packed.items()}
    for low, names in groups.items():
        values |= spread(writer, low, {name: packed[name] for name in names}, values, integers)
    for name, form in packed.items():
        finish(writer, name, form, values[name], floats)


def bytes_of(forms: Mapping[str, Packed]) -> int:
    """Return the bytes of all that :func:`write` writes."""
    draft = Draft(18, "encoder")
    write(draft, forms)
    tensors = sum(tensor.ByteSize() for tensor in draft.initializers.values())
    nodes = sum(node.ByteSize() for node in draft.nodes)
    return int(tensors + nodes + 3 * (len(draft.initializers) + len(draft.nodes)))


def fields_of(packed: Mapping[str, Packed], groups: Mapping[int, Sequence[str]]) -> dict[int, Parts]:
    """Return the whole numbers that are stored in bits, by width."""
    fields: dict[int, Parts] = {}
    for low, names in groups.items():
        places = joined_places([packed[name] for name in names])
        if low == 0:
            size = sum(packed[name].size for name in names)
            fields.setdefault(1, {})["ones", low] = np.bincount(places, minlength=size)
            continue
        fields.setdefault(1, {})["ones", low] = ones_of(places, low)
        # What is short of 2**low, so that the first one, which stands for no value, moves by all of it.
        short = (1 << low) - 1 - (gaps_of(places) & ((1 << low) - 1))
        fields.setdefault(low, {})["short", low] = np.append(0, short)
    for name, form in packed.items():
        if form.values == "codes":
            fields.setdefault(form.code_bits, {})["codes", name] = form.stored
    return fields


def joined_places(forms: Sequence[Packed]) -> NDArray[np.int64]:
    """Return the places of several tensors, put one after another."""
    starts = np.cumsum([0, *(form.size for form in forms)])
    return np.concatenate([form.places + start for form, start in zip(forms, starts, strict=False)])


def unpacked(writer: Writer, fields: Mapping[int, Parts]) -> dict[Key, str]:
    """Write all fields, and the operators that take their numbers apart; return the int32 vector of each."""
    digits: dict[int, dict[Digit, NDArray[np.uint8]]] = {}
    for width, parts in fields.items():
        numbers = np.concatenate(list(parts.values())).astype(np.int64)
        for base, shift in digits_of(width):
            digits.setdefault(base, {})[width, shift] = (numbers >> shift & ((1 << base) - 1)).astype(np.uint8)
    vectors: dict[Digit, str] = {}
    for base, streams in digits.items():
        data = writer.keep(in_bytes(np.concatenate(list(streams.values())), base)[:, None])
        sizes = [len(stream) for stream in streams.values()]
        unused = -sum(sizes) % (8 // base)
        flat = writer.flat(isolated(writer, data, base))
        vectors |= dict(zip(streams, writer.split(flat, sizes + [unused] * (unused > 0)), strict=False))
    found: dict[Key, str] = {}
    for width, parts in fields.items():
        number, *higher = (vectors[width, shift] for _, shift in digits_of(width))
        for digit, (_, shift) in zip(higher, digits_of(width)[1:], strict=True):
            moved = writer.op("Mul", digit, writer.keep(np.array([1 << shift], np.int32)))
            number = writer.op("Add", number, moved)
        found |= dict(zip(parts, writer.split(number, [len(array) for array in parts.values()]), strict=True))
    return found


def digits_of(width: int) -> list[tuple[int, int]]:
    """Return the digits of numbers of ``width`` bits: the bits of each, four or one, and those below it."""
    half_bytes = [(4, shift) for shift in range(0, width - 3, 4)]
    return half_bytes + [(1, shift) for shift in range(4 * len(half_bytes), width)]


def in_bytes(digits: NDArray[np.uint8], base: int) -> NDArray[np.uint8]:
    """Put digits of ``base`` bits into bytes, the first in the lowest bits."""
    padded = np.append(digits, np.zeros(-len(digits) % (8 // base), np.uint8)).reshape(-1, 8 // base)
    found: NDArray[np.uint8] = (padded << np.arange(0, 8, base, dtype=np.uint8)).sum(1, dtype=np.uint8)
    return found


def isolated(writer: Writer, data: str, base: int) -> str:
    """Write what makes of bytes ``[n, 1]`` their digits of ``base`` bits, int32 ``[n, 8 / base]``, the lowest first."""
    byte = writer.op("Cast", data, to=TensorProto.INT32)
    upper = writer.op("Div", byte, writer.keep(2 ** np.arange(0, 8, base, dtype=np.int32)))
    return writer.op("Mod", upper, writer.keep(np.array([1 << base], np.int32)))


def cast_parts(writer: Writer, packed: Mapping[str, Packed]) -> dict[Key, str]:
    """Write all float16 and all int8, and what makes float32 of them; return the vector of each."""
    found: dict[Key, str] = {}
    for kind in (np.float16, np.int8):
        parts: Parts = {}
        for name, form in packed.items():
            parts |= {key: array for key, array in beside(name, form).items() if array.dtype == kind}
        if not parts:
            continue
        cast = writer.op("Cast", writer.keep(np.concatenate(list(parts.values()))), to=TensorProto.FLOAT)
        outputs = [name if part == "values" and is_done(packed[str(name)]) else "" for part, name in parts]
        sizes = [len(array) for array in parts.values()]
        found |= dict(zip(parts, writer.split(cast, sizes, [str(name) for name in outputs]), strict=True))
    return found


def beside(name: str, form: Packed) -> Parts:
    """Return the arrays of a packed tensor that are not stored in bits: its values, scale and codebook."""
    found: Parts = {} if form.values == "codes" else {("values", name): form.stored}
    if form.grid is not None and (form.grid.scale != 1).any():
        found["scale", name] = form.grid.scale
    if form.grid is not None and form.values == "codes":
        short = form.grid.levels.astype(np.float16)
        found["levels", name] = short if np.array_equal(short, form.grid.levels) else form.grid.levels
    return found


def is_done(form: Packed) -> bool:
    """Return whether the tensor is its stored values, in float32, and nothing more."""
    return form.low == DENSE and len(form.shape) == 1 and form.grid is None


def values_of(writer: Writer, name: str, form: Packed, integers: Mapping[Key, str], floats: Mapping[Key, str]) -> str:
    """Return the stored values of a tensor as a float32 vector."""

    if form.values == "codes":
        return writer.op("Gather", vector(writer, name, form, floats, "levels"), integers["codes", name])
    return vector(writer, name, form, floats, "values")


def vector(writer: Writer, name: str, form: Packed, floats: Mapping[Key, str], part: str) -> str:
    """Return a part of a packed tensor as a float32 vector, stored as it is where it has no fewer bytes."""
    return floats.get((part, name)) or writer.keep(beside(name, form)[part, name])


def spread(
    writer: Writer, low: int, forms: Mapping[str, Packed], values: Mapping[str, str], integers: Mapping[Key, str]
) -> dict[str, str]:
    """Put the values of sparse tensors between zeros; return the flat float32 vector of each."""
    sizes = [form.size for form in forms.values()]
    axis = writer.keep(np.array(0, np.int32))
    zero = writer.keep(np.zeros(1, np.float32))

    def summed(source: str) -> str:
        # OpenVINO 2025 crashes on sums of integers where it computes in bfloat16, its default on newer processors.
        exact = writer.op("Cast", source, to=TensorProto.FLOAT) if sum(sizes) <= MOST_EXACT else source
        return writer.op("Cast", writer.op("CumSum", exact, axis), to=TensorProto.INT32)

    ones = integers["ones", low]
    nth = writer.op("Mul", summed(ones), ones)  # which value a one ends; 0 where there is none
    flat = writer.op("Gather", writer.op("Concat", zero, *(values[name] for name in forms), axis=0), nth)
    if low > 0:
        whole = writer.keep(np.array([1 << low], np.int32))
        moves = writer.op("Sub", whole, writer.op("Gather", integers["short", low], nth))
        places = writer.op("Sub", summed(moves), writer.keep(np.ones(1, np.int32)))
        blank = writer.op("Expand", zero, writer.keep(np.array([sum(sizes)], np.int64)))
        flat = writer.op("ScatterElements", blank, places, flat)
    outputs = [name if len(form.shape) == 1 and form.grid is None else "" for name, form in forms.items()]
    return dict(zip(forms, writer.split(flat, sizes, outputs), strict=True))


def finish(writer: Writer, name: str, form: Packed, flat: str, floats: Mapping[Key, str]) -> None:
    """Give the flat vector of a tensor its shape, its scale and its name."""
    if flat == name:
        return
    shape = np.array(form.shape, np.int64)
    if form.grid is None or (form.grid.scale == 1).all():
        writer.op("Reshape", flat, writer.keep(shape), output=name)
    else:
        shaped = writer.op("Reshape", flat, writer.keep(shape)) if len(form.shape) > 1 else flat
        writer.op("Mul", shaped, vector(writer, name, form, floats, "scale"), output=name)
