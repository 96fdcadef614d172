"""What a graph computes of constants, moves of values among it: ONNX's own reference is the oracle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import NodeProto, helper
from onnx.reference import ReferenceEvaluator

from aecompress.deploy.pretrained.onnx.folding import fold
from aecompress.deploy.pretrained.onnx.nodes import Node
from aecompress.deploy.pretrained.views import Refused
from tests.deploy.pretrained.onnx.graphs import drawn, node

X = drawn(2, 3, 4)


def constants(made: NodeProto, arrays: Sequence[np.ndarray | None]) -> Node:
    about = {attribute.name: helper.get_attribute_value(attribute) for attribute in made.attribute}
    return Node(name="n", op=made.op_type, inputs=arrays, about=about, outputs=len(made.output), label="n")


def integers(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


@pytest.mark.parametrize(
    ("made", "arrays"),
    [
        (node("Reshape", "a b", "y"), [X, integers(0, -1, 2)]),
        (node("Reshape", "a b", "y"), [X, integers(-1)]),
        (node("Flatten", "a", "y", axis=2), [X]),
        (node("Flatten", "a", "y", axis=-1), [X]),
        (node("Squeeze", "a b", "y"), [X[:1], integers(0)]),
        (node("Squeeze", "a", "y"), [X[:1, :1]]),
        (node("Unsqueeze", "a b", "y"), [X, integers(0, -1)]),
        (node("Transpose", "a", "y"), [X]),
        (node("Transpose", "a", "y", perm=[1, 0, 2]), [X]),
        (node("Expand", "a b", "y"), [X[:, :1], integers(2, 1, 3, 4)]),
        (node("Tile", "a b", "y"), [X, integers(1, 2, 3)]),
        (
            node("Slice", "a b c d e", "y"),
            [X, integers(-1, 1), integers(-(1 << 62), 9), integers(2, 1), integers(-1, 1)],
        ),
        (node("Slice", "a b c d", "y"), [X, integers(0), integers(-1), integers(1)]),
        (node("Gather", "a b", "y", axis=1), [X, integers(2, -1)]),
        (node("Gather", "a b", "y", axis=-1), [X, np.array(1)]),
        (node("Pad", "a b", "y"), [X, integers(0, 1, 0, 0, 0, 2)]),
        (node("Pad", "a b - d", "y"), [X, integers(1, 2), integers(2)]),
        (node("Add", "a b", "y"), [X, drawn(4)]),
        (node("Div", "a b", "y"), [integers(7, -7), integers(2)]),
        (node("Where", "a b c", "y"), [X > 0, X, -X]),
        (node("Concat", "a b", "y", axis=1), [X, X]),
        (node("Range", "a b c", "y"), [np.array(1), np.array(8), np.array(3)]),
        (node("Shape", "a", "y"), [X]),
        (node("Cast", "a", "y", to=7), [X]),
        (node("ReduceL2", "a b", "y", keepdims=0), [X, integers(1, 2)]),
        (node("ReduceSum", "a", "y"), [X]),
        (node("MatMul", "a b", "y"), [X, drawn(4, 2)]),
        (node("Reciprocal", "a", "y"), [X]),
    ],
    ids=lambda each: each.op_type if isinstance(each, NodeProto) else None,
)
def test_constants_are_what_onnx_says(made: NodeProto, arrays: list[np.ndarray]) -> None:
    names = [name for name in made.input if name]
    full, left = [], list(arrays)
    for name in made.input:
        full.append(left.pop(0) if name else None)
    (found,) = fold(constants(made, full))
    (expected,) = ReferenceEvaluator(made).run(None, dict(zip(names, arrays, strict=True)))
    assert np.shape(found) == np.shape(expected)
    assert found == pytest.approx(expected, rel=1e-6)


def test_a_split_is_in_even_or_given_pieces() -> None:
    pieces = fold(constants(node("Split", "a", "y z", axis=2), [X]))
    assert [piece.shape for piece in pieces] == [(2, 3, 2)] * 2
    pieces = fold(constants(node("Split", "a b", "y z", axis=1), [X, integers(1, 2)]))
    assert [piece.shape for piece in pieces] == [(2, 1, 4), (2, 2, 4)]


@pytest.mark.parametrize(
    ("made", "arrays", "message"),
    [
        (node("Expand", "a b", "y"), [X, integers(1 << 30, 1, 1, 1)], "more than are read"),
        (node("Tile", "a b", "y"), [X, integers(1 << 20, 1 << 20, 1)], "more than are read"),
        (node("Range", "a b c", "y"), [np.array(0), np.array(1 << 40), np.array(1)], "more than are read"),
        (node("ConstantOfShape", "a", "y"), [integers(1 << 40)], "more than are read"),
        (node("Add", "a b", "y"), [np.zeros((1 << 14, 1)), np.zeros((1, 1 << 14))], "more than are read"),
        (node("Pad", "a b", "y", mode="reflect"), [X, integers(0, 1, 0, 0, 1, 0)], "pad with zeros"),
        (node("Inverse", "a", "y"), [X], "computes weights in a way that is not known"),
    ],
)
def test_constants_that_are_too_many_or_unknown_are_refused(
    made: NodeProto, arrays: list[np.ndarray], message: str
) -> None:
    with pytest.raises(Refused, match=message):
        fold(constants(made, arrays))
