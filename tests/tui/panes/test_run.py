from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from aecompress import event_log, events
from aecompress_tui.panes.ring import Ring
from aecompress_tui.screens.dialogs import Cell
from aecompress_tui.screens.run import RunScreen
from aecompress_tui.widgets import Chart
from tests.tui.driving import drive, ready, text_of, until


def test_cells_are_coloured_by_loss_or_by_sparsity_and_chosen_by_arrows(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        ring = app.screen.query_one(Ring)
        assert ring.cell == app.screen.story.best
        await pilot.press("l")
        assert ring.colour == "sparsity"
        await until(pilot, lambda: "by sparsity; * best" in text_of(app))
        await pilot.press("right")
        assert ring.cell == (app.screen.story.best + 1) % 5
        await until(pilot, lambda: f"sparsity by layer, cell {ring.cell}" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Cell) and "ancestors" in text_of(app))
        await pilot.press("right")
        await until(pilot, lambda: f"cell {(ring.cell + 1) % 5}" in text_of(app))
        await pilot.press("escape")
        assert isinstance(app.screen, RunScreen)

    drive(recorded, steps)


def test_the_chosen_cell_of_a_large_ring_is_shown(recorded: Path) -> None:
    log, cells = recorded / "events.jsonl", 100
    lines = []
    for event in event_log.read_log(log):
        if isinstance(event, events.Generation):
            many = {
                field.name: (value * cells)[:cells]
                for field in dataclasses.fields(event)
                if isinstance(value := getattr(event, field.name), tuple)
            }
            event = dataclasses.replace(event, **many)
        lines.append(events.to_json(event) + "\n")
    log.write_text("".join(lines))

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "[ 0" in text_of(app) or "[*" in text_of(app))
        while app.screen.query_one(Ring).cell != 97:
            await pilot.press("left")
        await until(pilot, lambda: "[ 97" in text_of(app))
        assert "sparsity by layer" in text_of(app)

    drive(recorded, steps, (80, 24))


def test_a_click_chooses_a_cell_and_a_second_one_opens_it(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        ring = app.screen.query_one(Ring)
        await pilot.click(Ring, offset=(10, 1))
        await until(pilot, lambda: ring.cell == 1)
        await pilot.click(Ring, offset=(10, 2))
        await until(pilot, lambda: isinstance(app.screen, Cell) and app.screen.cell == 1)

    drive(recorded, steps)


def test_curves_of_best_mean_worst_and_one_cell(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        for word in ("mean", "worst", f"cell {app.screen.story.best}", "best"):
            await pilot.press("v")
            await until(pilot, lambda word=word: f"mse, {word}" in text_of(app))

    drive(recorded, steps)


def test_a_small_terminal_shows_one_chart_and_the_key_the_next(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        seen = []
        for _ in range(3):
            shown = [chart.id for chart in app.screen.query(Chart) if chart.region.area]
            assert len(shown) == 1
            seen += shown
            await pilot.press("c")
            await pilot.pause()
        assert sorted(seen) == ["chart-loss", "chart-schedule", "chart-sparsity"]

    drive(recorded, steps, (80, 24))
