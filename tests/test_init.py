"""The package as a user meets it first: its names, its help, and the time to import it."""

from __future__ import annotations

import contextlib
import io
import pydoc
import subprocess
import sys

import pytest

import aecompress
from aecompress.children import isolated

LIMIT = 0.05
"""Seconds of CPU that importing the package may take."""


def test_importing_the_package_is_quick_and_imports_no_library() -> None:
    code = (
        "import sys, time; before = time.process_time(); import aecompress; print(time.process_time() - before)\n"
        "print(*{name.split('.')[0] for name in sys.modules} & {'torch', 'numpy', 'onnx', 'IPython', 'pydantic'})"
    )
    done = subprocess.run(isolated(code), capture_output=True, text=True, check=True)
    seconds, found = done.stdout.splitlines()
    assert float(seconds) < LIMIT and found == ""


def test_dir_has_the_public_names_and_each_is_there() -> None:
    names = set(dir(aecompress))
    assert names == {*aecompress.__all__, "__version__"} and set(aecompress.__all__) == set(aecompress._HOMES)
    assert aecompress.__all__ == sorted(aecompress.__all__)
    assert {"Autoencoder", "RunSpec", "compress", "run", "load", "Result", "Front", "History"} <= names
    assert all(getattr(aecompress, name).__doc__ for name in aecompress.__all__)
    with pytest.raises(AttributeError, match="no attribute 'prune'"):
        aecompress.prune  # noqa: B018


def test_help_shows_the_public_names_and_lines_to_start_from() -> None:
    page = io.StringIO()
    with contextlib.redirect_stdout(page):
        pydoc.doc(aecompress, output=page)
    text = page.getvalue()
    assert ">>> import aecompress" in text and ".result()" in text
    assert (
        "    run(spec:" in text
        and "    compress(module:" in text
        and "    load(folder:" in text
        and "class RunSpec(" in text
        and "class Autoencoder(" in text
    )
    assert sys.modules["aecompress"] is aecompress
