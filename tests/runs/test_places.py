"""Runs of networks that are chosen from the shape of a row: from rows to verified files, stopped and resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from aecompress import Autoencoder
from aecompress.deploy.checkpoint import load_model, load_rows
from aecompress.deploy.reference import reconstruct
from aecompress.events import Finished, Generation, Started, Verified
from aecompress.layers.base import Shape
from aecompress.runs.again import export_again
from aecompress.runs.front import load as front_of
from aecompress.runs.job import Job, prepare, prepare_resume
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve
from aecompress.study.report import layer_activations

SMALL: dict[str, Any] = {
    "model.network": "conv", "model.hidden": [3, 5], "model.latent": 3, "train.epochs": 4, "train.batch": 16,
    "evolve.cells": 3, "checkpoint_every": 1, "prune.target_sparsity": 0.5,
}  # fmt: skip
FILES = ("model.safetensors", "autoencoder.onnx", "encoder.onnx", "decoder.onnx")
IMAGES, COLOURS, SERIES = (6, 5), (3, 6, 7), (12, 2)
ALL = ["packed", "scorer", "int8", "sparse", "fp16"]


def job(folder: Path, shape: Shape, **changes: Any) -> Job:
    """The job of a run on 80 random rows of a shape, or on the windows of a series."""
    rows = folder.parent / "rows.npy"
    fields = SMALL | {"data.source": str(rows)} | changes
    if shape is SERIES:
        np.save(rows, np.random.default_rng(0).random((250, shape[1]), np.float32))
        fields |= {"data.window": shape[0], "data.stride": 3, "data.split_by": "order"}
    else:
        np.save(rows, np.random.default_rng(0).random((80, *shape), np.float32))
    return prepare(resolve({path: ("test", value) for path, value in fields.items()}), folder)


RUNS = [
    (IMAGES, {"export.variants": ["packed", "scorer"]}),
    pytest.param(
        IMAGES, {"prune.granularity": "unit", "mode": "canonical", "export.variants": ALL}, marks=pytest.mark.slow
    ),
    pytest.param(COLOURS, {"model.family": "denoising", "export.variants": ALL}, marks=pytest.mark.slow),
    pytest.param(COLOURS, {"model.family": "variational", "prune.granularity": "unit"}, marks=pytest.mark.slow),
    pytest.param(
        SERIES, {"prune.granularity": "unit", "evolve.rule": "pair", "evolve.cells": 2}, marks=pytest.mark.slow
    ),
    pytest.param(SERIES, {"train.bits": 4, "mode": "canonical", "export.variants": ALL}, marks=pytest.mark.slow),
    pytest.param(SERIES, {"evolve.rule": "opponents", "prune.operator": "wanda"}, marks=pytest.mark.slow),
    pytest.param(SERIES, {"evolve.rule": "panmictic", "prune.operator": "taylor"}, marks=pytest.mark.slow),
    pytest.param(IMAGES, {"budget.max_loss_increase": 2.0, "mode": "canonical"}, marks=pytest.mark.slow),
    pytest.param(IMAGES, {"budget.max_bytes": 9000, "export.variants": ["packed"]}, marks=pytest.mark.slow),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "changes"), RUNS, ids=str)
def test_a_run_keeps_the_shape_of_its_rows_up_to_the_files(
    tmp_path: Path, shape: Shape, changes: dict[str, Any]
) -> None:
    extra = {"export.int8": "always"} if "int8" in changes.get("export.variants", ()) else {}
    events = list(run(job(tmp_path / "r", shape, **changes, **extra)))
    (start,) = [event for event in events if isinstance(event, Started)]
    (verified,) = [event for event in events if isinstance(event, Verified)]
    (end,) = [event for event in events if isinstance(event, Finished)]
    assert verified.passed and start.row_shape == shape
    given = "x".join(map(str, shape))
    assert start.network.startswith(f"{given}-") and start.network.endswith(f"-{given}")
    folder = tmp_path / "r" / "model"
    model, rows = load_model(folder), load_rows(folder / "rows.safetensors")
    assert model.shape == shape and rows.shape[1:] == shape and end.zeros == model.zeros
    assert f"# Autoencoder {start.network} for " in (folder / "README.md").read_text()
    graph = onnx.load(folder / "autoencoder.onnx").graph
    for value in (*graph.input, *graph.output):
        assert [axis.dim_value for axis in value.type.tensor_type.shape.dim[1:]] == list(shape)
    session = onnxruntime.InferenceSession(folder / "autoencoder.onnx", providers=["CPUExecutionProvider"])
    got = session.run(None, {"input": rows})[0]
    assert model.scaling["kind"] == "none"
    np.testing.assert_allclose(got, reconstruct(model, rows)[1], rtol=1e-4, atol=1e-5)
    for member in front_of(tmp_path / "r") if (tmp_path / "r" / "front").is_dir() else ():
        assert load_model(member.path).layers == model.layers
    activations, _ = layer_activations(tmp_path / "r")
    assert [values.shape[1] for values in activations.values()] == [one.units for one in model.layers if one.weighted]


STOPPED = [
    pytest.param(IMAGES, {}, marks=pytest.mark.slow),
    pytest.param(
        SERIES, {"mode": "canonical", "prune.granularity": "unit", "prune.operator": "variance"}, marks=pytest.mark.slow
    ),
    pytest.param(COLOURS, {"model.family": "variational", "train.bits": 3}, marks=pytest.mark.slow),
    pytest.param(COLOURS, {"evolve.rule": "opponents", "evolve.order": "asynchronous"}, marks=pytest.mark.slow),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "changes"), STOPPED, ids=str)
def test_a_resumed_run_ends_with_the_same_bytes(tmp_path: Path, shape: Shape, changes: dict[str, Any]) -> None:
    list(run(job(tmp_path / "whole", shape, **changes)))
    running = run(job(tmp_path / "broken", shape, **changes))
    next(event for event in running if isinstance(event, Generation) and event.generation == 2)
    running.close()
    list(run(prepare_resume(tmp_path / "broken")))
    whole, broken = (
        {name: (tmp_path / which / "model" / name).read_bytes() for name in FILES} for which in ("whole", "broken")
    )
    assert broken == whole


def test_an_estimator_takes_images_as_they_are_and_gives_them_back(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((60, *COLOURS), np.float32)
    found = Autoencoder(network="conv", hidden=(3, 4), latent=2, epochs=2, cells=3).fit(images)
    assert found.transform(images).shape == (60, 2)
    assert found.reconstruct(images).shape == found.inverse_transform(found.transform(images)).shape == images.shape
    files = found.export(tmp_path / "model")
    session = onnxruntime.InferenceSession(files["autoencoder"], providers=["CPUExecutionProvider"])
    (given,) = session.run(None, {"input": images})
    np.testing.assert_allclose(given, found.reconstruct(images), rtol=1e-4, atol=1e-5)
    again = Autoencoder.load(tmp_path / "model")
    np.testing.assert_allclose(again.score_samples(images), found.score_samples(images))


@pytest.mark.slow
def test_the_files_of_a_run_are_written_again_with_all_layers_as_they_were(tmp_path: Path) -> None:
    list(run(job(tmp_path / "r", SERIES, **{"prune.granularity": "unit"})))
    dense = export_again(tmp_path / "r", {}, tmp_path / "dense", dense=True)
    small = export_again(tmp_path / "r", {}, tmp_path / "small", dense=False)
    assert dense.files["autoencoder"].stat().st_size > small.files["autoencoder"].stat().st_size
