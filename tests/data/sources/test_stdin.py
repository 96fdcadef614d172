"""Standard input: recognised by its content, or refused."""

from __future__ import annotations

import gzip
import io
import sys
from collections.abc import Callable

import numpy as np
import pytest

from aecompress.data.base import Request
from aecompress.data.sources.registry import read
from aecompress.data.table import plain
from aecompress.errors import DataError
from tests.data.sources.files import ROWS


def piped(monkeypatch: pytest.MonkeyPatch, data: bytes, columns: str = "") -> np.ndarray:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    raw = read(Request(source="-", columns=columns))
    assert (raw.name, raw.validation, raw.test) == ("stdin", None, None)
    return plain("-", raw.train)


@pytest.mark.parametrize("press", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_standard_input_may_be_npy_or_csv(monkeypatch: pytest.MonkeyPatch, press: Callable) -> None:
    buffer = io.BytesIO()
    np.save(buffer, ROWS)
    assert np.array_equal(piped(monkeypatch, press(buffer.getvalue())), ROWS)
    assert piped(monkeypatch, press(b"a,b\n1,2\n3,4\n")).tolist() == [[1, 2], [3, 4]]
    assert piped(monkeypatch, press(b"a,b\n1,2\n3,4\n"), "b").tolist() == [[2], [4]]


def test_standard_input_that_is_closed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it after `<&-`
    with pytest.raises(DataError, match="-: standard input is closed; pipe rows"):
        read(Request(source="-"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "-: standard input is empty; pipe rows into aecompress, such as .npy or CSV"),
        (gzip.compress(b"", mtime=0), "-: standard input is empty"),
        (b"\x93NUMPY\x01", "-: cannot be read as a NumPy array"),
        (b"PK\x03\x04\xff", "-: is damaged zip"),
        (b"\x1f\x8b", "-: is damaged gzip"),
        (b"1,2\n3,x\n", "-: line 2, column 1 is 'x', not a number"),
    ],
)
def test_standard_input_that_is_no_data_is_refused(monkeypatch: pytest.MonkeyPatch, data: bytes, message: str) -> None:
    with pytest.raises(DataError) as fault:
        piped(monkeypatch, data)
    assert str(fault.value).startswith(message)
