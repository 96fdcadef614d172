"""Pictures of tables, for --plot."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


def check(path: Path) -> None:
    """Check, before any work, that a picture can be drawn.

    Raises:
        SpecError: no such kind of picture, or matplotlib is not installed.
    """
    from aecompress.errors import SpecError
    from aecompress.pictures import import_matplotlib

    if path.suffix not in (".svg", ".png"):
        raise SpecError(f"--plot = {path}: draws .svg and .png; end the name in one of them")
    try:
        import_matplotlib()
    except ImportError as fault:
        raise SpecError("--plot: needs matplotlib; pip install 'aecompress[plot]'") from fault


def save(drawn: Any, path: Path) -> None:
    """Write the picture that axes belong to."""
    from aecompress.files import write_bytes

    buffer = io.BytesIO()
    drawn.figure.savefig(buffer, format=path.suffix[1:])
    write_bytes(path, buffer.getvalue())
