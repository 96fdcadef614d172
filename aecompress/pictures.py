"""matplotlib without what lies in the working folder."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from pathlib import Path


def import_matplotlib() -> None:
    """Import matplotlib, which reads a ``matplotlibrc`` of the working folder before any other, from another folder.

    Such a file beside downloaded data could name programs to run (``text.usetex``) and modules to import.

    Raises:
        ImportError: it is not installed.
    """
    if "matplotlib" in sys.modules:
        return
    found = importlib.util.find_spec("matplotlib")
    if found is None or found.origin is None:
        raise ImportError("matplotlib")
    with contextlib.chdir(Path(found.origin).parent):
        import matplotlib  # noqa: F401
