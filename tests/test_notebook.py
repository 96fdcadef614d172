"""The example notebook, executed by a kernel of this interpreter."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest

from aecompress.children import PACKAGE_ROOT, isolated

NOTEBOOK = Path(__file__).parents[1] / "examples" / "notebook.ipynb"


def displayed(cell: Any) -> list[Any]:
    """Return what a cell displays, by kind of content."""
    return [output.data for output in cell.outputs if "data" in output]


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("notebook")
    places = ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "IPYTHONDIR", "MPLCONFIGDIR")
    environment = os.environ | {name: str(folder / name.lower()) for name in places}
    environment |= {"JUPYTER_PLATFORM_DIRS": "1", "PYTHONPATH": str(PACKAGE_ROOT)}
    command = isolated("import runpy; runpy.run_module('tests.execute', run_name='__main__', alter_sys=True)")
    subprocess.run([*command, str(NOTEBOOK), str(folder)], env=environment, check=True, timeout=200)
    done = nbformat.read(folder / "done.ipynb", as_version=4)
    return {cell.id: cell for cell in done.cells if cell.cell_type == "code"}


def test_the_repository_has_the_notebook_without_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 5 and not any(cell.outputs or cell.execution_count for cell in code)


@pytest.mark.slow
def test_every_cell_runs_and_prints_no_warning(cells: dict[str, Any]) -> None:
    for name, cell in cells.items():
        assert not [output for output in cell.outputs if output.output_type in ("stream", "error")], name


@pytest.mark.slow
def test_the_live_view_ends_as_finished_and_the_rest_is_shown_as_pages_and_pictures(cells: dict[str, Any]) -> None:
    for name, title in {"fit": "<b>Autoencoder</b>", "result": "<b>run</b>"}.items():
        (view,) = displayed(cells[name])
        assert title in view["text/html"] and "finished in" in view["text/html"]
        assert view["text/html"].count("<svg") == 2
    for name in ("front", "export", "prepare", "look"):
        (page,) = displayed(cells[name])
        assert "<div" in page["text/html"] and page["text/plain"], name
    for name in ("reconstruct", "errors", "front-figure", "history"):
        (picture,) = displayed(cells[name])
        assert "image/png" in picture, name
