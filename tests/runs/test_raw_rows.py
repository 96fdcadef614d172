"""Raw rows in, raw rows out: tables whose columns lie far from 0, the card's lines, what a folder says of its rows."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from aecompress.deploy import reference, verify
from aecompress.deploy.checkpoint import load_model, load_rows
from aecompress.runs.again import export_again, rows_for_model
from aecompress.runs.job import prepare
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve
from tests.commands import aecompress

COUNT = np.arange(200)
TABLES = {
    "counter": 1e6 + COUNT,
    "year": 2020 + COUNT / 365.25,
    "latitude": 52.5 + 0.01 * np.sin(COUNT),
    "time": 1.7e9 + 60 * COUNT,
}
FIELDS = {"mode": "canonical", "train.epochs": 8, "model.hidden": [8], "model.latent": 3, "prune.operator": "none"}
FLAGS = ("--mode", "canonical", "--epochs", 2, "--operator", "none", "--quiet")


def table(path: Path, name: str) -> np.ndarray:
    """Rows with a first column that is called so, far from 0, and six that are not."""
    random = np.random.default_rng(0)
    rows = np.c_[TABLES[name], random.normal(size=(200, 3)) @ random.normal(size=(3, 6))]
    np.savetxt(path, rows, delimiter=",", header=f"{name},a,b,c,d,e,f", comments="", fmt="%.9g")
    return np.loadtxt(path, delimiter=",", skiprows=1)


def trained(folder: Path, name: str, **changes: object) -> tuple[np.ndarray, Path]:
    """The rows of a table and the model folder of a run on it."""
    rows = table(folder / "t.csv", name)
    fields = FIELDS | {"data.source": str(folder / "t.csv")} | {k.replace("__", "."): v for k, v in changes.items()}
    list(run(prepare(resolve({path: ("test", value) for path, value in fields.items()}), folder / "run")))
    return rows, folder / "run/model"


def output(path: Path, rows: np.ndarray) -> np.ndarray:
    runner = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return runner.run(None, {runner.get_inputs()[0].name: rows.astype(np.float32)})[0].astype(float)


def metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, Path]:
    return trained(
        tmp_path_factory.mktemp("raw"), "year", export__variants=["packed", "scorer"], data__scaling="standard"
    )


@pytest.mark.parametrize("name", ["counter", "latitude"])
def test_raw_rows_go_in_and_raw_rows_come_out(tmp_path: Path, name: str) -> None:
    rows, folder = trained(tmp_path, name, export__rows=0)
    right_out_of_the_reference(rows, folder)
    assert np.asarray(run_card(folder)["reconstruction"]).shape == (2, 7)  # without kept rows


def right_out_of_the_reference(rows: np.ndarray, folder: Path) -> None:
    model = load_model(folder)
    offset, divisor = (np.array(model.scaling[key]) for key in ("offset", "divisor"))
    latent, right = reference.reconstruct(model, ((rows - offset) / divisor).astype(np.float32))
    moved = np.abs((rows.astype(np.float32) - offset) / divisor - (rows - offset) / divisor).max(0)
    step = np.spacing(np.abs(rows).max(0).astype(np.float32)) / divisor
    got = (output(folder / "autoencoder.onnx", rows) - offset) / divisor
    assert np.all(np.abs(got - right).max(0) <= 1e-5 + 10 * moved.max() + step)
    assert output(folder / "encoder.onnx", rows) == pytest.approx(latent, abs=1e-5 + 10 * moved.max())
    # As good on raw rows as on scaled ones, to what float32 leaves of the first column.
    scaled = (rows - offset) / divisor
    assert np.square(got - scaled).mean() == pytest.approx(np.square(right - scaled).mean(), rel=0.01)


def test_every_file_of_a_table_is_right_on_raw_rows(year: tuple[np.ndarray, Path]) -> None:
    rows, folder = year
    right_out_of_the_reference(rows, folder)
    for file in sorted(folder.glob("*.onnx")):
        result = verify.verify_against(file, folder, None, None)
        assert result.passed, result.first_failure
    assert verify.verify_against(
        folder / "encoder.onnx", folder, rows_for_model(str(folder.parent.parent / "t.csv"), folder), None
    ).passed


def test_a_wrong_small_column_is_seen_beside_a_large_one(year: tuple[np.ndarray, Path], tmp_path: Path) -> None:
    proto = onnx.load(year[1] / "autoencoder.onnx")
    (bias,) = (tensor for tensor in proto.graph.initializer if tensor.name == "decoder.1.bias")
    values = onnx.numpy_helper.to_array(bias).copy()
    values[3] += 1e-3
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(proto, tmp_path / "wrong.onnx")
    failed = [
        check
        for check in verify.verify_against(tmp_path / "wrong.onnx", year[1], None, None).checks
        if not check.passed
    ]
    assert failed[1].name == "wrong.onnx values, rows, batch 1" and failed[1].detail.endswith(", column 3")


def test_epoch_seconds_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    table(tmp_path / "t.csv", "time")
    done = aecompress("prune", tmp_path / "t.csv", *FLAGS, "-o", tmp_path / "run")
    assert done.returncode == 2 and not (tmp_path / "run").exists()
    assert "column 0 ('time') has values from 1700000000 to 1700011940" in done.stderr
    assert "--no-embed-scaling" in done.stderr and "Traceback" not in done.stderr


def test_epoch_seconds_are_taken_with_scaled_rows_and_what_is_said_of_them(tmp_path: Path) -> None:
    table(tmp_path / "t.csv", "time")
    done = aecompress("prune", tmp_path / "t.csv", *FLAGS, "--no-embed-scaling", "-o", tmp_path / "run")
    folder = tmp_path / "run/model"
    assert done.returncode == 0
    assert metadata(folder / "autoencoder.onnx")["aecompress.rows"] == "scaled 7"
    assert "**The files take and give scaled rows**" in (folder / "README.md").read_text()
    assert "take scaled rows" in aecompress("inspect", folder).stderr
    run_card(folder)
    again = aecompress("export", tmp_path / "run", "--embed-scaling", "-o", tmp_path / "again")
    assert again.returncode == 2 and "column 0 ('time')" in again.stderr and not (tmp_path / "again").exists()
    assert aecompress("export", tmp_path / "run", "-o", tmp_path / "same").returncode == 0
    assert metadata(tmp_path / "same/encoder.onnx")["aecompress.rows"] == "scaled 7"  # as its spec says


def run_card(folder: Path) -> dict[str, object]:
    """Run the card's lines as they stand, in the model folder, and return what they name."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) == 6
    named: dict[str, object] = {}
    with contextlib.chdir(folder):
        exec(compile(code, "README.md", "exec"), named)  # noqa: S102
    return named


