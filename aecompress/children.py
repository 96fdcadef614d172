"""Commands of child processes that import what this process does, and nothing from the working folder.

`python -c` and `python -m` look into the working folder first, where a `numba.py` may lie beside downloaded data.
"""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE_ROOT = Path(__file__).parents[1]
"""The folder that holds the package."""
_START = "import sys; n = int(sys.argv[1]) + 2; sys.path[:], sys.argv[1:] = sys.argv[2:n], sys.argv[n:]; "


def isolated(code: str, *arguments: str) -> list[str]:
    """Return the command that runs ``code`` with ``arguments`` as its ``sys.argv[1:]``, isolated from this folder.

    The package's own folder comes last, for where it was found there, or by a finder of an editable installation.
    """
    here = Path.cwd()
    paths = [path for path in sys.path if path and Path(path).resolve() != here] + [str(PACKAGE_ROOT)]
    return [sys.executable, "-I", "-c", _START + code, str(len(paths)), *paths, *arguments]


def command_line(*arguments: str) -> list[str]:
    """Return the command that runs ``aecompress`` with ``arguments``."""
    return isolated("sys.argv[0] = 'aecompress'; from aecompress.start import main; main()", *arguments)
