"""The trip from Python: events, folder, determinism, failure."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecompress import event_log, events
from aecompress.deploy.checkpoint import load_model
from aecompress.errors import Interrupted, OutputError, RunError, SpecError, VerifyError
from aecompress.runs import trip
from aecompress.runs.job import prepare
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve
from tests import pretended

SMALL = {
    "data.source": "binary-clusters:4x10x30",
    "model.hidden": [8],
    "model.latent": 4,
    "train.epochs": 4,
    "train.batch": 8,
}


def done(folder: Path, **flags: Any) -> list[events.Event]:
    values = SMALL | {path.replace("__", "."): value for path, value in flags.items()}
    resolved = resolve({path: ("test", value) for path, value in values.items()})
    return list(run(prepare(resolved, folder, force=True)))


def one(log: list[events.Event], cls: type) -> Any:
    (event,) = [event for event in log if isinstance(event, cls)]
    return event


def test_the_folder_holds_what_the_events_name(tmp_path: Path) -> None:
    log = done(tmp_path / "r")
    lines = (tmp_path / "r" / "events.jsonl").read_text().splitlines()
    assert [events.from_json(line) for line in lines] == log
    assert [type(log[0]), type(log[-1])] == [events.Started, events.Finished]
    saved = [event for event in log if isinstance(event, events.Saved)]
    assert len(saved) == 9
    for event in saved:
        assert (tmp_path / "r" / event.path).stat().st_size == event.bytes
    assert {path.name for path in (tmp_path / "r").iterdir()} == {
        "spec.toml",
        "run.json",
        "events.jsonl",
        "checkpoint",
        "front",
        "model",
    }
    assert {path.name for path in (tmp_path / "r" / "model").iterdir()} == {Path(event.path).name for event in saved}
    assert json.loads((tmp_path / "r" / "run.json").read_text())["status"] == "finished"
    assert json.loads((tmp_path / "r" / "model" / "verification.json").read_text())["passed"] is True
    assert resolve(file=tmp_path / "r" / "spec.toml").spec.data.source == SMALL["data.source"]


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("operator", ["random", "magnitude"])
def test_zeros_in_the_file_are_exactly_the_target(tmp_path: Path, operator: str, sparsity: float) -> None:
    log = done(tmp_path / "r", prune__operator=operator, prune__target_sparsity=sparsity, evolve__budgets="same")
    model = load_model(tmp_path / "r" / "model")
    finished = one(log, events.Finished)
    assert model.zeros == finished.zeros
    # Exactly the target, but for weights that came back and never moved from 0.
    assert 0 <= model.zeros - round(sparsity * model.parameters) <= (0 if sparsity == 0 else 12)
    last = [event for event in log if isinstance(event, events.Generation)][-1]
    assert last.actual == pytest.approx(model.sparsity, abs=0.01)
    assert all(np.count_nonzero(model.tensors[layer.name + ".weight"]) for layer in model.layers)


@pytest.mark.parametrize("mode", ["canonical", "coevo"])
def test_weights_of_so_many_bits_are_the_model_in_every_file(tmp_path: Path, mode: str) -> None:
    """Float, packed and sparse files hold the same rounded weights, and the reported loss is theirs."""
    flags = {"train__bits": 2, "export__variants": ["packed", "sparse"], "export__values": "float32"}
    log = done(tmp_path / "r", mode=mode, model__hidden=[40], **flags)
    model = load_model(tmp_path / "r" / "model")
    for layer in model.layers:
        weight, bias = model.tensors[layer.name + ".weight"], model.tensors[layer.name + ".bias"]
        assert len(np.unique(weight[weight != 0])) <= 4 < np.count_nonzero(weight)
        assert np.array_equal(bias, bias.astype(np.float16))
    last = [event for event in log if isinstance(event, events.Generation)][-1]
    reported = last.validation_loss if mode == "canonical" else one(log, events.Front).losses
    assert min(abs(one(log, events.Finished).metrics["validation_l1"] - loss) for loss in reported) < 1e-6
    compared, saved = one(log, events.Compared), {event.file for event in log if isinstance(event, events.Saved)}
    assert {"autoencoder-packed", "sparse-weights"} <= saved
    assert compared.losses[2] == pytest.approx(compared.losses[1], rel=1e-6)
    assert compared.bytes[2] < 0.6 * compared.bytes[1]
    rounded = "The weights of each layer take 4 values, 2 bits each: training rounded them."
    assert rounded in (tmp_path / "r" / "model" / "README.md").read_text()
    if mode == "coevo":  # every member of the front too
        for path in (tmp_path / "r" / "front").glob("*/model.safetensors"):
            other = load_model(path.parent)
            weights = [other.tensors[layer.name + ".weight"] for layer in other.layers]
            assert all(len(np.unique(weight[weight != 0])) <= 4 for weight in weights)


def test_same_spec_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        done(tmp_path / name, seed=seed)
    read = {name: (tmp_path / name / "model" / "model.safetensors").read_bytes() for name in "abc"}
    assert read["a"] == read["b"] != read["c"]
    for file in ("autoencoder.onnx", "encoder.onnx", "config.json"):
        assert (tmp_path / "a" / "model" / file).read_bytes() == (tmp_path / "b" / "model" / file).read_bytes()


def test_metrics_are_those_of_the_exported_model(tmp_path: Path) -> None:
    from aecompress.data.dataset import load
    from aecompress.deploy.reference import reconstruct
    from aecompress.plan.data import request_of

    log = done(tmp_path / "r")
    spec = resolve({path: ("test", value) for path, value in SMALL.items()}).spec
    dataset, model = load(request_of(spec.data, spec.seed)), load_model(tmp_path / "r" / "model")
    metrics = one(log, events.Finished).metrics
    splits = {f"{split}_{m}" for split in ("train", "validation", "test") for m in ("l1", "mse", "bce")}
    assert set(metrics) == splits | {
        "train_l1_cells",
        "train_l1_cells_median",
        "capacity",
        "capacity_cells",
        "nonzero",
        "nonzero_cells",
        "test_l1_constant",
        "test_l1_pca",
        "test_l1_dense",
    }
    assert metrics["nonzero"] == pytest.approx(1 - model.sparsity, abs=1e-6)
    for split, rows in dataset.splits.items():
        difference = reconstruct(model, rows)[1] - rows
        assert metrics[f"{split}_l1"] == pytest.approx(np.abs(difference).mean(), rel=1e-5)
        assert metrics[f"{split}_mse"] == pytest.approx(np.square(difference).mean(), rel=1e-5)


def test_a_folder_with_something_in_it_is_refused_without_force(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(OutputError, match="is not empty"):
        prepare(resolve(), tmp_path)
    with pytest.raises(OutputError, match="holds files that no run wrote"):
        done(tmp_path)
    (tmp_path / "mine.txt").rename(tmp_path.with_suffix(".txt"))
    done(tmp_path)
    tmp_path.with_suffix(".txt").rename(tmp_path / "mine.txt")
    np.save(tmp_path / "data.npy", np.zeros(3))
    done(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep me" and (tmp_path / "data.npy").exists()
    with pytest.raises(OutputError, match="holds the input"):
        done(tmp_path, data__source=str(tmp_path / "data.npy"))
    with pytest.raises(OutputError, match="is a file"):
        prepare(resolve(), tmp_path / "mine.txt")


def test_a_learning_rate_that_explodes_fails_with_advice(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(60, 6)) * 1e18)
    flags = {"train__learning_rate": 10.0, "data__scaling": "none", "data__source": str(tmp_path / "rows.npy")}
    with pytest.raises(RunError, match="lower train.learning_rate"):
        done(tmp_path / "r", **flags)
    log = (tmp_path / "r" / "events.jsonl").read_text().splitlines()
    assert isinstance(events.from_json(log[-1]), events.Failed)
    assert json.loads((tmp_path / "r" / "run.json").read_text())["status"] == "failed"
    assert not (tmp_path / "r" / "model").exists()


def test_a_model_that_fails_verification_is_not_left_in_place(tmp_path: Path) -> None:
    with pytest.raises(VerifyError, match="no model was left"):
        done(tmp_path / "r", export__loss_tolerance=1e-300)
    assert not (tmp_path / "r" / "model").exists()
    assert not (tmp_path / "r" / ".model.part").exists()
    assert json.loads((tmp_path / "r" / "verification-failed.json").read_text())["passed"] is False
    verified, failed = event_log.read_log(tmp_path / "r" / "events.jsonl")[-2:]
    assert isinstance(verified, events.Verified) and not verified.passed and verified.checks > 0
    assert isinstance(failed, events.Failed) and "no model was left" in failed.message


def test_closing_the_generator_stops_the_run(tmp_path: Path) -> None:
    resolved = resolve({path: ("test", value) for path, value in SMALL.items()})
    running = run(prepare(resolved, tmp_path / "r"))
    next(running)
    next(running)
    running.close()
    log = (tmp_path / "r" / "events.jsonl").read_text().splitlines()
    assert isinstance(events.from_json(log[-1]), events.Stopped)


def test_float64_trains_and_exports_float32(tmp_path: Path) -> None:
    done(tmp_path / "r", precision="float64")
    assert {tensor.dtype for tensor in load_model(tmp_path / "r" / "model").tensors.values()} == {np.dtype("float32")}


def test_a_target_that_would_empty_a_layer_is_refused() -> None:
    flags = SMALL | {"prune.target_sparsity": 0.999}
    with pytest.raises(SpecError, match="would empty a layer"):
        prepare(resolve({path: ("test", value) for path, value in flags.items()}), Path("unused"))


def on_a_gpu(folder: Path, monkeypatch: pytest.MonkeyPatch, stop_in: int = 0) -> list[tuple[str, int]]:
    """What is begun and what is told, in turn, of a run on a pretended GPU that a signal stops in a generation."""
    seen, evolve = list[tuple[str, int]](), trip.generation

    def begun(plan: Any, last: Any, *given: Any) -> Any:
        seen.append(("begun", last.generation + 1))
        return evolve(plan, last, *given)

    monkeypatch.setattr(trip, "generation", begun)
    values = SMALL | {"device": "cuda", "compile": "off", "checkpoint_every": 100}
    with pretended.device():
        job = prepare(resolve({path: ("test", value) for path, value in values.items()}), folder)
        try:
            for event in run(job, lambda: signal.SIGTERM if stop_in and ("begun", stop_in) in seen else None):
                if isinstance(event, events.Generation | events.Stopped):
                    seen.append((type(event).__name__, event.generation))
        except Interrupted as fault:
            assert str(fault) == "stopped by SIGTERM after epoch 2"
    return seen


def test_a_gpu_is_given_the_next_generation_before_the_last_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = on_a_gpu(tmp_path / "run", monkeypatch)
    assert [number for kind, number in seen if kind == "Generation"] == [1, 2, 3, 4]
    assert [kind for kind, _ in seen] == ["begun", *["begun", "Generation"] * 3, "Generation"]
    assert (
        "waiting for the device" in one(event_log.read_log(tmp_path / "run" / "events.jsonl"), events.Profiled).seconds
    )


def test_a_stop_on_a_gpu_keeps_the_generation_that_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = on_a_gpu(tmp_path / "run", monkeypatch, stop_in=3)
    assert seen == [
        *[("begun", 1), ("begun", 2), ("Generation", 1), ("begun", 3), ("Generation", 2), ("Stopped", 2)],
    ]
    assert [path.name for path in (tmp_path / "run" / "checkpoint").glob("*.json")] == ["generation-000002.json"]
