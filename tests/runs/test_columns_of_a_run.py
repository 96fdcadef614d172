"""A run on a table as people have them: its columns are in config.json and card, and new rows are treated the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from aecompress.data.dataset import Dataset
from aecompress.data.encoding import Encoding
from aecompress.data.frames import table_of
from aecompress.data.inputs import rows_of
from aecompress.data.sparse import few
from aecompress.deploy.checkpoint import load_model
from aecompress.deploy.reference import reconstruct
from aecompress.runs.again import export_again, rows_for_model
from aecompress.runs.job import prepare, prepare_export
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve
from tests.commands import aecompress

DRAWS = np.random.default_rng(0)
N = 120
FRAME = pd.DataFrame(
    {
        "time": pd.date_range("2024-01-01", periods=N, freq="h"),
        "kind": DRAWS.choice(["fan", "pump"], N),
        "a": DRAWS.normal(size=N),
        "b": np.where(np.arange(N) % 11 == 5, np.nan, 100 + DRAWS.normal(size=N)),
        "class": np.where(np.arange(N) % 8 == 1, "attack", "normal"),
    }
)
FIELDS = {
    "mode": "canonical",
    "data.label": "class",
    "data.missing": "median",
    "data.dates": "cyclic",
    "model.hidden": [6],
    "model.latent": 2,
    "train.epochs": 1,
}
"""The cure that ``data`` prints, but with dates."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, from standard input: ``run`` in it, beside ``rows.csv``."""
    where = tmp_path_factory.mktemp("columns")
    FRAME.to_csv(where / "rows.csv", index=False)
    with (where / "rows.csv").open() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", file)
        fields = FIELDS | {"data.source": "-"}
        list(run(prepare(resolve({path: ("test", value) for path, value in fields.items()}), where / "run")))
    return where


def test_what_was_decided_is_in_config_and_card(folder: Path) -> None:
    config = json.loads((folder / "run/model/config.json").read_text())
    encoding = Encoding.from_json(config["columns"])
    names = ["time.hour.sin", "time.hour.cos", "time.weekday.sin", "time.weekday.cos", "time.day.sin", "time.day.cos"]
    assert list(encoding.inputs) == config["inputs"] == [*names, "kind=fan", "kind=pump", "a", "b"]
    card = (folder / "run/model/README.md").read_text()
    assert "\n- column 'kind': an input for each text, 1 where a row has it\n" in card
    assert "\n- missing numbers are replaced by the median of the training rows" in card
    assert "made of the columns of a table: `columns` in config.json says how" in card


def test_the_auroc_is_that_of_the_test_rows_labels(folder: Path) -> None:
    model = load_model(folder / "run/model")
    encoding = Encoding.from_json(model.about["columns"])
    dataset = prepare_again(folder)
    assert dataset.labels is not None and dataset.labels.sum() == (FRAME["class"] == "attack").sum()
    errors = ((reconstruct(model, few(dataset.test))[1] - few(dataset.test)) ** 2).mean(1)
    assert model.about["metrics"]["test_auroc"] == pytest.approx(roc_auc_score(dataset.labels, errors))
    rows = (rows_of(encoding, table_of(FRAME)) - model.scaling["offset"]) / model.scaling["divisor"]
    assert all(np.isclose(rows, row, atol=1e-6).all(1).any() for row in few(dataset.train))


def prepare_again(folder: Path) -> Dataset:
    """Return the rows as an export reads them."""
    return prepare_export(folder / "run", {})[0]


def test_new_rows_are_matched_by_name_and_the_rest_is_reported(folder: Path) -> None:
    model = load_model(folder / "run/model")
    new = FRAME.iloc[::-1].head(20)[["b", "a", "kind", "time"]].assign(extra=1)
    new.loc[new.index[:3], "kind"] = "valve"
    new.to_csv(folder / "new.csv", index=False)
    notes: list[str] = []
    rows = rows_for_model(str(folder / "new.csv"), folder / "run/model", report=notes.append)
    expected = rows_of(Encoding.from_json(model.about["columns"]), table_of(new))
    np.testing.assert_allclose(
        rows, (expected - model.scaling["offset"]) / model.scaling["divisor"], rtol=1e-6, atol=1e-6
    )
    assert [note.removeprefix(f"{folder}/new.csv: ") for note in notes] == [
        "column 'kind': 3 rows with texts that training rows lack ('valve'); all of its inputs are 0 there",
        "column 'extra': not of the model, ignored",
    ]
    file = folder / "run/model/autoencoder.onnx"
    done = aecompress("verify", file, folder / "run", "--rows", folder / "new.csv")
    assert done.returncode == 0 and "column 'extra': not of the model, ignored" in done.stderr
    new.drop(columns="a").to_csv(folder / "less.csv", index=False)
    done = aecompress("verify", folder / "run/model/autoencoder.onnx", folder / "run", "--rows", folder / "less.csv")
    assert (
        done.returncode == 2 and "less.csv: lacks column 'a' of the model; it has b, kind, time, extra" in done.stderr
    )


def test_an_export_reads_the_same_rows_again(folder: Path) -> None:
    before = json.loads((folder / "run/run.json").read_text())["dataset"]["fingerprint"]
    assert prepare_again(folder).fingerprint == before
    shutil.copytree(folder / "run", folder / "other")
    package = export_again(folder / "other", {"export.opset": ("--opset", 17)}, folder / "again", False)
    config = json.loads(package.files["config"].read_text())
    assert config["columns"] == json.loads((folder / "run/model/config.json").read_text())["columns"]


def test_a_column_that_float32_cannot_hold_is_left_out_by_the_command(tmp_path: Path) -> None:
    frame = FRAME[["a"]].assign(b=FRAME["a"] * 2, huge=1e12 + 1000 * FRAME["a"])
    frame.to_csv(tmp_path / "rows.csv", index=False)
    refused = aecompress("prune", "rows.csv", "-o", "run", cwd=tmp_path)
    assert refused.returncode == 2 and "column 2 ('huge') has values from" in refused.stderr
    command = refused.stderr[refused.stderr.index("aecompress prune ") :].strip()
    assert command == "aecompress prune rows.csv --columns a,b"
    job = prepare(
        resolve({"data.source": ("DATA", str(tmp_path / "rows.csv")), "data.columns": ("", "a,b")}), tmp_path / "r"
    )
    assert job.dataset.inputs == ("a", "b")
