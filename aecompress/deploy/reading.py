"""ONNX files that others wrote, read in bounded memory and time; what could reach outside the file is refused."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper

from aecompress.deploy.constants import check_constants
from aecompress.errors import DataError
from aecompress.machine import gib, memory_bytes
from aecompress.parsing import decimal, quoted

LARGEST_ONNX = 2 << 30
"""Bytes; protobuf holds no more."""
MOST_DIMENSIONS = 16
MOST_NODES = 20_000
"""Of a graph: onnxruntime's time to load grows faster than their number."""
STANDARD = frozenset({"", "ai.onnx"})
KNOWN = STANDARD | {"ai.onnx.ml", "com.microsoft"}
"""Domains of operators that come with onnxruntime."""


def read_onnx(path: Path, domains: frozenset[str] = KNOWN) -> onnx.ModelProto:
    """Read an ONNX model of the given ``domains`` whole, in bounded memory; external data only from beside it.

    Raises:
        DataError: unreadable, too large, of another domain, with subgraphs or functions, or with tensors that are not
            what they say.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is not a regular file; name an ONNX file")
    try:
        size = path.stat().st_size
        if size > min(LARGEST_ONNX, memory_bytes()):
            raise DataError(f"{path}: has {gib(size)}; ONNX files have at most 2 GiB")
        model = onnx.load(path, load_external_data=False)
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); name an ONNX file") from fault
    except DecodeError as fault:
        raise DataError(f"{path}: is not ONNX ({fault}); name an ONNX file") from fault
    if len(model.graph.node) > MOST_NODES:
        raise DataError(f"{path}: has {len(model.graph.node):,} nodes; at most {MOST_NODES:,} are read, so simplify it")
    check_texts(path, model)
    unknown = {entry.domain for entry in model.opset_import} | {node.domain for node in model.graph.node}
    unknown -= domains
    if unknown or model.functions:
        named = sorted(unknown)[0] if unknown else model.functions[0].name
        raise DataError(f"{path}: uses {named!r:.200}, which is not standard ONNX; export it with standard ops alone")
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
                raise DataError(
                    f"{path}: node {node.name or node.op_type!r:.200} holds a graph of its own; export it without"
                )
    tensors = [
        *model.graph.initializer,
        *(each.t for node in model.graph.node for each in node.attribute if each.t.dims),
    ]
    if sum(check_tensor(path, tensor) for tensor in tensors) > memory_bytes() // 2:
        raise DataError(f"{path}: its tensors take more than half of {gib(memory_bytes())}; give a smaller model")
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in tensors):
        try:
            onnx.load_external_data_for_model(model, str(path.parent))
        except (onnx.checker.ValidationError, OSError, ValueError) as fault:
            raise DataError(f"{path}: its external data cannot be read ({quoted(fault)}); export it again") from fault
    check_constants(path, model)
    return model


def check_texts(path: Path, model: onnx.ModelProto) -> None:
    """Refuse names that are not UTF-8, which protobuf gives as bytes.

    Raises:
        DataError: with the name.
    """
    odd = next((text for text in _texts(model) if isinstance(text, bytes)), None)
    if odd is not None:
        raise DataError(f"{path}: has the name {quoted(repr(odd))}, which is not UTF-8; export it again")


def _texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    graph = model.graph
    yield graph.name
    yield from (entry.domain for entry in model.opset_import)
    for property in model.metadata_props:
        yield from (property.key, property.value)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield from (attribute.name, attribute.ref_attr_name, attribute.t.name)
            yield from (text for entry in attribute.t.external_data for text in (entry.key, entry.value))
    for tensor in graph.initializer:
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)


def check_tensor(path: Path, tensor: TensorProto) -> int:
    """Refuse a tensor whose data are not as long as its shape says, or lie outside the folder of ``path``.

    Returns:
        The bytes of its values.

    Raises:
        DataError: naming it.
    """
    count: int = math.prod(tensor.dims)
    try:
        each: int = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError) as fault:
        raise DataError(f"{path}: {tensor.name} has the unknown type {tensor.data_type}; export it again") from fault
    if tensor.data_location == TensorProto.EXTERNAL:
        about = {entry.key: entry.value for entry in tensor.external_data}
        location = Path(about.get("location", ""))
        if not _beside(path, location):
            raise DataError(
                f"{path}: {quoted(tensor.name)} lies in {quoted(repr(str(location)))}, not in a file beside it; "
                "bring it there"
            )
        place, length = (about.get(key, "0") for key in ("offset", "length"))
        there = (path.parent / location).stat().st_size
        start, given = decimal(place), decimal(length)
        if start is None or start + count * each > there or given not in (0, count * each):
            raise DataError(f"{path}: {tensor.name} says it has {count} values, which {location} does not hold")
        return count * each
    stored = len(tensor.raw_data) if tensor.HasField("raw_data") else _listed(tensor) * each
    odd = len(tensor.dims) > MOST_DIMENSIONS or not all(0 <= size <= LARGEST_ONNX for size in tensor.dims)
    if odd or tensor.HasField("segment") or count * each > stored + each:
        raise DataError(f"{path}: {tensor.name} says it has {count} values, {stored} bytes are stored; export it again")
    return count * each


def _beside(path: Path, location: Path) -> bool:
    """Return whether ``location`` is one plain file name, of a file in the folder of ``path``.

    A folder in between could be a link to elsewhere.
    """
    if len(location.parts) != 1 or location.name in ("", ".."):
        return False
    try:
        return not (path.parent / location).is_symlink() and (path.parent / location).is_file()
    except OSError:  # such as a name that is too long
        return False


def _listed(tensor: TensorProto) -> int:
    fields = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
    return max(len(getattr(tensor, name)) for name in fields)
