"""Compressed files: unpacked piece by piece, damage and bombs refused."""

from __future__ import annotations

import importlib.util
import io
import lzma
import zipfile
from pathlib import Path

import pytest

from aecompress.data.sources import packed
from aecompress.data.sources.formats import read_array
from aecompress.errors import DataError
from tests.data.sources.files import written
from tests.data.sources.test_formats import PRESSES

LINES = b"".join(b"%d,0.5\n" % number for number in range(3000))


@pytest.mark.parametrize("ending", PRESSES)
def test_damage_of_every_compression_is_a_data_error_or_harmless(tmp_path: Path, ending: str) -> None:
    whole = PRESSES[ending](LINES)
    path = tmp_path / f"rows.csv{ending}"
    for cut in (whole[:-3], whole[: len(whole) // 2]):
        with pytest.raises(DataError, match=r"rows\.csv.*: is damaged .*; compress it again"):
            read_array(written(path, cut))
    for place in range(8, len(whole), len(whole) // 9):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        try:
            assert len(read_array(written(path, bytes(damaged)))) <= 3000
        except DataError as fault:
            assert str(fault).startswith(f"{path}: ") and "\n" not in str(fault)


@pytest.mark.parametrize("ending", PRESSES)
def test_a_bomb_of_every_compression_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    monkeypatch.setattr(packed, "ALWAYS", 1 << 16)
    monkeypatch.setattr(packed, "MOST_TIMES", 20)
    with pytest.raises(DataError, match="unpacks to more than 20 times its size; give it unpacked"):
        read_array(written(tmp_path / f"rows.csv{ending}", PRESSES[ending](b"0,0\n" * 500_000)))


def test_a_bomb_in_zip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "ALWAYS", 1 << 16)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", b"0,0\n" * 500_000)
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        read_array(written(tmp_path / "rows.csv.zip", buffer.getvalue()))


def test_several_streams_in_one_file_are_read_to_the_end(tmp_path: Path) -> None:
    for ending, press in PRESSES.items():
        both = press(b"1,2\n") + press(b"3,4\n")
        assert read_array(written(tmp_path / f"rows.csv{ending}", both)).tolist() == [[1, 2], [3, 4]], ending


def test_what_needs_much_memory_to_unpack_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "XZ_MEMORY", 1 << 20)
    with pytest.raises(DataError, match="is damaged xz .*emory"):
        read_array(written(tmp_path / "rows.csv.xz", lzma.compress(LINES, preset=6)))


def test_a_library_that_is_missing_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "rows.csv.zst", PRESSES[".zst"](LINES))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        DataError, match=r"needs zstandard, which is not installed; pip install 'aecompress\[formats\]'"
    ):
        read_array(path)
    with pytest.raises(DataError, match=r"needs pillow, which is not installed"):
        packed.check_library("f", "PIL")
