"""A folder that appears whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

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
