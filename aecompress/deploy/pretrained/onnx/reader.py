"""Models in ONNX graphs: a chain of layers, whatever the exporter wrote between them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from aecompress.deploy.graph import SCALING_KEY, SCALING_TENSORS
from aecompress.deploy.pretrained.assembled import assembled
from aecompress.deploy.pretrained.base import Pretrained
from aecompress.deploy.pretrained.building import steps_of
from aecompress.deploy.pretrained.onnx.equality import check_equal
from aecompress.deploy.pretrained.onnx.folding import fold
from aecompress.deploy.pretrained.onnx.functions import applied, is_function
from aecompress.deploy.pretrained.onnx.moves import MOVES
from aecompress.deploy.pretrained.onnx.nodes import Node, Value
from aecompress.deploy.pretrained.onnx.operators import HELP, LAYERS
from aecompress.deploy.pretrained.steps import Step
from aecompress.deploy.pretrained.views import MOST_VALUES, Refused, Shape, View, check_size, start
from aecompress.deploy.reading import STANDARD, check_tensor, read_onnx
from aecompress.errors import DataError

DOMAINS = STANDARD | {"ai.onnx.ml", "com.microsoft"}
"""Of operators that are read: scikit-learn's Scaler, onnxruntime's Gelu."""
ROWS = 3
"""Rows of the batch that a graph is followed with, where it takes any: no size that a layer often has."""
NOISE = ("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
DAMAGE = (ValueError, TypeError, LookupError, OverflowError, AttributeError, ArithmeticError, MemoryError)
"""What reading a damaged graph raises."""
MOST_WORK, MOST_ALIVE = 1 << 31, 1 << 28
"""Values that are made one after the other, and that are there at once, weights among them."""
UNROLLED = "; a layer seems to be written out step by step: give the .keras file instead, or export it from torch"
NOISE_NOTE = "it draws noise, which is left out: the mean is taken"


class Failure(NamedTuple):
    """A value that cannot be read, and why: only one that the output needs is an error."""

    why: str


class Chain(NamedTuple):
    """What a graph computes."""

    steps: list[Step]
    shape: Shape
    """Shape of a batch that it takes."""
    output: int | None
    """Which output the steps give; None: onnxruntime gives something else, for noise or a scaling inside."""
    notes: tuple[str, ...]


@np.errstate(all="ignore")
def read(path: Path, rows: Shape | None = None) -> Pretrained:
    """Read the model of a graph that is one chain of layers, after its reconstructions of a few rows were compared.

    Args:
        rows: shape of a row of the run; None: that of the graph.

    Raises:
        DataError: naming the first node that is something else.
    """
    model = _model(path)
    found = _chain(path, model, rows)
    result = assembled(path, found.steps, rows, found.shape[1:])
    if found.output is not None:
        check_equal(path, model, result, found.shape, found.output)
    return replace(result, notes=(*result.notes, *found.notes)) if found.notes else result


@np.errstate(all="ignore")
def followed(path: Path, rows: Shape | None = None) -> Chain:
    """Return the chain of steps in a graph, as :func:`read` takes it.

    Raises:
        DataError: naming the first node that is something else.
    """
    return _chain(path, _model(path), rows)


def _model(path: Path) -> onnx.ModelProto:
    model = read_onnx(path, DOMAINS)
    if model.graph.sparse_initializer or not all(node.output for node in model.graph.node):
        raise DataError(f"{path}: has sparse weights, or nodes without output; export it as a plain chain of layers")
    return model


def _chain(path: Path, model: onnx.ModelProto, rows: Shape | None) -> Chain:
    """Return the steps of a graph; one of ours may have the scaling of its rows inside, which is skipped: a run has
    its own."""
    inside = any(entry.key == SCALING_KEY for entry in model.metadata_props)
    try:
        return _steps(path, model.graph, inside, rows)
    except DAMAGE as fault:
        raise DataError(f"{path}: does not follow the ONNX format ({fault!r:.120}); export it again") from fault


def _steps(path: Path, graph: onnx.GraphProto, inside: bool, rows: Shape | None) -> Chain:
    values: dict[str, Value | Failure | None] = {"": None}
    values |= {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in values]
    if len(inputs) != 1 or not graph.output:
        raise DataError(f"{path}: has {len(inputs)} inputs and {len(graph.output)} outputs; one of each is needed")
    stored, shape = set(values), _shape_of(path, inputs[0], rows)
    values[inputs[0].name], work, known = start(shape), 0, not inside
    last = {name: place for place, proto in enumerate(graph.node) for name in (*proto.input, *proto.output)}
    last |= {value.name: len(graph.node) for value in graph.output} | {"": len(graph.node)}
    for place, proto in enumerate(graph.node):
        gives = _outputs(path, proto, values, stored, inside)
        values |= dict(zip(proto.output, gives, strict=False))
        known &= proto.op_type not in NOISE and not any(isinstance(value, Failure) for value in gives)
        work += sum(_count(value) for value in gives)
        for name in (*proto.input, *proto.output):
            if last[name] == place:
                values.pop(name, None)
        if work > MOST_WORK or sum(map(_count, values.values())) > MOST_ALIVE:
            raise DataError(f"{path}: is too large to be followed; export it with a smaller batch, or simplify it")
    end, note = _end(path, graph, values, shape, _advice(graph))
    try:
        steps = steps_of(_as_rows(end, shape), graph.output[0].name)
    except Refused as refusal:
        name, _, what = str(refusal).partition("\n")
        raise DataError(_sentence(path, name, what, "is no known activation") if what else f"{path}: {name}") from None
    noise = any(proto.op_type in NOISE for proto in graph.node)
    notes = (*([note] if note else []), *([NOISE_NOTE] if noise else []))
    output = next(place for place, value in enumerate(graph.output) if values[value.name] is end)
    return Chain(steps, shape, output if known else None, notes)


def _count(value: Value | Failure | None) -> int:
    return value.index.size if isinstance(value, View) else value.size if isinstance(value, np.ndarray) else 0


def _shape_of(path: Path, given: onnx.ValueInfoProto, rows: Shape | None) -> Shape:
    """Return the shape of a batch of rows that a graph takes; sizes that it leaves open are those of the run's rows."""
    dims = given.type.tensor_type.shape.dim
    sizes: list[int | None] = [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in dims
    ]
    if len(sizes) < 2:
        raise DataError(f"{path}: {given.name} has {len(sizes)} axes; export it with a batch of rows as its input")
    if rows is not None and len(rows) == len(sizes) - 1:
        sizes[1:] = [row if size is None else size for size, row in zip(sizes[1:], rows, strict=True)]
    if None in sizes[1:]:
        raise DataError(f"{path}: {given.name} leaves the size of a row open; export it with fixed sizes but the batch")
    shape = (ROWS if sizes[0] is None else sizes[0], *(size or 0 for size in sizes[1:]))
    if np.prod(shape, dtype=float) > MOST_VALUES:
        raise DataError(f"{path}: {given.name} has shape {shape}, more than is read; export it with a smaller batch")
    return shape


