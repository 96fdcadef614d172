"""Every input of the table is read as a user means it, or refused with a sentence whose cure works."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aecompress.data.dataset import Dataset, load
from aecompress.data.sparse import few
from aecompress.errors import DataError
from aecompress.flags import FLAGS, parsed
from aecompress.plan.data import request_of
from aecompress.spec.resolve import resolve
from tests import commands
from tests.field.inputs import make
from tests.field.table import CASES, Case

RAW = ["--scaling", "none", "--split", "1,0,0"]
"""Flags that leave values and order of the rows as they are."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("field")
    make(folder)
    return folder


def loaded(words: list[str], folder: Path, stdin: Path | None = None) -> Dataset:
    """The dataset of sources and flags, as the commands read it in a folder."""
    first = next((place for place, word in enumerate(words) if word.startswith("--")), len(words))
    given = dict(zip(words[first::2], words[first + 1 :: 2], strict=True))
    fields = {flag.field: (flag.flag, parsed(given[flag.flag], flag.metavar)) for flag in FLAGS if flag.flag in given}
    spec = resolve(fields | {"data.source": ("DATA", words[0]), "data.more": ("DATA", words[1:first])}).spec
    with contextlib.chdir(folder), piped(stdin):
        return load(request_of(spec.data, 0))


@contextlib.contextmanager
def piped(file: Path | None) -> Iterator[None]:
    """Let standard input come from a file."""
    with pytest.MonkeyPatch.context() as patch:
        if file is not None:
            patch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(file.read_bytes()))))
        yield


def cured(case: Case, refusal: str, folder: Path) -> list[str]:
    """The sources and flags that a refusal advises, as they are printed in it, or what is done by hand."""
    if case.fix is not None:
        return [case.fix(folder)]
    if not case.cure.startswith("--"):
        assert case.cure in refusal
        return [case.cure]
    command = refusal[refusal.index("aecompress prune ") :]
    words = shlex.split(command)[2:]
    assert words == [*shlex.split(case.source), *shlex.split(case.cure)]
    return words


def called(case: Case) -> str:
    return " ".join(["-" if case.stdin else "", case.source, case.flags]).strip()


@pytest.mark.parametrize("case", [pytest.param(case, id=called(case)) for case in CASES])
def test_input(case: Case, folder: Path) -> None:
    words = [*(["-"] if case.stdin else shlex.split(case.source)), *shlex.split(case.flags)]
    stdin = folder / case.source if case.stdin else None
    if case.fault:
        with pytest.raises(DataError) as refused:
            loaded(words, folder, stdin)
        assert case.fault in str(refused.value)
        if case.rows is None:
            return
        words = cured(case, str(refused.value), folder)
    if case.note or case.close:
        usual = loaded(words, folder, stdin)
        assert case.note in "\n".join(usual.decisions), usual.decisions
    dataset = usual if case.close else loaded([*words, *RAW], folder, stdin)
    assert case.names in (None, dataset.inputs)
    compare(case, dataset)


def compare(case: Case, dataset: Dataset) -> None:
    """Compare all rows of a dataset with those of a case."""
    assert case.rows is not None
    expected = np.asarray(case.rows).reshape(len(case.rows), -1)
    rows = np.concatenate([few(part) for part in dataset.splits.values()])
    assert rows.shape == expected.shape
    if case.close:
        raw = rows.astype(float) * np.asarray(dataset.scaling.divisor) + np.asarray(dataset.scaling.offset)
        apart = np.abs(np.sort(raw, axis=0) - np.sort(expected, axis=0))
        assert (apart <= 1e-5 * np.ptp(expected, axis=0)).all()
    else:
        np.testing.assert_array_equal(rows, expected.astype(np.float32))


def test_the_table_has_every_input_of_the_field() -> None:
    assert len(CASES) >= 92
    assert len({(each.source, each.flags, each.stdin) for each in CASES}) == len(CASES)


@pytest.mark.parametrize("source", ["missing_sentinel.csv", "label_text.csv", "dates_german.csv", "huge.csv"])
def test_the_command_that_a_refusal_prints_works(source: str, folder: Path) -> None:
    refused = commands.aecompress("data", source, cwd=folder)
    assert refused.returncode == 2
    command = dict(line.split("\t", 1) for line in refused.stdout.splitlines())["command"]
    assert refused.stderr.endswith(f"this works: {command}\n")
    done = commands.aecompress("data", *shlex.split(command)[2:], cwd=folder)
    assert done.returncode == 0, done.stderr


def test_names_with_control_characters_reach_no_terminal(folder: Path) -> None:
    done = commands.aecompress("data", "odd_names.csv", cwd=folder)
    assert done.returncode == 0 and "\x1b" not in done.stdout + done.stderr
