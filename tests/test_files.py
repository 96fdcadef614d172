from __future__ import annotations

import os
from pathlib import Path

import pytest

from aecompress import files
from aecompress.files import append_own, open_own, read_own, whole, write_bytes


def test_a_file_of_ours_is_read_and_a_link_or_a_pipe_is_named_and_not_waited_for(tmp_path: Path) -> None:
    write_bytes(tmp_path / "file", b"content")
    assert read_own(tmp_path / "file") == b"content"
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    for name, words in {"link": "a link, which is not followed", "pipe": "not a file", "": "not a file"}.items():
        for opened in (open_own, append_own):
            with pytest.raises(OSError) as caught:
                opened(tmp_path / name)
            assert words in str(caught.value.strerror) or name == ""
    with append_own(tmp_path / "file") as file, append_own(tmp_path / "new"):
        file.write("!")
    assert read_own(tmp_path / "file") == b"content!"


def test_a_link_or_a_pipe_in_the_place_of_the_temporary_file_is_removed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / ".a.part").symlink_to(tmp_path / "mine")
    os.mkfifo(tmp_path / ".b.part")
    for name in ("a", "b"):
        write_bytes(tmp_path / name, b"content")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "mine": "mine",
        "a": "content",
        "b": "content",
    }


def test_a_write_that_fails_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        write_bytes(tmp_path / "taken", b"content")
    with pytest.raises(ValueError, match="half"), whole(tmp_path / "file") as file:
        file.write(b"con")
        raise ValueError("half")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_file_of_ours_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(files.MOST_BYTES + 1)
    with pytest.raises(OSError, match="larger than 64 MiB"):
        files.read_own(tmp_path / "a")