def _outputs(
    path: Path,
    proto: NodeProto,
    values: Mapping[str, Value | Failure | None],
    stored: set[str],
    inside: bool,
) -> Sequence[Value | Failure | None]:
    """Return what a node gives."""
    name = proto.name or proto.output[0]
    missing = [each for each in proto.input if each not in values]
    failed = [value for each in proto.input if isinstance(value := values.get(each), Failure)]
    if failed or missing:
        return [
            failed[0]
            if failed
            else Failure(_sentence(path, name, proto.op_type, f"reads {missing[0]!r:.200}, which no node gives"))
        ]
    inputs = [values[each] for each in proto.input]
    views = [value for value in inputs if isinstance(value, View)]
    if inside and views and any(each.rpartition(".")[2] in SCALING_TENSORS for each in proto.input):
        return views
    try:
        node = Node(
            name=name,
            op=proto.op_type,
            inputs=[value for value in inputs if not isinstance(value, Failure)],
            about=_attributes(path, proto),
            outputs=len(proto.output),
            label=_label(proto, stored, name),
        )
        return _taken(node, bool(views))
    except Refused as refusal:
        return [Failure(_sentence(path, name, proto.op_type, str(refusal)))] * len(proto.output)


def _attributes(path: Path, proto: NodeProto) -> dict[str, Any]:
    found = {}
    for attribute in proto.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            check_tensor(path, value)
            value = numpy_helper.to_array(value)
        found[attribute.name] = value
    return found


