"""The folder a user keeps: every variant written, verified, compared; exported again from a run; anomalies detected."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from aecompress import events
from aecompress.deploy import pack, verify
from aecompress.deploy.checkpoint import load_model, load_rows, torch_tensors
from aecompress.deploy.forms import Packed
from aecompress.deploy.sparse import load_sparse
from aecompress.errors import DataError, SpecError, VerifyError
from aecompress.runs.again import export_again
from aecompress.runs.job import prepare
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve

ALL = ["packed", "fp16", "int8", "scorer", "sparse"]
FIELDS = {
    "mode": "canonical",
    "train.epochs": 3,
    "model.hidden": [48],
    "model.latent": 6,
    "export.variants": ALL,
    "prune.target_sparsity": 0.8,
}


def made(where: Path, **changes: object) -> list[events.Event]:
    fields = FIELDS | {key.replace("__", "."): value for key, value in changes.items()}
    resolved = resolve({path: ("test", value) for path, value in fields.items()})
    return list(run(prepare(resolved, where)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[events.Event]]:
    where = tmp_path_factory.mktemp("export") / "run"
    return where, made(where)


def output(path: Path, rows: np.ndarray) -> np.ndarray:
    runner = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return runner.run(None, {runner.get_inputs()[0].name: rows})[0]


def test_every_requested_variant_is_there_or_a_note_gives_the_reason(finished: tuple[Path, list[events.Event]]) -> None:
    where, log = finished
    files = {event.file: where / event.path for event in log if isinstance(event, events.Saved)}
    assert {path.name for path in files.values()} == {path.name for path in (where / "model").iterdir()}
    (compared,) = (event for event in log if isinstance(event, events.Compared))
    for part in ("encoder", "decoder", "autoencoder"):
        assert f"{part}-packed" in files and f"{part}-fp16" in files
        note = next(note for note in compared.notes if note.startswith(f"{part}.int8.onnx"))
        assert (f"{part}-int8" in files) == ("not kept" not in note)
        assert any(words in note for words in ("(one thread, ", "the loss", "busy"))
    assert {"scorer", "sparse-weights"} <= files.keys()
    assert any(note.startswith("packed: values") for note in compared.notes)
    verified = json.loads((where / "model/verification.json").read_text())
    own = [note for note in compared.notes if not note.startswith("PCA")]
    assert verified["passed"] and verified["notes"] == own
    named = {check["name"].split()[0] for check in verified["checks"]}
    assert {path.name for path in files.values() if path.suffix == ".onnx"} <= named


def test_the_table_has_what_is_on_disk(finished: tuple[Path, list[events.Event]]) -> None:
    where, log = finished
    (compared,) = (event for event in log if isinstance(event, events.Compared))
    model = load_model(where / "model")
    assert compared.files[:2] == ("dense", "autoencoder.onnx")
    assert compared.bytes[1:] == tuple((where / "model" / name).stat().st_size for name in compared.files[1:])
    dense = 4 * model.parameters
    assert dense < compared.bytes[0] < dense + 1500
    assert compared.nonzeros[:2] == (model.parameters, model.parameters - model.zeros)
    assert math.isinf(compared.losses[0])
    assert compared.losses[1] == model.about["metrics"]["test_mse"]
    assert compared.losses[2:] == pytest.approx([compared.losses[1]] * (len(compared.files) - 2), rel=0.05)
    assert all(len(spent) == 2 and min(spent) > 0 for spent in compared.milliseconds)
    assert compared.ratios[0] == ((1.0, 1.0, 1.0),) * 2
    assert all(len(ratios) == 2 and all(low <= high for low, _, high in ratios) for ratios in compared.ratios)
    card = (where / "model/README.md").read_text()
    for row in compared.table():
        assert "| " + " | ".join(row) + " |" in card
    assert all(f"- {note}" in card for note in compared.notes)


def test_a_packed_file_is_small_and_its_error_is_within_what_is_allowed(
    finished: tuple[Path, list[events.Event]],
) -> None:
    model = finished[0] / "model"
    plain, packed = model / "autoencoder.onnx", model / "autoencoder.packed.onnx"
    assert packed.stat().st_size < 0.5 * plain.stat().st_size
    rows = load_rows(model / "rows.safetensors")
    losses = [float(np.square(output(path, rows) - rows).mean()) for path in (plain, packed)]
    assert losses[1] < 1.05 * losses[0]


def test_float32_values_give_the_same_bits(finished: tuple[Path, list[events.Event]], tmp_path: Path) -> None:
    flags = {"export.variants": ("--variants", ["packed"]), "export.values": ("--values", "float32")}
    export_again(finished[0], flags, tmp_path / "again", False)
    rows = load_rows(tmp_path / "again/rows.safetensors")
    for part in ("encoder", "autoencoder"):
        plain, packed = tmp_path / f"again/{part}.onnx", tmp_path / f"again/{part}.packed.onnx"
        assert np.array_equal(output(plain, rows), output(packed, rows))


def test_every_file_passes_when_it_is_verified_again(finished: tuple[Path, list[events.Event]]) -> None:
    folder = finished[0] / "model"
    for file in sorted(folder.glob("*.onnx")):
        result = verify.verify_against(file, folder, None, None)
        assert result.passed, result.first_failure
        rounded = any(word in file.name for word in ("packed", "fp16", "int8"))
        assert (result.checks[-1].name == f"{file.name} loss") == rounded


def test_sparse_weights_are_the_models(finished: tuple[Path, list[events.Event]]) -> None:
    model = finished[0] / "model"
    tensors, loaded = torch_tensors(load_model(model)), load_sparse(model / "model.sparse.safetensors")
    assert tensors.keys() == loaded.keys()
    assert all(np.array_equal(tensors[name], loaded[name]) for name in tensors)


def test_the_scorer_gives_each_rows_error_and_carries_its_threshold(finished: tuple[Path, list[events.Event]]) -> None:
    model = finished[0] / "model"
    rows = load_rows(model / "rows.safetensors")
    scores = output(model / "scorer.onnx", rows)
    assert scores.shape == (len(rows),)
    right = np.square(output(model / "autoencoder.onnx", rows) - rows).mean(1)
    assert scores == pytest.approx(right, rel=1e-5)
    props = {entry.key: entry.value for entry in onnx.load(model / "scorer.onnx").metadata_props}
    assert props["aecompress.score"] == "mse"
    dataset = prepare(resolve(file=finished[0] / "spec.toml"), finished[0].parent / "unused").dataset
    errors = np.square(output(model / "autoencoder.onnx", dataset.train) - dataset.train).mean(1)
    assert float(props["aecompress.threshold"]) == pytest.approx(np.quantile(errors, 0.99), rel=1e-4)


def test_embedded_scaling_takes_raw_rows_and_gives_raw_reconstructions(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    raw = (random.normal(size=(300, 5)) @ random.normal(size=(5, 12)) * 40 + 1000).astype(np.float32)
    np.save(tmp_path / "rows.npy", raw)
    made(
        tmp_path / "run",
        data__source=str(tmp_path / "rows.npy"),
        data__scaling="standard",
        model__hidden=[16],
        export__embed_scaling=True,
        export__variants=["packed", "scorer", "fp16"],
    )
    folder = tmp_path / "run/model"
    model = load_model(folder)
    scaled = ((raw - np.array(model.scaling["offset"])) / np.array(model.scaling["divisor"])).astype(np.float32)
    export_again(tmp_path / "run", {"export.embed_scaling": ("--no-embed-scaling", False)}, tmp_path / "scaled", False)
    inside, outside = output(folder / "autoencoder.onnx", raw), output(tmp_path / "scaled/autoencoder.onnx", scaled)
    assert inside == pytest.approx(outside * model.scaling["divisor"] + model.scaling["offset"], rel=1e-4)
    assert output(folder / "encoder.onnx", raw) == pytest.approx(
        output(tmp_path / "scaled/encoder.onnx", scaled), abs=1e-3
    )
    assert output(folder / "scorer.onnx", raw) == pytest.approx(
        output(tmp_path / "scaled/scorer.onnx", scaled), rel=1e-3, abs=1e-5
    )
    for file in sorted(folder.glob("*.onnx")):
        result = verify.verify_against(file, folder, None, None)
        assert result.passed, result.first_failure


def test_an_export_written_again_replaces_the_model_of_the_run(tmp_path: Path) -> None:
    made(tmp_path / "run", export__variants=[])
    before = (tmp_path / "run/model/autoencoder.onnx").read_bytes()
    package = export_again(tmp_path / "run", {"export.variants": ("--variants", ["sparse"])}, None, False)
    assert (tmp_path / "run/model/model.sparse.safetensors") in package.files.values()
    old, new = onnx.load_from_string(before), onnx.load(tmp_path / "run/model/autoencoder.onnx")
    assert old.graph == new.graph  # only the spec's hash differs


def test_dense_plain_files_have_all_their_units(tmp_path: Path) -> None:
    made(tmp_path / "run", export__variants=[], prune__granularity="unit", prune__target_sparsity=0.5)
    shapes = {}
    for dense in (False, True):
        export_again(tmp_path / "run", {}, tmp_path / f"{dense}", dense)
        graph = onnx.load(tmp_path / f"{dense}/autoencoder.onnx").graph
        shapes[dense] = [numpy_helper.to_array(tensor).shape for tensor in graph.initializer if "weight" in tensor.name]
    assert shapes[True] == [(64, 48), (48, 6), (6, 48), (48, 64)]
    assert shapes[False][0][1] < 48 and shapes[False][3][0] < 48


def test_rows_that_changed_are_not_exported_with(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((60, 8), dtype=np.float32)
    np.save(tmp_path / "rows.npy", rows)
    made(tmp_path / "run", data__source=str(tmp_path / "rows.npy"), model__hidden=[4], model__latent=2)
    np.save(tmp_path / "rows.npy", rows[::-1])
    with pytest.raises(DataError, match="not those the run"):
        export_again(tmp_path / "run", {}, tmp_path / "again", False)
    assert not (tmp_path / "again").exists()


def test_anomalies_are_detected_by_their_error(tmp_path: Path) -> None:
    from scipy.stats import mannwhitneyu

    random = np.random.default_rng(0)
    mixing = random.normal(size=(3, 20))
    normal = (random.normal(size=(500, 3)) @ mixing + 0.1 * random.normal(size=(500, 20))).astype(np.float32)
    odd = (random.normal(size=(40, 20)) * 2).astype(np.float32)
    np.save(tmp_path / "train.npy", normal[:400])
    np.save(tmp_path / "test.npy", np.concatenate([normal[400:], odd]))
    np.save(tmp_path / "labels.npy", np.repeat([0, 1], [100, 40]))
    log = made(
        tmp_path / "run",
        data__source=str(tmp_path / "train.npy"),
        data__test=str(tmp_path / "test.npy"),
        data__labels=str(tmp_path / "labels.npy"),
        train__epochs=30,
        model__hidden=[96],
        model__latent=3,
        export__variants=["scorer", "fp16", "int8", "packed"],
        export__int8="always",
        export__values="int4",
        export__variant_loss=0.5,
    )
    (end,) = (event for event in log if isinstance(event, events.Finished))
    job = prepare(resolve(file=tmp_path / "run/spec.toml"), tmp_path / "unused")
    offset, divisor = (np.array(load_model(tmp_path / "run/model").scaling[key]) for key in ("offset", "divisor"))
    training = (job.dataset.train * divisor + offset).astype(np.float32)
    (compared,) = (event for event in log if isinstance(event, events.Compared))
    card, thresholds = (tmp_path / "run/model/README.md").read_text(), set()
    for kind in ("", ".fp16", ".packed", ".int8", ".int8.packed"):
        path = tmp_path / f"run/model/scorer{kind}.onnx"
        scores = output(path, np.load(tmp_path / "test.npy"))
        auroc = mannwhitneyu(scores[100:], scores[:100]).statistic / (100 * 40)
        metrics = [end.metrics[f"test_{name}{kind.replace('.', '_')}"] for name in ("auroc", "average_precision")]
        assert metrics[0] == pytest.approx(auroc, abs=1e-3)
        assert metrics[0] > 0.9 and metrics[1] > 0.8
        threshold = float(next(entry.value for entry in onnx.load(path).metadata_props if entry.key.endswith("hold")))
        assert threshold == pytest.approx(np.quantile(output(path, training), 0.99), rel=1e-5)
        thresholds.add(threshold)
        (note,) = (note for note in compared.notes if note.startswith(path.name))
        assert note in card and (kind == "") != (f"auroc {metrics[0]:.4f}; average precision {metrics[1]:.4f}" in note)
    assert len(thresholds) == 5 and "AUROC" in card
    assert load_model(tmp_path / "run/model").about["metrics"] == end.metrics
    package = export_again(tmp_path / "run", {"export.variants": ("--variants", ["fp16"])}, tmp_path / "again", False)
    others = {name: value for name, value in end.metrics.items() if "fp16" not in name and not name.endswith("packed")}
    assert package.model.about["metrics"] == {name: value for name, value in others.items() if "int8" not in name}


@pytest.mark.parametrize(
    ("labels", "test", "message"),
    [
        ([0, 1], None, "are for the rows of data.test"),
        ([0, 1, 1], "test", "3 labels for the 5 rows"),
        ([0, 1, 2, 0, 1], "test", "0 (normal) and 1 (anomaly)"),
        ([0] * 5, "test", "0 (normal) and 1 (anomaly)"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(
    tmp_path: Path, labels: list[int], test: str | None, message: str
) -> None:
    rows = np.random.default_rng(0).random((20, 6))
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "test.npy", rows[:5])
    np.save(tmp_path / "labels.npy", labels)
    fields = {"data.source": str(tmp_path / "rows.npy"), "data.labels": str(tmp_path / "labels.npy")}
    if test:
        fields["data.test"] = str(tmp_path / "test.npy")
    with pytest.raises((DataError, SpecError)) as caught:
        prepare(resolve({path: ("test", value) for path, value in fields.items()}), tmp_path / "run")
    assert message in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_variant_that_loses_too_much_is_not_kept(finished: tuple[Path, list[events.Event]], tmp_path: Path) -> None:
    flags = {
        "export.variants": ("--variants", ["packed"]),
        "export.values": ("--values", "int4"),
        "export.variant_loss": ("--set", 1e-9),
    }
    package = export_again(finished[0], flags, tmp_path / "strict", False)
    assert not any("packed" in kind for kind in package.files)
    assert any("packed, values int4: not kept" in note for note in package.compared.notes)
    assert not list((tmp_path / "strict").glob("*packed*"))


def test_a_wrong_variant_leaves_no_model(
    finished: tuple[Path, list[events.Event]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = pack.stored

    def wrong(packed: dict[str, Packed]) -> object:
        name = next(name for name in packed if name.endswith("weight"))
        return stored({**packed, name: packed[name]._replace(stored=np.roll(packed[name].stored, 1))})

    monkeypatch.setattr(pack, "stored", wrong)

    with pytest.raises(VerifyError, match=r"packed\.onnx values"):
        export_again(finished[0], {"export.variants": ("--variants", ["packed"])}, tmp_path / "wrong", False)
    assert not (tmp_path / "wrong").exists()
