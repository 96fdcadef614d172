"""Every input of the table is read as a user means it, or refused with a sentence whose cure works."""

from __future__ import annotations

import contextlib
import io
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aecompress.data.dataset import Dataset, load
from aecompress.data.sparse import few
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


def loaded(words: list[str], folder: Path, stdin: Path | None) -> Dataset:
    """The dataset of a source and flags with values, as the commands read it."""
    given = dict(zip(words[1::2], words[2::2], strict=True))
    fields = {flag.field: (flag.flag, parsed(given[flag.flag], flag.metavar)) for flag in FLAGS if flag.flag in given}
    spec = resolve(fields | {"data.source": ("DATA", words[0])}).spec
    with contextlib.chdir(folder), piped(stdin):
        return load(request_of(spec.data, 0))


@contextlib.contextmanager
def piped(file: Path | None):
    """Standard input that comes from a file."""
    before = sys.stdin
    sys.stdin = SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(file.read_bytes()))) if file else before
    try:
        yield
    finally:
        sys.stdin = before


def cured(case: Case, stderr: str, folder: Path) -> list[str]:
    """The source and flags that a refusal advises, as they are printed in it, or by hand."""
    if case.fix is not None:
        return [case.fix(folder)]
    if not case.cure.startswith("--"):
        assert case.cure in stderr
        return [case.cure]
    command = next(line for line in stderr.splitlines() if "aecompress prune " in line)
    words = shlex.split(command[command.index("aecompress prune ") :])[2:]
    assert words == [case.source, *shlex.split(case.cure)]
    return words


def called(case: Case) -> str:
    return " ".join(["-" if case.stdin else "", case.source, case.flags]).strip()


def marks(case: Case) -> list[pytest.MarkDecorator]:
    return [pytest.mark.xfail(reason=case.wrong)] if case.wrong else []


@pytest.mark.parametrize("case", [pytest.param(case, id=called(case), marks=marks(case)) for case in CASES])
def test_input(case: Case, folder: Path) -> None:
    words = ["-" if case.stdin else case.source, *shlex.split(case.flags)]
    stdin = folder / case.source if case.stdin else None
    if case.fault:
        refused = commands.aecompress("data", *words, cwd=folder)
        assert refused.returncode == 2 and case.fault in refused.stderr and refused.stdout == "", refused
        assert "Traceback" not in refused.stderr and "\x1b" not in refused.stderr
        if case.rows is None:
            return
        words = cured(case, refused.stderr, folder)
    if not case.stdin:
        done = commands.aecompress("data", *words, cwd=folder)
        assert done.returncode == 0 and case.note in done.stderr and "\x1b" not in done.stdout + done.stderr, done
    dataset = loaded(words if case.close else [*words, *RAW], folder, stdin)
    check(case, dataset)


def check(case: Case, dataset: Dataset) -> None:
    """Compare all rows of a dataset, and the names of its inputs, with those of a case."""
    assert case.rows is not None
    expected = np.asarray(case.rows).reshape(len(case.rows), -1)
    rows = np.concatenate([few(part) for part in dataset.splits.values()])
    if case.close:
        offset, divisor = np.asarray(dataset.scaling.offset), np.asarray(dataset.scaling.divisor)
        raw = rows.astype(float) * divisor + offset
        span = np.ptp(expected, axis=0)
        assert raw.shape == expected.shape
        assert (np.abs(np.sort(raw, axis=0) - np.sort(expected, axis=0)) <= 1e-5 * span + 1e-9).all()
    else:
        assert rows.shape == expected.shape
        np.testing.assert_array_equal(rows, expected.astype(np.float32))
    if case.names is not None:
        assert dataset.inputs == case.names


def test_the_table_has_every_input_of_the_field() -> None:
    assert len(CASES) >= 92
    assert len({(each.source, each.flags, each.stdin) for each in CASES}) == len(CASES)
