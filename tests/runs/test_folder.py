"""A folder that appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from aecompress.files import standing
from aecompress.runs.folder import staged


def test_a_staged_folder_is_renamed_into_place_and_replaces_the_old_one(tmp_path: Path) -> None:
    final = tmp_path / "model"
    final.mkdir()
    (final / "old").touch()
    (tmp_path / ".model.part").mkdir()  # left by a kill
    (tmp_path / ".model.part" / "stale").touch()
    with staged(final) as folder:
        assert folder == tmp_path / ".model.part" and not list(folder.iterdir())
        (folder / "new").touch()
        assert [path.name for path in final.iterdir()] == ["old"]
    assert [path.name for path in final.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("fault", [ValueError, KeyboardInterrupt, GeneratorExit])
def test_a_fault_leaves_what_was_there(tmp_path: Path, fault: type[BaseException]) -> None:
    final = tmp_path / "model"
    final.mkdir()
    (final / "old").touch()
    with pytest.raises(fault), staged(final) as folder:
        (folder / "new").touch()
        raise fault
    assert [path.name for path in final.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_kill_between_the_two_renamings_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "model"
    final.mkdir()
    (final / "old").touch()
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.name == ".model.part":
            raise KeyboardInterrupt  # as a kill: nothing is put back
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(KeyboardInterrupt), staged(final):
        pass
    monkeypatch.undo()
    assert not final.exists() and (standing(final) / "old").exists()
    with staged(final) as folder:
        (folder / "new").touch()
    assert standing(final) == final and [path.name for path in tmp_path.iterdir()] == ["model"]
