"""Driving the application as a user does: keys, then waiting for what they bring."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from aecompress_tui import build_app

PATIENCE = 30.0


def drive(
    folder: Path, steps: Callable[[Any, Pilot[None]], Awaitable[None]], size: tuple[int, int] = (120, 40)
) -> None:
    """Run the application on ``folder`` and take ``steps`` in it."""

    async def run() -> None:
        app = build_app(folder)
        async with app.run_test(size=size, notifications=True) as pilot:
            await steps(app, pilot)

    asyncio.run(run())


async def until(pilot: Pilot[None], condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until ``condition`` holds; fail where it never does."""
    deadline = time.monotonic() + patience
    while True:
        try:
            if condition():
                return
        except Exception:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, "the condition never held"
        await pilot.pause(0.05)


def text_of(app: Any) -> str:
    """Return the text of the screen."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip)[:width] for strip in lines[:height])


async def ready(app: Any, pilot: Pilot[None]) -> None:
    """Wait until the run is drawn."""
    await until(pilot, lambda: "sparsity by layer" in text_of(app))
