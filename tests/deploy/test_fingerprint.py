"""Files of the same arithmetic have one fingerprint, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from aecompress.deploy.fingerprint import fingerprint
from tests.deploy.models import edit_tensor, tiny_model, write_onnx


@pytest.fixture
def model(tmp_path: Path) -> onnx.ModelProto:
    write_onnx(tmp_path, tiny_model("relu"))
    return onnx.load(tmp_path / "autoencoder.onnx")


def test_names_and_metadata_do_not_count(model: onnx.ModelProto) -> None:
    before = fingerprint(model)
    for node in model.graph.node:
        node.name = f"other {node.name}"
        for names in (node.input, node.output):
            names[:] = [f"{name}_" for name in names]
    for value in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        value.name += "_"
    first = model.graph.initializer[0]
    values = numpy_helper.to_array(first)
    first.ClearField("raw_data")
    first.float_data.extend(values.ravel().tolist())
    model.graph.initializer.add().CopyFrom(numpy_helper.from_array(np.zeros(3, np.float32), "unread"))
    model.producer_name, model.doc_string = "someone", "something"
    del model.metadata_props[:]
    onnx.checker.check_model(model)
    assert fingerprint(model) == before


def test_a_bit_of_a_weight_an_operator_an_attribute_and_the_opset_count(model: onnx.ModelProto) -> None:
    def changed_weight(other: onnx.ModelProto) -> None:
        edit_tensor(other, other.graph.initializer[0].name, lambda values: np.nextafter(values, np.float32(9)))

    def changed_operator(other: onnx.ModelProto) -> None:
        next(node for node in other.graph.node if node.op_type == "Relu").op_type = "Tanh"

    def changed_attribute(other: onnx.ModelProto) -> None:
        gemm = next(node for node in other.graph.node if node.op_type == "Gemm")
        gemm.attribute.append(onnx.helper.make_attribute("alpha", 0.5))

    def changed_opset(other: onnx.ModelProto) -> None:
        other.opset_import[0].version += 1

    seen = {fingerprint(model)}
    changes = (changed_weight, changed_operator, changed_attribute, changed_opset)
    for change in changes:
        other = onnx.ModelProto()
        other.CopyFrom(model)
        change(other)
        seen.add(fingerprint(other))
    assert len(seen) == 1 + len(changes)
