"""A packed file made plain: everything that its graph computes from constants alone, computed once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from aecompress import rng
from aecompress.deploy.reading import read_onnx
from aecompress.deploy.session import input_shape, load, outputs, session
from aecompress.digests import check_listed, read_sums
from aecompress.errors import AecompressError, DataError, OutputError, VerifyError
from aecompress.files import write_bytes
from aecompress.parsing import quoted


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
    """Return the same graph with everything that depends on no input computed: a packed model as a plain one.

    As in onnxruntime, what is dequantized is not: the product with it is one of whole numbers.
    """
    known = {tensor.name for tensor in model.graph.initializer}
    fixed: list[onnx.NodeProto] = []
    moving: list[onnx.NodeProto] = []
    for node in model.graph.node:
        constant = node.op_type != "DequantizeLinear" and all(name in known or not name for name in node.input)
        (fixed if constant else moving).append(node)
        if constant:
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
