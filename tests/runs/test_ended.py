"""The result of a finished run, printed again: what its model folder has, whatever became of the log."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from aecompress.digests import write_sums
from tests.commands import aecompress

SPEC = ["digits", "--hidden", "8", "--latent", "3", "--epochs", "2", "--variants", "packed,scorer,sparse", "--quiet"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("whole") / "r"
    done = aecompress("prune", *SPEC, "-o", folder, "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def again(run: Path) -> dict[str, Any]:
    done = aecompress("prune", "--resume", run, "--quiet", "--json")
    assert done.returncode == 0 and "nothing to do" in done.stderr, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def by_name(result: dict[str, Any]) -> dict[str, tuple[str, int]]:
    return {Path(file["path"]).name: (file["kind"], file["bytes"]) for file in result["files"]}


def test_a_finished_run_prints_what_it_printed(whole: tuple[Path, dict[str, Any]]) -> None:
    assert again(whole[0]) == whole[1]


def test_a_model_folder_that_does_not_list_its_variants_is_refused(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(whole[0], tmp_path / "r"))
    report = json.loads((run / "model" / "verification.json").read_text())
    for files in (None, 3, ["scorer.onnx"], {"scorer": ["scorer.onnx"]}):
        (run / "model" / "verification.json").write_text(json.dumps(report | {"files": files}))
        write_sums(run / "model")
        done = aecompress("prune", "--resume", run, "--quiet")
        assert done.returncode == 2 and "export the model again" in done.stderr, done.stderr


def test_damage_to_the_log_changes_no_file_metric_or_check(whole: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole[0], tmp_path / "r"))
    log = run / "events.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    metric = f'"train_mse": {whole[1]["metrics"]["train_mse"]}'
    assert metric in lines[-1]
    lines[-1] = lines[-1].replace(metric, '"train_mse": 0.5')
    kept = [line for line in lines if '"file": "rows"' not in line]
    assert len(kept) == len(lines) - 1
    log.write_text("".join(kept).replace('"passed": true', '"passed": false'))
    result = again(run)
    assert by_name(result) == by_name(whole[1])
    assert (result["metrics"], result["verification"]) == (whole[1]["metrics"], whole[1]["verification"])


def test_after_another_export_the_files_that_are_there_are_listed(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(whole[0], tmp_path / "r"))
    assert aecompress("export", run, "--variants", "fp16").returncode == 0
    listed = by_name(again(run))
    assert listed == {path.name: (listed[path.name][0], path.stat().st_size) for path in (run / "model").iterdir()}
    assert listed["autoencoder.fp16.onnx"][0] == "autoencoder-fp16" and "autoencoder.packed.onnx" not in listed


@pytest.mark.parametrize("damage", ["half", "empty", "gone"])
def test_a_log_without_its_end_is_refused_and_the_model_still_serves(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path, damage: str
) -> None:
    run = Path(shutil.copytree(whole[0], tmp_path / "r"))
    log = run / "events.jsonl"
    data = log.read_bytes()
    log.unlink() if damage == "gone" else log.write_bytes(data[: len(data) // 2 if damage == "half" else 0])
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = aecompress("prune", "--resume", run, "--quiet")
    fault = "cannot be read (No such file or directory)" if damage == "gone" else "lacks the end of the run"
    assert done.returncode == 2 and f"events.jsonl: {fault}; the model is whole" in done.stderr
    assert f"aecompress inspect {run}" in done.stderr
    assert aecompress("inspect", run).returncode == 0
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
