"""How long work can be stopped: it calls a function again and again, which raises."""

from __future__ import annotations

from collections.abc import Callable

Poll = Callable[[], None]
"""Called between two pieces of work, for example before every batch; raises to stop the work there."""


def no_poll() -> None:
    """Let work reach its end: a :data:`Poll` where nothing stops it."""
