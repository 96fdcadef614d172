"""matplotlib as it comes: a file in the working folder says nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aecompress.children import isolated

CODE = "from aecompress.pictures import import_matplotlib; import_matplotlib(); "


@pytest.mark.parametrize(
    "code", [CODE, pytest.param(f"{CODE}import torchmetrics.functional.retrieval; ", marks=pytest.mark.slow)]
)
def test_a_matplotlibrc_of_the_working_folder_is_not_read(tmp_path: Path, code: str) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: module://stranger\nlines.linewidth: 7\n")
    read = "from matplotlib import rcParams; print(rcParams['text.usetex'], rcParams['lines.linewidth'])"
    done = subprocess.run(isolated(code + read), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "False 1.5\n", done.stderr


def test_the_working_folder_is_the_same_afterwards(tmp_path: Path) -> None:
    code = CODE + "import os; print(os.getcwd())"
    done = subprocess.run(isolated(code), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path}\n"
