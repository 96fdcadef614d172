from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.tui.driving import drive, text_of, until


@pytest.mark.parametrize("late", [pytest.param(False, marks=pytest.mark.slow), True], ids=["there", "comes-later"])
def test_rows_that_are_not_images_are_drawn_as_curves(recorded: Path, late: bool) -> None:
    log = recorded / "events.jsonl"
    words = log.read_text().replace('"row_shape": [8, 8]', '"row_shape": [64]')
    log.write_text("" if late else words)

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press("2")
        if late:
            await until(pilot, lambda: "No preview yet" in text_of(app))
            log.write_text(words)
        await until(pilot, lambda: "row 0: mse" in text_of(app) and "output" in text_of(app))
        assert app.focused.id == "previews"  # keys go where the curves are from the first moment
        await pilot.press("end")
        await until(pilot, lambda: "row 3: mse" in text_of(app))

    drive(recorded, steps)


def test_a_restarted_run_with_fewer_rows_shows_no_more(recorded: Path) -> None:
    log = recorded / "events.jsonl"
    lines = [
        json.loads(line) for line in log.read_text().replace('"row_shape": [8, 8]', '"row_shape": [64]').splitlines()
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press("2")
        await until(pilot, lambda: "row 0: mse" in text_of(app))
        await pilot.press("end")
        await until(pilot, lambda: "row 3: mse" in text_of(app))
        for line in lines:
            if line["event"] == "preview":
                line |= {name: line[name][:2] for name in ("rows", "reconstructions", "errors")}
        log.with_suffix(".new").write_text("".join(json.dumps(line) + "\n" for line in lines))
        log.with_suffix(".new").replace(log)
        await until(pilot, lambda: "row 0: mse" in text_of(app) and "row 1: mse" in text_of(app))
        assert "row 2: mse" not in text_of(app) and "row 3: mse" not in text_of(app)

    drive(recorded, steps)


def test_pictures_need_no_colour(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press("2")
        await until(pilot, lambda: "validation rows" in text_of(app) and "▀" in text_of(app))
        await pilot.press("b")
        await until(pilot, lambda: "▀" not in text_of(app) and "▒" in text_of(app))

    drive(recorded, steps)
