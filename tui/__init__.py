"""The terminal UI of aecompress: follows a run folder's event log. It trains nothing and imports no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .app import WatchApp
    from .process import Child

__all__ = ["build_app"]


def build_app(folder: Path, child: Child | None = None) -> WatchApp:
    """Build the application on a run folder, or on a folder of runs.

    Args:
        folder: holds a run (``run.json`` or ``events.jsonl``), or runs.
        child: the process of the run, where this program started it.
    """
    from .app import WatchApp

    is_run = child is not None or (folder / "run.json").exists() or (folder / "events.jsonl").exists()
    return WatchApp(folder, is_run, child)
