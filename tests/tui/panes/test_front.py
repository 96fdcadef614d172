from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tests.tui.driving import drive, text_of, until


def test_choosing_a_model_of_the_front_shows_its_figures(recorded: Path) -> None:
    log = recorded / "events.jsonl"
    front = {"event": "front", "at": 1e9, "cells": [2, 0], "losses": [0.06, 0.05], "nonzeros": [900, 1200]}
    log.write_text(
        "".join(line + "\n" for line in log.read_text().splitlines() if '"front"' not in line)
        + json.dumps(front)
        + "\n"
    )

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press("3")
        await until(pilot, lambda: "front: 2 models" in text_of(app))
        assert "900 of" in text_of(app)
        await pilot.press("down")
        await until(pilot, lambda: "1,200 of" in text_of(app) and "mse 0.05" in text_of(app))

    drive(recorded, steps)
