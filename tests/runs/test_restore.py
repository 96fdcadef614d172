"""A run whose model is gone: exported from its last checkpoint, or made again by --resume, with the same bytes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from aecompress.deploy.checkpoint import load_model
from aecompress.digests import SEAL, sealed
from aecompress.event_log import read_log
from aecompress.events import Finished, Started
from aecompress.steering import STATUS
from tests.commands import aecompress

SPEC = ["digits", "--hidden", "8", "--latent", "3", "--epochs", "3", "--set", "checkpoint_every=1", "--quiet"]
NEEDED = {"status", "spec_hash", "dataset"}
"""The keys of run.json without which a run is not resumed."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "r"
    assert aecompress("prune", *SPEC, "-o", folder).returncode == 0
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "r"))


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_export_works_from_the_checkpoint(whole: Path, run: Path) -> None:
    shutil.rmtree(run / "model")
    shutil.rmtree(run / "front")
    assert aecompress("export", run).returncode == 0
    assert weights(run / "model") == weights(whole / "model")
    assert weights(run / "front" / "00") == weights(whole / "front" / "00")
    assert load_model(run / "model") is not None


def unfinished(run: Path, **changes: Any) -> None:
    """Make a stopped run of a finished one; a key of ``run.json`` whose change is None is removed."""
    values = json.loads((run / "run.json").read_text()) | {"status": "stopped"} | changes
    (run / "run.json").write_text(json.dumps({key: value for key, value in values.items() if value is not None}))
    shutil.rmtree(run / "model")


def test_half_a_run_is_exported_from_its_checkpoint_and_resumes_to_the_same_bytes(
    whole: Path, run: Path, tmp_path: Path
) -> None:
    for part in ("model", "front"):
        shutil.rmtree(run / part)
    for path in (run / "checkpoint").glob("generation-000003.*"):
        path.unlink()
    (run / "run.json").write_text((run / "run.json").read_text().replace('"finished"', '"stopped"'))
    done = aecompress("export", run, "-o", tmp_path / "half")
    assert done.returncode == 0 and "exported from the checkpoint of epoch 2 of 3" in done.stderr
    assert aecompress("verify", tmp_path / "half" / "autoencoder.onnx", tmp_path / "half").returncode == 0
    assert not (run / "front").exists() and weights(tmp_path / "half") != weights(whole / "model")
    assert aecompress("prune", "--resume", run, "--quiet").returncode == 0
    assert weights(run / "model") == weights(whole / "model")


def test_export_without_model_or_checkpoint_names_the_cure(run: Path) -> None:
    shutil.rmtree(run / "model")
    shutil.rmtree(run / "checkpoint")
    done = aecompress("export", run)
    assert (
        done.returncode == 2 and "has neither a model nor a whole checkpoint; `aecompress prune --resume" in done.stderr
    )