def _label(proto: NodeProto, stored: set[str], name: str) -> str:
    """Return what a step is called: as its weight where that has a module's name, else as its node."""
    weights = [each for each in proto.input if each in stored and each]
    plain = weights[0].removesuffix(".weight") if weights else ""
    return plain if weights and plain != weights[0] else name


def _taken(node: Node, live: bool) -> Sequence[Value | None]:
    """Return what a node gives that can be read.

    Raises:
        Refused: it cannot.
    """
    if node.op in NOISE:
        given = node.given(0)
        shape = node.about.get("shape", given.shape if given is not None else ())
        return [np.broadcast_to(np.float32(node.about.get("mean", 0.0)), shape)]
    if node.op == "Shape":
        shape = node.view().shape if live else node.stored(0).shape
        return [np.array(shape[slice(node.about.get("start"), node.about.get("end"))], np.int64)]
    if not live:
        return fold(node)
    if node.op == "Size":
        return [np.array(node.view().index.size, np.int64)]
    if node.op in LAYERS:
        found = LAYERS[node.op](node)
        return found if isinstance(found, list) else [found]
    if node.op in MOVES:
        view = node.view()
        parts = MOVES[node.op](view.index, node)
        return [View(view.link, check_size(part)) for part in (parts if isinstance(parts, list) else [parts])]
    if is_function(node.op):
        return [applied(node)]
    raise Refused(HELP.get(node.op, "is not a layer or activation that is known"))


def _end(
    path: Path, graph: onnx.GraphProto, values: Mapping[str, Value | Failure | None], shape: Shape, advice: str
) -> tuple[View, str]:
    """Return the reconstruction among a graph's outputs, and a note where it had to be chosen."""
    found = [values.get(output.name) for output in graph.output]
    failures = [value for value in found if isinstance(value, Failure)]
    views = [value for value in found if isinstance(value, View)]
    chosen = [view for view in views if view.shape == shape] if len(found) > 1 else views
    if not chosen:
        if failures:
            raise DataError(failures[0].why + advice)
        names = ", ".join(output.name for output in graph.output)
        raise DataError(f"{path}: {names:.200} is not computed from its rows; export the reconstruction as its output")
    if len(found) == 1:
        return chosen[0], ""
    name = next(output.name for output in graph.output if values.get(output.name) is chosen[0])
    return chosen[0], f"of its {len(found)} outputs {name:.200} is the reconstruction"


def _advice(graph: onnx.GraphProto) -> str:
    """Return what helps where a recurrent layer is written out: its weights are then multiplied with at each step."""
    used = Counter(name for node in graph.node if node.op_type in ("MatMul", "Gemm") for name in node.input[1:2])
    return UNROLLED if max(used.values(), default=0) > 1 else ""


def _as_rows(end: View, shape: Shape) -> View:
    """Return an output that has no row for each that is given, as skl2onnx writes ``[N * D, 1]``, as such rows."""
    count = math.prod(shape)
    if end.shape[:1] == shape[:1] or end.index.size != count:
        return end
    return end.moved(lambda index: index.reshape(shape))


def _sentence(path: Path, name: str, op: str, why: str) -> str:
    return f"{path}: node {name!r:.200} ({op}) {why}"
