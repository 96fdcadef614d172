"""The data sets of the suite: the table keeps its own rules, and cells become inputs as it says."""

from __future__ import annotations

import importlib
import io
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecompress.data.dataset import load
from aecompress.plan.data import request_of
from aecompress.spec.resolve import resolve

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # a folder of plain modules, which import each other
sets: Any = importlib.import_module("suite_sets")
read: Any = importlib.import_module("suite_read")
KEPT_AWAY = ("lfw", "pbmc68k", "italypower", "daphnet", "shuttle")


def test_the_table_has_what_the_suite_needs() -> None:
    kinds = Counter(row.kind for row in sets.SETS)
    assert len({row.name for row in sets.SETS}) == len(sets.SETS) >= 16
    assert all(count >= 2 for count in kinds.values()) and len(kinds) == 10
    assert all(100 <= row.rows <= 60_000 and 8 <= row.inputs <= 2_000 for row in sets.SETS)
    assert sum(row.rows > 10_000 for row in sets.SETS) >= 2
    assert sum(row.kind == "wide, few rows" and row.rows < row.inputs for row in sets.SETS) >= 3
    assert not [row.name for row in sets.SETS for word in KEPT_AWAY if word in f"{row.name} {row.source}".lower()]


def test_the_halves_follow_their_rule() -> None:
    for kind in {row.kind for row in sets.SETS}:
        rows = sorted((row for row in sets.SETS if row.kind == kind), key=lambda row: row.name)
        rows.sort(key=lambda row: row.name not in sets.TUNED_BEFORE)
        halves: Counter[str] = Counter()
        for row in rows:
            fewer = "proof" if halves["proof"] < halves["tuning"] else "tuning"
            assert row.half == ("tuning" if row.name in sets.TUNED_BEFORE else fewer), row.name
            halves[row.half] += 1
        assert halves["tuning"] and halves["proof"], kind


@pytest.mark.parametrize(
    ("inputs", "hidden", "latent"), [(9, 16, 3), (24, 16, 4), (625, 128, 32), (765, 128, 32), (144, 64, 16)]
)
def test_the_network_follows_from_the_inputs(inputs: int, hidden: int, latent: int) -> None:
    row = sets.SetRow(**{**vars(sets.SETS[0]), "shape": (500, inputs)})
    assert (row.hidden, row.latent) == ((hidden,), latent)


def test_a_set_is_written_once_and_split_as_by_default(tmp_path: Path) -> None:
    rows = sets.rows_of("breast_cancer", tmp_path)
    assert (rows.shape, rows.dtype) == ((569, 30), np.float32)
    assert [file.name for file in tmp_path.iterdir()] == ["breast_cancer.npy"]
    spec = resolve({"data.source": ("", str(tmp_path / "breast_cancer.npy")), "seed": ("", 3)}).spec
    expected, dataset = load(request_of(spec.data, 3)), sets.dataset_of("breast_cancer", tmp_path, 3)
    assert dataset.fingerprint == expected.fingerprint
    assert np.array_equal(dataset.test, expected.test) and len(dataset.test) == 57


def test_other_rows_than_those_of_the_table_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "digits.npy", np.zeros((1797, 64), np.float32))
    assert sets.main(["--folder", str(tmp_path), "--only", "digits"]) == 2
    assert "digits: (1797, 64) cells are not those that the table has" in capsys.readouterr().err
    assert sets.main(["--folder", str(tmp_path), "--only", "lfw"]) == 2
    assert "--only lfw: is none of dna, " in capsys.readouterr().err


def test_columns_become_inputs() -> None:
    columns = read.csv_columns("size,cut\n1,good\n2.5,fair\n3,good\n")
    assert read.one_hot(columns).tolist() == [[1, 0, 1], [2.5, 1, 0], [3, 0, 1]]
    table = read.numbers(
        {"a": np.asarray([1, -(2**31)], np.int32), "b": np.asarray(["x", "y"]), "c": np.ones(2)}, ["c"]
    )
    assert read.whole_rows(table).tolist() == [[1]]


def test_words_of_texts_are_counted() -> None:
    texts = ["The sun, the sea https://the.example/the", "SEA!", "a sun"]
    assert read.word_counts(texts, 3).tolist() == [[1, 1, 2], [1, 0, 0], [0, 1, 0]]


def test_patches_lie_side_by_side() -> None:
    image = np.arange(4 * 5 * 3, dtype=float).reshape(4, 5, 3)
    grey = image.mean(axis=2)
    found = read.patches(image, 2)
    assert np.array_equal(found.reshape(2, 2, 2, 2)[1, 0], grey[2:4, :2]) and found.shape == (4, 4)


def test_files_inside_packages_are_read(tmp_path: Path) -> None:
    def packed(name: str, content: bytes) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        return buffer.getvalue()

    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("a/rows.csv", b"1,2\n")
    (tmp_path / "a.tar.gz").write_bytes(packed("a/inner.tar.gz", packed("rows.csv", b"1,2\n")))
    assert read.in_wheel(tmp_path / "a.whl", "a/rows.csv") == b"1,2\n"
    assert read.in_nested_tar(tmp_path / "a.tar.gz", "a/inner.tar.gz", "rows.csv") == b"1,2\n"


def test_the_page_has_every_set() -> None:
    page = (Path(__file__).parents[1] / "docs" / "suite.md").read_text()
    for row in sets.SETS:
        size = f"{row.rows:,} x {row.inputs:,} | {row.hidden[0]}, {row.latent}"
        assert f"| {row.name} | {row.kind} | {row.half} | {size} | {row.source} | {row.note} |" in page
