from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from aecompress.deploy.checkpoint import load_model
from aecompress.deploy.reference import reconstruct
from aecompress.runs.job import prepare
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve
from aecompress.study.design import read_study
from aecompress.study.report import write
from aecompress.study.results import read_outcomes
from aecompress.study.stats import findings
from aecompress.study.sweep import serial, sweep

EXAMPLES = Path(__file__).parent.parent / "examples"
SPECS = sorted(EXAMPLES.glob("*.toml"))


def test_the_example_specs_were_found() -> None:
    assert [path.name for path in SPECS] == ["digits.toml", "layer_by_layer.toml"]


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.stem)
def test_every_example_spec_runs(tmp_path: Path, path: Path) -> None:
    resolved = resolve({"train.epochs": ("test", 2)}, path)
    list(run(prepare(resolved, tmp_path / "r")))
    assert load_model(tmp_path / "r" / "model").sparsity > 0.4


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["python_api.py", str(tmp_path / "r")])
    runpy.run_path(str(EXAMPLES / "python_api.py"))
    assert "latent codes (3, 8) reconstructions (3, 64)" in capsys.readouterr().out


def test_the_estimator_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["estimator.py", str(tmp_path / "model")])
    runpy.run_path(str(EXAMPLES / "estimator.py"))
    out = capsys.readouterr().out
    assert "codes (800, 8) reconstructions (800, 64)" in out and "the same after loading True" in out
    assert "anomalies 800 of 800" in out and "scorer.onnx" in out


def test_the_loader_without_this_package_gives_the_same_rows(tmp_path: Path) -> None:
    script = EXAMPLES / "load_without_aecompress.py"
    assert "import aecompress" not in script.read_text() and "from aecompress" not in script.read_text()
    raw = np.random.default_rng(0).normal(size=(80, 6)) * 7
    np.save(tmp_path / "rows.npy", raw)
    flags = {"data.source": ("test", str(tmp_path / "rows.npy")), "train.epochs": ("test", 3)}
    list(run(prepare(resolve(flags), tmp_path / "r")))
    model = load_model(tmp_path / "r" / "model")
    got = runpy.run_path(str(script))["reconstruct"](tmp_path / "r" / "model", raw)
    scaled = (raw - np.array(model.scaling["offset"])) / np.array(model.scaling["divisor"])
    right = reconstruct(model, scaled.astype(np.float32))[1] * model.scaling["divisor"] + model.scaling["offset"]
    np.testing.assert_allclose(got, right, atol=1e-4)


STUDIES = sorted((EXAMPLES / "studies").glob("*.toml"))
SIZES = {
    "canonical": (19, 30), "instances": (16, 30), "networks": (12, 30), "paper": (19, 10), "reduced": (8, 12),
    "rules": (14, 10), "schedules": (19, 30),
}  # fmt: skip
"""Groups and seeds."""


def test_the_example_studies_were_found() -> None:
    assert [path.stem for path in STUDIES] == sorted(SIZES) and len(STUDIES) == 7


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_example_study_is_sound(path: Path) -> None:
    study = read_study(path)
    assert (len(study.groups), len(study.seeds)) == SIZES[path.stem] and study.name == path.stem
    assert len(study.trials) == len(study.groups) * len(study.seeds) and study.question and study.claims


@pytest.mark.slow
def test_the_smallest_example_study_runs(tmp_path: Path) -> None:
    text = (EXAMPLES / "studies" / "reduced.toml").read_text()
    short = text.replace("train.epochs = 400", "train.epochs = 3").replace("seeds = 12", "seeds = 2")
    assert short.count("= 3\n") == 1 and "seeds = 2" in short
    (tmp_path / "reduced.toml").write_text(short)
    study = read_study(tmp_path / "reduced.toml")
    progress = sweep(study, tmp_path / "r", serial, 1, lambda: None, lambda progress: None)
    assert (len(progress.finished), progress.status) == (16, "finished")
    found = read_outcomes(study, tmp_path / "r")
    assert [len(outcome.results) for outcome in found] == [2] * 8
    assert {finding.verdict for finding in findings(study.claims, found)} <= {
        "holds",
        "not shown",
        "the opposite holds",
    }
    assert write(tmp_path / "r")[0][1].stat().st_size > 10_000
