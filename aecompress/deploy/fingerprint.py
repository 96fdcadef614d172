"""Whether two ONNX files do the same arithmetic, whatever their tensors and their authors are called."""

from __future__ import annotations

import hashlib

import onnx
from onnx import numpy_helper


def fingerprint(model: onnx.ModelProto) -> str:
    """Return the same sha256 for files of the same operators on the same numbers, for others another one.

    Names, descriptions and metadata do not count; neither do initializers that nothing reads.
    """
    graph = model.graph
    names: dict[str, int] = {"": -1}
    for name in [value.name for value in graph.input]:
        names.setdefault(name, len(names))
    for node in graph.node:
        for name in (*node.input, *node.output):
            names.setdefault(name, len(names))
    found = hashlib.sha256(repr(sorted((entry.domain, entry.version) for entry in model.opset_import)).encode())
    for value in (*graph.input, *graph.output):
        kind = value.type.tensor_type
        shape = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
        found.update(repr((names.get(value.name), kind.elem_type, shape)).encode())
    for node in graph.node:
        places = [[names[name] for name in group] for group in (node.input, node.output)]
        found.update(repr((node.domain, node.op_type, places)).encode())
        for attribute in sorted(node.attribute, key=lambda one: one.name):
            found.update(attribute.SerializeToString(deterministic=True))
    for tensor in sorted(graph.initializer, key=lambda one: names.get(one.name, -1)):
        if tensor.name in names:
            values = numpy_helper.to_array(tensor)
            found.update(repr((names[tensor.name], tensor.data_type, values.shape)).encode())
            found.update(values.tobytes())
    return found.hexdigest()
