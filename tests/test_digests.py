"""Checksums: every file of a folder is listed, as `sha256sum -c` reads it, and every change is named."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from aecompress.digests import check_files, check_folder, check_listed, check_seal, read_sums, sealed, write_sums
from aecompress.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a b.txt").write_text("text")
    (tmp_path / "empty").touch()
    (tmp_path / ".hidden").touch()
    write_sums(tmp_path)
    return tmp_path


def test_what_was_written_passes(folder: Path) -> None:
    assert list(read_sums(folder)) == ["a b.txt", "empty"]
    check_files(folder, "a b.txt", "empty")
    check_folder(folder)
    check_listed(folder / "a b.txt")
    check_listed(folder / "unlisted")


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="this system has no sha256sum")
def test_the_list_is_that_of_sha256sum(folder: Path) -> None:
    assert (
        subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=folder, stdout=subprocess.DEVNULL).returncode
        == 0
    )


def test_a_change_is_named(folder: Path) -> None:
    (folder / "a b.txt").write_text("texu")
    for check in (lambda: check_folder(folder), lambda: check_listed(folder / "a b.txt")):
        with pytest.raises(DataError, match=r"a b\.txt: was changed or damaged: .* restore it"):
            check()
    check_files(folder, "empty")


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "empty").unlink()
    with pytest.raises(
        DataError, match=r"empty: cannot be read \(No such file or directory\), but SHA256SUMS lists it"
    ):
        check_folder(folder)


def test_a_file_that_must_be_listed_is(folder: Path) -> None:
    with pytest.raises(DataError, match=r"SHA256SUMS: does not list other"):
        check_files(folder, "empty", "other")


def test_a_list_that_is_not_text_is_refused(folder: Path) -> None:
    path = folder / "SHA256SUMS"
    for data in (b"\xff", path.read_bytes().replace(b"a b.txt", b"a b.txt\nx"), b"g" + path.read_bytes()[1:]):
        path.write_bytes(data)
        for check in (lambda: check_folder(folder), lambda: check_listed(folder / "a b.txt")):
            with pytest.raises(DataError, match=r"SHA256SUMS: is not a list of checksums"):
                check()


def test_a_folder_without_its_list_is_refused(folder: Path) -> None:
    path = folder / "SHA256SUMS"
    for spoil in (lambda: path.write_text(""), path.unlink):
        spoil()
        with pytest.raises(DataError, match=r"SHA256SUMS: is not there, or empty"):
            check_folder(folder)


def test_a_seal_holds_every_value_in_any_order() -> None:
    values = sealed({"a": 1, "b": [1.5, None]})
    check_seal(dict(reversed(values.items())))
    for changed in ({**values, "a": 2}, {**values, "c": 0}, {"a": 1, "b": [1.5, None]}, {**values, "seal": ""}):
        with pytest.raises(ValueError, match="its manifest was changed"):
            check_seal(changed)