def test_the_lines_of_the_card_run_on_raw_rows(
    year: tuple[np.ndarray, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    rows, folder = year
    named = run_card(folder)
    kept = np.asarray(named["rows"], float)
    assert all(np.isclose(rows, row, 1e-6, 1e-6).all(1).any() for row in kept)
    assert np.asarray(named["reconstruction"]).shape == kept.shape
    assert len(capsys.readouterr().out.strip("[] \n").split()) == 7
    assert np.array_equal(load_rows(folder / "rows.safetensors").shape, kept.shape)


def test_names_shape_scaling_and_threshold_are_in_the_config_and_in_the_files(year: tuple[np.ndarray, Path]) -> None:
    folder, names = year[1], ["year", *"abcdef"]
    config = json.loads((folder / "config.json").read_text())
    assert (config["inputs"], config["row_shape"], config["rows"]) == (names, [7], "raw")
    about = {path.name: metadata(path) for path in folder.glob("*.onnx")}
    assert {"autoencoder.onnx", "encoder.onnx", "decoder.onnx", "scorer.onnx"} <= about.keys()
    for own in about.values():
        assert json.loads(own["aecompress.inputs"]) == names
        for name in ("offset", "divisor"):
            assert json.loads(own[f"aecompress.{name}"]) == pytest.approx(config["scaling"][name], rel=1e-8)
        assert (own["aecompress.rows"], own["aecompress.scaling"]) == ("raw 7", "standard")
    scorers = {name: float(own["aecompress.threshold"]) for name, own in about.items() if name.startswith("scorer")}
    assert config["thresholds"] == scorers
    assert "Columns, in order: year, a, b, c, d, e, f." in (folder / "README.md").read_text()


def test_nothing_is_added_where_nothing_is_scaled(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((60, 4, 2)))
    fields = FIELDS | {"data.source": str(tmp_path / "rows.npy"), "train.epochs": 1}
    list(run(prepare(resolve({path: ("test", value) for path, value in fields.items()}), tmp_path / "run")))
    proto = onnx.load(tmp_path / "run/model/autoencoder.onnx")
    assert not {node.op_type for node in proto.graph.node} & {"Sub", "Div", "Mul", "Add"}
    assert metadata(tmp_path / "run/model/autoencoder.onnx")["aecompress.rows"] == "raw 4x2"
    assert json.loads((tmp_path / "run/model/config.json").read_text())["row_shape"] == [4, 2]
    run_card(tmp_path / "run/model")


def test_our_own_file_with_the_scaling_inside_is_pruned_further(year: tuple[np.ndarray, Path], tmp_path: Path) -> None:
    fields = FIELDS | {
        "data.source": str(year[1].parent.parent / "t.csv"), "data.scaling": "standard", "train.epochs": 0,
        "model.init": str(year[1] / "autoencoder.onnx"), "export.variants": [],
    }  # fmt: skip
    del fields["model.hidden"], fields["model.latent"]
    list(run(prepare(resolve({path: ("test", value) for path, value in fields.items()}), tmp_path / "run")))
    before, after = (load_model(folder).about["metrics"]["test_mse"] for folder in (year[1], tmp_path / "run/model"))
    assert after == pytest.approx(before, rel=1e-5)


def test_a_budget_of_bytes_counts_names_and_scaling(tmp_path: Path) -> None:
    limit = 2600
    drawn = {"model__initial": "scaled", "prune__operator": "magnitude", "train__epochs": 2}
    _, folder = trained(tmp_path, "latitude", budget__max_bytes=limit, **drawn)
    assert limit * 0.8 < (folder / "autoencoder.onnx").stat().st_size <= limit


def test_names_of_standard_input_are_those_of_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table(tmp_path / "t.csv", "latitude")
    with (tmp_path / "t.csv").open() as file:
        monkeypatch.setattr("sys.stdin", file)
        fields = FIELDS | {"data.source": "-", "train.epochs": 1}
        list(run(prepare(resolve({path: ("test", value) for path, value in fields.items()}), tmp_path / "run")))
    shutil.rmtree(tmp_path / "run/model")
    package = export_again(tmp_path / "run", {"export.opset": ("--opset", 17)}, tmp_path / "again", False)
    assert json.loads(package.files["config"].read_text())["inputs"] == ["latitude", *"abcdef"]
