"""Runs whose spec names the toy kinds: from rows to verified files, with one row in each registry and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecompress.deploy.checkpoint import load_model
from aecompress.errors import SpecError
from aecompress.events import Finished, Started, Verified
from aecompress.runs.job import prepare
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve

TOYS: dict[str, list[dict[str, Any]]] = {
    "gain": [{"out": 8}, {"kind": "gain", "out": 8, "activation": "tanh"}],
    "maxout": [{"out": 8}, {"kind": "maxout", "out": 6}],
}


def fields(kind: str, **changes: Any) -> dict[str, tuple[str, Any]]:
    hidden = TOYS[kind]
    spec: dict[str, Any] = {
        "data.source": "binary-clusters:4x10x30", "train.epochs": 4, "train.batch": 8, "evolve.cells": 3,
        "model.encoder": [*hidden, {"out": 3, "activation": "identity"}],
        "model.decoder": [*hidden, {"out": 30, "activation": "sigmoid"}],
        "prune.target_sparsity": 0.4, "export.variants": ["packed", "fp16", "int8", "scorer", "sparse"],
        "export.int8": "always",
    }  # fmt: skip
    return {path: ("test", value) for path, value in (spec | changes).items()}


@pytest.mark.parametrize(
    ("kind", "granularity"),
    [
        ("gain", "weight"),
        ("maxout", "unit"),
        pytest.param("gain", "unit", marks=pytest.mark.slow),
        pytest.param("maxout", "weight", marks=pytest.mark.slow),
    ],
)
def test_a_run_prunes_exports_and_verifies_a_toy_kind(tmp_path: Path, kind: str, granularity: str) -> None:
    changes = {"prune.granularity": granularity}
    events = list(run(prepare(resolve(fields(kind, **changes)), tmp_path / "r")))
    (start,) = [event for event in events if isinstance(event, Started)]
    (verified,) = [event for event in events if isinstance(event, Verified)]
    (end,) = [event for event in events if isinstance(event, Finished)]
    model = load_model(tmp_path / "r" / "model")
    assert [layer.kind for layer in model.layers].count(kind) == 2
    assert verified.passed and start.engine.startswith("eager")
    assert (tmp_path / "r/model/scorer.int8.onnx").is_file()
    assert end.zeros == model.zeros >= round(0.4 * model.parameters)


def test_a_run_begins_from_the_exported_folder_of_a_toy_kind(tmp_path: Path) -> None:
    list(run(prepare(resolve(fields("maxout", **{"export.variants": []})), tmp_path / "r")))
    begun = {
        "data.source": "binary-clusters:4x10x30",
        "model.init": str(tmp_path / "r" / "model" / "model.safetensors"),
        "train.epochs": 0,
        "prune.target_sparsity": 0.6,
        "mode": "canonical",
    }
    flags = {path: ("test", value) for path, value in begun.items()}
    list(run(prepare(resolve(flags), tmp_path / "s")))
    first, second = (load_model(tmp_path / name / "model") for name in ("r", "s"))
    assert second.layers == first.layers and second.zeros == round(0.6 * first.parameters) > first.zeros
    for name, tensor in second.tensors.items():
        assert np.array_equal(tensor[tensor != 0], first.tensors[name][tensor != 0])


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([{"kind": "swirl", "out": 3}], "encoder: layer 0: kind = 'swirl': choose one of dense, .*gain, maxout"),
        ([{"kind": "maxout", "out": 3, "turns": 2}], "a maxout layer has no 'turns'; leave it out"),
        ([{"kind": "gain", "out": 3}], "model.encoder: layer 0: a gain layer gives 30 units, not 3"),
    ],
)
def test_layers_that_cannot_be_are_refused_in_one_sentence(
    tmp_path: Path, layers: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        prepare(resolve(fields("gain", **{"model.encoder": layers})), tmp_path / "r")
    assert not (tmp_path / "r").exists()
