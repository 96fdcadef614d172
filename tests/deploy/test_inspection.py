"""The table of a model's layers: zeros, units that nothing feeds and units that nothing reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from aecompress.deploy.checkpoint import Model
from aecompress.deploy.inspection import describe, thresholds
from aecompress.layers.dense import dense
from tests.deploy.models import build_all, tiny_model


def test_a_dense_model_has_no_zeros_and_no_idle_units() -> None:
    model = tiny_model("tanh")
    table = describe(model)
    assert [row["layer"] for row in table] == ["encoder.0", "encoder.1", "decoder.0", "decoder.1"]
    assert [(row["in"], row["out"]) for row in table] == [(6, 5), (5, 3), (3, 5), (5, 6)]
    assert [row["parameters"] for row in table] == [35, 18, 20, 36]
    assert {row["activation"] for row in table} == {"tanh"}
    assert all(row["zeros"] == row["sparsity"] == row["unfed"] == row["unread"] == 0 for row in table)


def test_zeros_unfed_and_unread_units_are_counted() -> None:
    def array(*rows: object) -> np.ndarray:
        return np.array(rows, np.float32)

    tensors = {
        "encoder.0.weight": array([1, 0], [0, 0], [0, -0.0]).T,  # units 1 and 2 are fed by nothing
        "encoder.0.bias": array(1, 0, 5),
        "decoder.0.weight": array([0, 2, 0], [0, 3, 1e-45]).T,  # unit 0 of the code is read by nobody
        "decoder.0.bias": array(0, 0),
    }
    model = Model(
        encoder=(dense("encoder.0", 2, 3, "relu"),),
        decoder=(dense("decoder.0", 3, 2, "sigmoid"),),
        tensors=tensors,
        scaling={},
        about={},
    )
    assert describe(model) == [
        {
            "layer": "encoder.0",
            "kind": "dense",
            "shape": [3],
            "in": 2,
            "out": 3,
            "activation": "relu",
            "parameters": 9,
            "zeros": 6,
            "sparsity": 6 / 9,
            "unfed": 2,
            "unread": 1,
        },
        {
            "layer": "decoder.0",
            "kind": "dense",
            "shape": [2],
            "in": 3,
            "out": 2,
            "activation": "sigmoid",
            "parameters": 8,
            "zeros": 5,
            "sparsity": 5 / 8,
            "unfed": 0,
            "unread": 0,
        },
    ]


def test_the_layers_add_up_to_the_model() -> None:
    model = tiny_model()
    random = np.random.default_rng(3)
    tensors = {name: tensor * (random.random(tensor.shape) < 0.4) for name, tensor in model.tensors.items()}
    model = replace(model, tensors=tensors)
    table = describe(model)
    assert sum(row["parameters"] for row in table) == model.parameters
    assert sum(row["zeros"] for row in table) == model.zeros > 30


def test_the_table_is_plain_json() -> None:
    table = describe(tiny_model())
    assert json.loads(json.dumps(table, allow_nan=False)) == table


def test_the_threshold_of_each_scorer_is_read_from_its_file(tmp_path: Path) -> None:
    for name, limit in (("scorer.onnx", "0.25"), ("scorer.packed.onnx", "0.5")):
        proto = build_all(tiny_model(), 18, {"aecompress.threshold": limit})["autoencoder"]
        (tmp_path / name).write_bytes(proto.SerializeToString())
    assert thresholds(tmp_path) == {"scorer.onnx": 0.25, "scorer.packed.onnx": 0.5}
