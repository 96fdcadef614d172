"""Draw the pictures of the README from a real run: python -m tests.tui.screenshots [FOLDER]"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

os.environ["TEXTUAL_COLOR_SYSTEM"] = "truecolor"  # read when textual is imported

from aecompress_tui import build_app
from aecompress_tui.panes import TABS
from tests.tui.driving import text_of, until

PICTURES = Path(__file__).parents[2] / "docs" / "tui"
SIZE = (120, 36)
TEXTS = {"run": "sparsity by layer", "pictures": "validation rows", "front": "front: ", "result": "verified in"}
SPEC = {"data.source": "digits", "seed": 1, "evolve.cells": 8, "export.variants": ["packed"]}


async def draw(folder: Path, to: Path) -> None:
    """Draw the tabs of a run's screen, and the launch form."""
    app = build_app(folder)
    async with app.run_test(size=SIZE) as pilot:
        for tab in TABS:
            await pilot.press(tab.key)
            await until(pilot, lambda tab=tab: TEXTS[tab.name] in text_of(app))
            if tab.name == "run":
                await pilot.press("left", "left")  # from the dense cell to the one whose budget was requested
            await pilot.pause(1.5)
            app.save_screenshot(f"{tab.name}.svg", str(to))
        await pilot.press("escape", "n")
        await until(pilot, lambda: "A new run" in text_of(app))
        await pilot.pause(1)
        app.save_screenshot("launch.svg", str(to))


def main(to: Path) -> None:
    from aecompress.runs.job import prepare
    from aecompress.runs.run import run
    from aecompress.spec.resolve import resolve

    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        folder = Path("runs") / "digits"
        list(run(prepare(resolve({path: ("screenshots", value) for path, value in SPEC.items()}), folder)))
        asyncio.run(draw(folder, to))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else PICTURES)
