"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aecompress.digests import write_sums
from aecompress.errors import OutputError
from aecompress.files import standing
from aecompress.runs.folder import begin, check_output, staged


def test_a_staged_folder_is_renamed_into_place_and_replaces_the_old_one(tmp_path: Path) -> None:
    final = tmp_path / "model"
    final.mkdir()
    (final / "config.json").touch()
    (tmp_path / ".model.part").mkdir()  # left by a kill
    (tmp_path / ".model.part" / "stale").touch()
    with staged(final) as folder:
        assert folder == tmp_path / ".model.part" and not list(folder.iterdir())
        (folder / "new").touch()
        assert [path.name for path in final.iterdir()] == ["config.json"]
    assert [path.name for path in final.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_a_fault_leaves_what_was_there(tmp_path: Path, fault: type[BaseException]) -> None:
    final = tmp_path / "model"
    final.mkdir()
    (final / "config.json").touch()
    with pytest.raises(fault), staged(final) as folder:
        (folder / "new").touch()
        raise fault
    assert [path.name for path in final.iterdir()] == ["config.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_kill_between_the_two_renamings_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "model"
    final.mkdir()
    (final / "config.json").touch()
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.name == ".model.part":
            raise KeyboardInterrupt  # as a kill: nothing is put back
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt), staged(final):
        pass
    monkeypatch.undo()
    assert not final.exists() and (standing(final) / "config.json").exists()
    with staged(final) as folder:
        (folder / "new").touch()
    assert standing(final) == final and [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder as a run leaves it: a model, a front of two, checkpoints."""
    for name in ("model", "front/00", "front/01"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").touch()
        write_sums(tmp_path / name)
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "generation-000004.json").touch()
    (tmp_path / "run.json").write_text('{"status": "finished", "spec_hash": ""}')
    return tmp_path


@pytest.mark.parametrize("name", ["model/notes.txt", "front/00/my.onnx", "front/notes.txt", "checkpoint/best.json"])
def test_force_does_not_replace_what_no_run_wrote(run: Path, name: str) -> None:
    check_output(run, force=True)
    (run / name).write_text("mine")
    with pytest.raises(OutputError, match=f"{name}: was not written by a run; move it"):
        check_output(run, force=True)
    with pytest.raises(OutputError, match="was not written by a run"), staged(run / name.split("/")[0]):
        pass
    assert (run / name).read_text() == "mine"


def test_a_link_in_the_place_of_a_model_is_not_replaced(run: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = (run / "model").rename(tmp_path_factory.mktemp("elsewhere") / "model")
    (run / "model").symlink_to(elsewhere)
    with pytest.raises(OutputError, match="model: is a link, which is not replaced"), staged(run / "model"):
        pass
    assert (run / "model").is_symlink() and (elsewhere / "config.json").exists()


def test_pictures_of_the_users_are_kept_and_those_of_a_report_are_removed(run: Path) -> None:
    (run / "figures").mkdir()
    for name in ("mine.png", "loss.svg"):
        (run / "figures" / name).touch()
    begin(run, "")
    assert [path.name for path in (run / "figures").iterdir()] == ["mine.png"]


def test_a_pipe_or_a_file_in_the_place_of_a_model_is_named(run: Path) -> None:
    (run / "model").rename(run / "aside")
    for make in (os.mkfifo, Path.touch):
        make(run / "model")
        with pytest.raises(OutputError, match="model: is not a folder; remove it"), staged(run / "model"):
            pass
        (run / "model").unlink()


@pytest.mark.parametrize("name", [".model.part", ".model.old"])
def test_what_stands_where_a_folder_is_staged_is_removed_and_a_pipe_not_waited_for(run: Path, name: str) -> None:
    (run / "mine").write_text("mine")
    for make in (os.mkfifo, Path.touch, lambda path: path.symlink_to(run / "mine")):
        make(run / name)
        with staged(run / "model") as folder:
            (folder / "config.json").touch()
        assert not (run / name).exists() and (run / "model" / "config.json").exists()
    assert (run / "mine").read_text() == "mine"
