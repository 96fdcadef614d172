"""Tensors of torch and safetensors, and datasets of HDF5 files: one of several arrays by its name."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np

from aecompress.data.base import Array, Part
from aecompress.data.file_rows import CAN_READ_AT, FileRows
from aecompress.data.sources.limits import called, check_fits
from aecompress.data.sources.numpy_files import fill
from aecompress.data.sources.packed import check_library, check_ratio
from aecompress.errors import AecompressError, DataError
from aecompress.parsing import parse_json, quoted

LONGEST_HEADER = 8 << 20
"""Bytes of the list of tensors of a safetensors file."""
TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "U16": "<u2",
    "U32": "<u4",
    "U64": "<u8",
    "BOOL": "?",
}


def chosen(where: str, key: str, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the name of the array that a key chooses; without a key, the only one.

    Raises:
        DataError: there is no such array, or there are several.
    """
    names = called(*shapes)
    if not shapes:
        raise DataError(f"{where}: holds no arrays of numbers; save one in it")
    if not key and len(shapes) > 1:
        raise DataError(f"{where}: holds {names}; choose one, as in {where}:{called(next(iter(shapes)))}")
    if key and key not in shapes:
        raise DataError(f"{where}: has no array {key!r:.200}; it holds {names}")
    return key or next(iter(shapes))


def parse_safetensors(where: str, file: BinaryIO, part: Part) -> Array:
    """Return a tensor of a safetensors file.

    Raises:
        DataError: damaged, too large, or without that tensor.
    """
    dtype, shape, start, brain = tensor_of(where, file, part.key)
    check_fits(where, math.prod(shape), dtype.itemsize * (1 + brain))
    file.seek(start)
    rows = np.empty(shape, dtype)
    if rows.size:
        fill(file, rows.reshape(-1).view(np.uint8).data)
    return (rows.astype(np.uint32) << 16).view(np.float32) if brain else rows


def open_safetensors(path: Path, key: str = "") -> FileRows | None:
    """Return a tensor of a safetensors file, read when needed; None where it must be parsed."""
    if not CAN_READ_AT:
        return None
    try:
        with path.open("rb") as file:
            dtype, shape, start, brain = tensor_of(str(path), file, key)
        return None if brain or len(shape) < 2 or min(shape) < 1 else FileRows.of(path, start, shape, dtype)
    except (AecompressError, OSError):
        return None


def tensor_of(where: str, file: IO[bytes], key: str) -> tuple[np.dtype[Any], tuple[int, ...], int, bool]:
    """Return type, shape and place of a tensor, and whether it is bfloat16, which NumPy has as uint16.

    Raises:
        DataError: the header is damaged, or has no such tensor.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(size - 8, LONGEST_HEADER):
        raise DataError(f"{where}: cannot be read as safetensors (its header has {length} bytes); write it again")
    try:
        header = parse_json(file.read(length))
        entries = {
            name: (entry["dtype"], tuple(int(axis) for axis in entry["shape"]), [*map(int, entry["data_offsets"])])
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (ValueError, TypeError, KeyError, AttributeError, json.JSONDecodeError) as fault:
        raise DataError(f"{where}: cannot be read as safetensors ({quoted(fault)}); write it again") from fault
    name = chosen(where, key, {name: shape for name, (_, shape, _) in entries.items()})
    kind, shape, place = entries[name]
    if kind != "BF16" and kind not in TYPES:
        raise DataError(f"{where}: {quoted(repr(name))} holds values of type {quoted(kind)}; convert it to float32")
    dtype = np.dtype("<u2" if kind == "BF16" else TYPES[kind])
    needed = math.prod(shape) * dtype.itemsize
    if len(place) != 2 or min(shape, default=0) < 0 or place[0] < 0 or place[1] - place[0] != needed:
        raise DataError(f"{where}: {quoted(repr(name))} has shape {shape} and bytes {place}; write it again")
    if 8 + length + place[1] > size:
        raise DataError(f"{where}: ends before {quoted(repr(name))} does; write the file again")
    return dtype, shape, 8 + length + place[0], kind == "BF16"


def parse_torch(where: str, file: BinaryIO, part: Part) -> Array:
    """Return a tensor that ``torch.save`` wrote, alone or in a dict; nothing else is unpickled.

    Raises:
        DataError: it holds something else, or is damaged.
    """
    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as fault:  # a damaged file makes torch, pickle and zipfile raise a dozen unrelated classes
        reason = next(iter(str(fault).splitlines()), type(fault).__name__)
        if "Weights only load failed" in reason:  # torch's advice is to unpickle it all the same
            reason = "it holds more, or is damaged, and nothing else is unpickled"
        raise DataError(
            f"{where}: cannot be read as tensors ({quoted(reason)}); save a tensor, or a dict of tensors"
        ) from fault
    found = {"tensor": content} if isinstance(content, torch.Tensor) else content
    tensors = {
        str(name): value
        for name, value in (found.items() if isinstance(found, Mapping) else ())
        if isinstance(value, torch.Tensor)
    }
    tensor = tensors[chosen(where, part.key, {name: tuple(value.shape) for name, value in tensors.items()})]
    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise DataError(f"{where}: holds a tensor that is not dense; save it by tensor.to_dense()")
    check_fits(where, tensor.numel(), tensor.element_size())
    tensor = tensor.detach()
    return cast(Array, (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy())


def parse_hdf5(where: str, file: BinaryIO, part: Part) -> Array:
    """Return a dataset of an HDF5 file; what lies in other files is not read.

    Raises:
        DataError: damaged, too large, or without that dataset.
    """
    check_library(where, "h5py")
    import h5py

    try:
        with h5py.File(file, "r") as content:
            found: dict[str, Any] = {}

            def visit(name: str, item: object) -> None:
                if isinstance(item, h5py.Dataset) and item.ndim and item.dtype.kind in "buif":
                    found[name] = item

            content.visititems(visit)
            part_name = part.key.strip("/")
            own = {name: item for name, item in found.items() if not name.startswith("#refs#")}
            data = own[chosen(where, part_name, {name: item.shape for name, item in own.items()})]
            if data.external or data.is_virtual:
                raise DataError(f"{where}: keeps its values in other files; copy them into one")
            check_ratio(where, data.id.get_storage_size(), data.nbytes)
            check_fits(where, data.size, data.dtype.itemsize)
            rows = np.empty(data.shape, data.dtype)
            if rows.size:
                data.read_direct(rows)
            return rows
    except DataError:
        raise
    except Exception as fault:  # a damaged file makes h5py raise a dozen unrelated classes
        reason = next(iter(str(fault).splitlines()), type(fault).__name__)
        raise DataError(f"{where}: cannot be read as HDF5 ({quoted(reason)}); write the file again") from fault
