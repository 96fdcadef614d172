"""Execute a notebook by a kernel of this interpreter: python -m tests.execute NOTEBOOK FOLDER writes FOLDER/done.ipynb

A process of its own, because the client of kernels leaves sockets open at its end.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def execute(source: Path, folder: Path) -> None:
    """Execute the notebook with ``folder`` as the working folder, and write it there with its outputs."""
    spec = folder / "kernels" / "this"
    spec.mkdir(parents=True)
    argv = [sys.executable, "-Xfrozen_modules=off", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (spec / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "this", "language": "python"}))
    os.environ["JUPYTER_PATH"] = str(folder)
    notebook = nbformat.read(source, as_version=4)
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, kernel_name="this", timeout=120, resources=where).execute()
    nbformat.write(notebook, folder / "done.ipynb")


if __name__ == "__main__":
    execute(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