def test_the_working_folder_is_not_replaced(run: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    done = aecompress("export", run, "-o", ".", cwd=tmp_path / "here")
    assert done.returncode == 2 and ".: is the working folder" in done.stderr


def test_a_finished_run_without_its_model_makes_it_again(whole: Path, run: Path) -> None:
    shutil.rmtree(run / "model")
    assert aecompress("prune", "--resume", run, "--quiet").returncode == 0
    assert weights(run / "model") == weights(whole / "model")


def test_a_finished_run_with_its_model_renamed_aside_has_it_again(run: Path) -> None:
    (run / "model").rename(run / ".model.old")
    assert aecompress("inspect", run).returncode == 0
    assert "nothing to do" in aecompress("prune", "--resume", run, "--quiet").stderr
    assert (run / "model").is_dir() and not (run / ".model.old").exists()


def test_a_spec_that_was_changed_is_refused(run: Path, tmp_path: Path) -> None:
    spec = run / "spec.toml"
    spec.write_text(spec.read_text().replace("tolerance = 1e-05", "tolerance = 1e+05"))
    done = aecompress("export", run, "-o", tmp_path / "out")
    assert done.returncode == 2 and "is not the spec that the run was started with" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_changed_spec_is_not_resumed(run: Path) -> None:
    unfinished(run)
    spec = run / "spec.toml"
    spec.write_text(spec.read_text().replace("tolerance = 1e-05", "tolerance = 1e+05"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = aecompress("prune", "--resume", run, "--quiet")
    assert done.returncode == 2 and "is not the spec that the run was started with" in done.stderr
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_a_status_file_without_its_other_keys_resumes_to_the_same_bytes(whole: Path, run: Path) -> None:
    unfinished(run, **dict.fromkeys(STATUS.keys() - NEEDED))
    assert json.loads((run / "run.json").read_text()).keys() == NEEDED
    done = aecompress("prune", "--resume", run, "--quiet")
    assert done.returncode == 0 and weights(run / "model") == weights(whole / "model"), done.stderr


@pytest.mark.parametrize("gone", sorted(NEEDED))
def test_a_status_file_without_a_key_that_a_resume_needs_is_named_and_nothing_touched(run: Path, gone: str) -> None:
    unfinished(run, **{gone: None})
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = aecompress("prune", "--resume", run, "--quiet")
    assert done.returncode == 2 and "run.json" in done.stderr
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


@pytest.mark.parametrize("damage", ["half", "empty", "gone"])
def test_a_stopped_run_resumes_to_the_same_bytes_without_its_log(whole: Path, run: Path, damage: str) -> None:
    unfinished(run)
    log = run / "events.jsonl"
    data = log.read_bytes()
    log.unlink() if damage == "gone" else log.write_bytes(data[: len(data) // 2 if damage == "half" else 0])
    assert aecompress("prune", "--resume", run, "--quiet").returncode == 0
    assert weights(run / "model") == weights(whole / "model")
    kinds = [type(event) for event in read_log(log)]
    assert kinds.count(Started) == 1 and kinds[-1] is Finished
    again = aecompress("prune", "--resume", run, "--quiet")
    assert again.returncode == 0 and "nothing to do" in again.stderr


def test_a_damaged_model_is_refused_and_left_alone(run: Path) -> None:
    for file in (run / "model" / "model.safetensors", run / "front" / "00" / "model.safetensors"):
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    before = {path: path.read_bytes() for path in run.rglob("*.onnx")}
    onnx = run / "model" / "autoencoder.onnx"
    commands = (["inspect", run], ["verify", onnx, run], ["export", run], ["front", run], ["prune", "--resume", run],
                ["report", run], ["export", run, "--pick", "knee"])  # fmt: skip
    for command in commands:
        done = aecompress(*command)
        assert done.returncode == (3 if command[0] == "verify" else 2), command
        assert "model.safetensors: was changed or damaged" in done.stderr, command
    assert before == {path: path.read_bytes() for path in run.rglob("*.onnx")}


def test_a_damaged_onnx_file_is_not_benched(run: Path) -> None:
    file = run / "model" / "autoencoder.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    done = aecompress("bench", file, "--seconds", "0.01")
    assert done.returncode == 2 and "autoencoder.onnx: was changed or damaged" in done.stderr
    assert aecompress("verify", file, run).returncode == 3


def test_a_refused_resume_touches_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status = json.loads((run / "run.json").read_text()) | {"status": "stopped"}
    (run / "run.json").write_text(json.dumps(status))
    (run / "control").write_text("pause")
    monkeypatch.setattr("aecompress.runs.folder.lock", lambda log: False)
    done = aecompress("prune", "--resume", run, "--quiet")
    assert done.returncode == 2 and "another process is writing this run" in done.stderr
    assert (run / "control").read_text() == "pause"
    assert json.loads((run / "run.json").read_text()) == status


def test_a_resume_refused_for_its_checkpoint_touches_nothing(run: Path) -> None:
    (run / "run.json").write_text((run / "run.json").read_text().replace('"finished"', '"stopped"'))
    (run / "control").write_text("pause")
    manifest = max((run / "checkpoint").glob("*.json"))
    values = {key: value for key, value in json.loads(manifest.read_text()).items() if key != SEAL}
    manifest.write_text(json.dumps(sealed(values | {"fingerprint": "another"})))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = aecompress("prune", "--resume", run, "--quiet")
    assert done.returncode == 2 and "fingerprint is 'another'" in done.stderr
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_a_log_that_cannot_be_read_or_written_is_named(run: Path) -> None:
    log = run / "events.jsonl"
    log.unlink()
    log.mkdir()
    done = aecompress("prune", "--resume", run, "--quiet")
    assert done.returncode == 2 and "events.jsonl: cannot be read" in done.stderr
    (run / "run.json").write_text((run / "run.json").read_text().replace('"finished"', '"stopped"'))
    done = aecompress("prune", "--resume", run, "--quiet")
    assert done.returncode == 2 and "events.jsonl: cannot be written (Is a directory)" in done.stderr


@pytest.mark.parametrize("name", ["spec.toml", "events.jsonl", "run.json"])
@pytest.mark.parametrize("made", ["link", "pipe"])
def test_a_link_or_a_pipe_is_named_and_the_file_behind_it_left_alone(
    run: Path, tmp_path: Path, name: str, made: str
) -> None:
    (run / "run.json").write_text((run / "run.json").read_text().replace('"finished"', '"stopped"'))
    (tmp_path / "mine").write_bytes((run / name).read_bytes())
    before = (run / name).read_bytes()
    (run / name).unlink()
    (run / name).symlink_to(tmp_path / "mine") if made == "link" else os.mkfifo(run / name)
    for words in (["prune", "--resume", run], ["prune", *SPEC, "-o", run, "--force"]):
        done = aecompress(*words, "--quiet")
        if "--force" in words and name == "spec.toml":  # it is replaced
            assert done.returncode == 0 and not (run / name).is_symlink()
            continue
        assert done.returncode == 2, words
        assert "--force" in words or ("is not followed" if made == "link" else "not a file") in done.stderr
    assert (tmp_path / "mine").read_bytes() == before


def test_a_spec_larger_than_any_is_refused(run: Path) -> None:
    with (run / "spec.toml").open("r+b") as file:
        file.truncate(1 << 30)
    done = aecompress("export", run)
    assert done.returncode == 2 and "spec.toml: has 1073741824 bytes, more than a run's spec" in done.stderr


def test_a_folder_in_the_place_of_a_checkpoint_is_named_before_any_work(run: Path) -> None:
    (run / "run.json").write_text((run / "run.json").read_text().replace('"finished"', '"stopped"'))
    for ending in ("json", "safetensors"):
        (path := run / "checkpoint" / f"generation-000003.{ending}").unlink()
        path.mkdir()
        done = aecompress("prune", "--resume", run, "--quiet")
        assert done.returncode == 2 and f"{path.name}: is a folder in the place of a checkpoint" in done.stderr
        path.rmdir()
