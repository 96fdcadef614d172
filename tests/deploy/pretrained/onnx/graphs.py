"""Small graphs, and whether the steps in one compute what onnxruntime does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper

from aecompress.deploy.pretrained.onnx import reader
from aecompress.deploy.pretrained.steps import Step
from tests.deploy.pretrained.modules import run_steps

FILES = Path(__file__).parent / "files"
"""What exporters wrote: Keras 3.15 on torch and on TensorFlow 2.21 (tf2onnx 1.17), skl2onnx 1.20, torch 2.13."""


def drawn(*shape: int, seed: int = 0) -> np.ndarray:
    """Return float32 values around 0."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def node(op: str, inputs: str, output: str, **attributes: object) -> NodeProto:
    """Return a node whose inputs stand in one text, ``-`` for one that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    domain = {"domain": "ai.onnx.ml"} if op == "Scaler" else {}
    return helper.make_node(op, names, output.split(), name=f"{op} {output}", **domain, **attributes)


def graph(
    nodes: Sequence[NodeProto],
    shape: Sequence[int],
    weights: Mapping[str, np.ndarray],
    opset: int = 18,
    outputs: str = "y",
) -> onnx.ModelProto:
    """Return a graph that takes rows ``x`` of a shape, any number of them."""
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_empty_tensor_value_info(name) for name in outputs.split()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    for value in made.output:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(made, opset_imports=opsets, ir_version=10)


def differences(path: Path, steps: Sequence[Step], output: int = 0) -> float:
    """Return the largest difference of steps and onnxruntime on a few rows."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    count = given.shape[0] if isinstance(given.shape[0], int) else 5
    rows = drawn(count, *given.shape[1:], seed=1)
    doubles = rows.astype(np.float64) if "double" in given.type else rows
    expected = session.run(None, {given.name: doubles})[output]
    return float(np.abs(run_steps(steps, torch.from_numpy(rows)).reshape(expected.shape) - expected).max())


def same_steps(folder: Path, proto: onnx.ModelProto) -> list[Step]:
    """Return the steps in a graph, which compute what it does."""
    path = folder / "a.onnx"
    path.write_bytes(proto.SerializeToString())
    steps = reader.followed(path).steps
    assert differences(path, steps) < 1e-4
    return steps


def ops(steps: Sequence[Step]) -> str:
    """Return what steps are, in a line."""
    return " ".join(str(step.numbers["name"]) if step.op == "activation" else step.op for step in steps)
