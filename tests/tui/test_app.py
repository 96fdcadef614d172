from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static, TabbedContent

from aecompress import events
from aecompress_tui import build_app
from aecompress_tui.screens.dialogs import Cell, Confirm
from aecompress_tui.screens.launch import LaunchScreen
from aecompress_tui.screens.run import RunScreen
from aecompress_tui.screens.runs import RunsScreen
from aecompress_tui.widgets import Chart, Ring
from tests.fixtures.remake import LOG
from tests.tui.conftest import write_run
from tests.tui.driving import drive, text_of, until

SIZES = [(80, 24), (120, 40)]
PARTS = {"1": "zeros by layer", "2": "validation rows", "3": "front: ", "4": "verified in onnxruntime"}


async def ready(app: Any, pilot: Pilot[None]) -> None:
    await until(pilot, lambda: "zeros by layer" in text_of(app))


def test_every_part_of_a_finished_run_is_reached_by_its_key(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        assert "finished" in text_of(app)
        assert "generation 8/8" in text_of(app)
        for key, words in PARTS.items():
            await pilot.press(key)
            await until(pilot, lambda words=words: words in text_of(app))

    drive(recorded, steps)


@pytest.mark.parametrize("size", [*SIZES, (200, 60)])
@pytest.mark.parametrize("key", PARTS)
def test_every_part_fits_every_terminal(recorded: Path, size: tuple[int, int], key: str) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press(key)
        await until(pilot, lambda: PARTS[key] in text_of(app))
        shown = text_of(app).split("\n")
        assert len(shown) == size[1]
        assert "Help" in shown[-1] or "palette" in shown[-1]

    drive(recorded, steps, size)


def test_cells_are_coloured_by_loss_or_by_zeros_and_chosen_by_arrows(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        ring = app.screen.query_one(Ring)
        assert ring.cell == app.screen.story.best
        await pilot.press("l")
        assert ring.colour == "sparsity"
        await until(pilot, lambda: "by zeros; * best" in text_of(app))
        await pilot.press("right")
        assert ring.cell == (app.screen.story.best + 1) % 5
        await until(pilot, lambda: f"zeros by layer, cell {ring.cell}" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Cell) and "ancestors" in text_of(app))
        await pilot.press("right")
        await until(pilot, lambda: f"cell {(ring.cell + 1) % 5}" in text_of(app))
        await pilot.press("escape")
        assert isinstance(app.screen, RunScreen)

    drive(recorded, steps)


def test_the_chosen_cell_of_a_large_ring_is_shown(recorded: Path) -> None:
    log, cells = recorded / "events.jsonl", 100
    wide = []
    for event in events.read_log(log):
        if isinstance(event, events.Generation):
            many = {
                field.name: (value * cells)[:cells]
                for field in dataclasses.fields(event)
                if isinstance(value := getattr(event, field.name), tuple)
            }
            event = dataclasses.replace(event, **many)
        wide.append(events.to_json(event) + "\n")
    log.write_text("".join(wide))

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "[ 0" in text_of(app) or "[*" in text_of(app))
        while app.screen.query_one(Ring).cell != 97:
            await pilot.press("left")
        await until(pilot, lambda: "[ 97" in text_of(app))
        assert "zeros by layer" in text_of(app)

    drive(recorded, steps, (80, 24))


def test_names_with_brackets_are_names(recorded: Path) -> None:
    folder = write_run(Path("runs") / "a [red]b[x]")

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "a [red]b[x]" in text_of(app))
        for key in "1234":
            await pilot.press(key)
        await until(pilot, lambda: str(folder) in text_of(app))

    drive(folder, steps)
    drive(Path("runs"), lambda app, pilot: until(pilot, lambda: "a [red]b[x]" in text_of(app)))


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


def test_choosing_a_pair_of_the_front_shows_its_figures(recorded: Path) -> None:
    log = recorded / "events.jsonl"
    front = {"event": "front", "at": 1e9, "cells": [2, 0], "losses": [0.06, 0.05], "nonzeros": [900, 1200]}
    log.write_text(
        "".join(line + "\n" for line in log.read_text().splitlines() if '"front"' not in line)
        + json.dumps(front)
        + "\n"
    )

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press("3")
        await until(pilot, lambda: "front: 2 pair(s)" in text_of(app))
        assert "900 of" in text_of(app)
        await pilot.press("down")
        await until(pilot, lambda: "1,200 of" in text_of(app) and "mse 0.05" in text_of(app))

    drive(recorded, steps)


def test_files_that_come_while_the_result_is_open_are_chosen_by_keys(recorded: Path) -> None:
    log = recorded / "events.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    first = next(i for i, line in enumerate(lines) if '"saved"' in line)
    log.write_text("".join(lines[:first]))

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        await pilot.press("4")
        files = app.screen.query_one("#files", DataTable)
        await until(pilot, lambda: not files.display and app.focused is None)
        with log.open("a") as more:
            more.writelines(lines[first:])
        await until(pilot, lambda: files.row_count == 8 and app.focused is files)
        await pilot.press("down")
        assert files.cursor_row == 1

    drive(recorded, steps)


def test_a_path_is_copied_and_a_report_is_written_and_opened(recorded: Path) -> None:
    opened: list[str] = []

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press("4")
        await until(pilot, lambda: app.screen.query_one("#files", DataTable).row_count == 8)
        await pilot.press("down", "y")
        assert app.clipboard == str(recorded / "model" / "model.safetensors")
        app.open_url = opened.append
        await pilot.press("o")
        await until(pilot, lambda: bool(opened), patience=60)
        assert opened == [(recorded / "report.html").resolve().as_uri()]
        assert "<title>coevo-digits</title>" in (recorded / "report.html").read_text()
        (recorded / "report.html").unlink()
        (recorded / "report.html").mkdir()
        await pilot.press("o")
        await until(pilot, lambda: any("is a folder" in n.message for n in app._notifications), patience=60)

    drive(recorded, steps)


@pytest.mark.parametrize("late", [False, True], ids=["there", "comes-later"])
def test_rows_that_are_no_images_are_drawn_as_curves(recorded: Path, late: bool) -> None:
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


def test_a_run_begun_anew_with_fewer_rows_shows_no_more(recorded: Path) -> None:
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


@pytest.mark.parametrize("colours", ["standard", "256"])
def test_a_terminal_of_few_colours_shows_every_part(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, colours: str
) -> None:
    monkeypatch.setattr("textual.constants.COLOR_SYSTEM", colours)

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        assert app.console.color_system == colours
        await ready(app, pilot)
        for key, words in PARTS.items():
            await pilot.press(key)
            await until(pilot, lambda words=words: words in text_of(app))
            if key == "2":
                await until(pilot, lambda: ("▀" in text_of(app)) == (colours == "256"))

    drive(recorded, steps)


def test_help_palette_and_themes(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        await pilot.press("question_mark")
        await until(pilot, lambda: "aecompress watch" in text_of(app))
        await pilot.press("escape")
        dark = app.theme
        await pilot.press("d")
        assert app.theme != dark
        await pilot.press("ctrl+p")
        await pilot.press(*"show result")
        await until(pilot, lambda: "A part of this run" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.screen.query_one(TabbedContent).active == "result")

    drive(recorded, steps)


def test_the_list_of_runs_opens_one_and_comes_back(recorded: Path) -> None:
    write_run(Path("runs/killed"), "running")
    (Path("runs") / "no-run").mkdir()

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        assert isinstance(app.screen, RunsScreen)
        await until(pilot, lambda: app.screen.query_one(DataTable).row_count == 2)
        shown = text_of(app)
        assert "killed" in shown and "finished" in shown and "3 d ago" in shown
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and "zeros by layer" in text_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))

    drive(Path("runs"), steps)


def test_the_list_of_runs_shows_how_far_a_sweep_is(recorded: Path) -> None:
    progress = {"study": "paper", "status": "stopped", "runs": 12, "finished": ["a", "b", "c"], "failed": {"d": "why"}}
    (Path("runs") / "sweep.json").write_text(json.dumps(progress))

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "3 of 12 runs, 1 failed, stopped" in text_of(app))
        assert "paper  █████░░░░░░░░░░░░░░░" in text_of(app)
        progress["finished"] = list("abcdefghijkl")
        (Path("runs") / "sweep.json").write_text(json.dumps(progress | {"status": "finished", "failed": {}}))
        await until(pilot, lambda: "12 of 12 runs, finished" in text_of(app))

    drive(Path("runs"), steps)


def test_an_empty_folder_of_runs_says_how_to_start_one(tmp_path: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "n starts one" in text_of(app))
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))

    drive(tmp_path, steps)


def test_the_form_shows_its_command_line_and_what_is_wrong(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        app.screen.query_one("#output", Input).value = "runs/new"
        app.screen.query_one("#field-train-epochs", Input).value = "-3"
        await until(pilot, lambda: app.screen.query_one("#start").disabled)
        assert "train.epochs = -3 (--epochs)" in str(app.screen.query_one("#faults", Static).content)
        app.screen.query_one("#field-train-epochs", Input).value = "30"
        await until(pilot, lambda: not app.screen.query_one("#start").disabled)
        assert str(app.screen.query_one("#command", Static).content) == (
            "aecompress prune digits --epochs 30 -o runs/new"
        )
        app.screen.query_one("#output", Input).value = str(recorded)
        await until(pilot, lambda: "is not empty" in str(app.screen.query_one("#faults", Static).content))

    drive(Path("runs"), steps)


def test_a_run_that_cannot_start_says_why_in_the_form(tmp_path: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        app.screen.query_one("#data", Input).value = "missing.npy"
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "missing.npy: no such file" in str(app.screen.query_one("#faults", Static).content))
        assert isinstance(app.screen, LaunchScreen)
        assert not list(tmp_path.iterdir())

    drive(tmp_path, steps)


def test_a_damaged_log_is_shown_as_far_as_it_can_be_read(recorded: Path) -> None:
    log = recorded / "events.jsonl"
    lines = log.read_bytes().split(b"\n")
    lines[3] = b"\xff\xfe{garbage"
    log.write_bytes(b"\n".join(lines)[:-40])

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        await pilot.press("4")
        await until(pilot, lambda: "1 damaged line(s)" in text_of(app))

    drive(recorded, steps)


def test_a_truncated_log_starts_the_story_anew(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        lines = LOG.read_text().splitlines(keepends=True)
        (recorded / "events.jsonl").write_text("".join(lines[:3]))
        await until(pilot, lambda: "generation 1/8" in text_of(app))

    drive(recorded, steps)


def test_a_folder_that_vanishes_and_comes_back(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        shutil.rmtree(recorded)
        await until(pilot, lambda: app.screen.status == "vanished" and "vanished" in text_of(app))
        write_run(recorded)
        await until(pilot, lambda: app.screen.status == "finished" and "generation 8/8" in text_of(app))

    drive(recorded, steps)


def test_a_killed_run_is_told_from_a_running_one(recorded: Path) -> None:
    folder = write_run(Path("runs/killed"), "running")

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.status == "killed" and "killed" in text_of(app))
        await pilot.press("p")
        assert not isinstance(app.screen, Confirm)

    drive(folder, steps)


def test_steering_is_confirmed_and_written_to_control(recorded: Path) -> None:
    import fcntl

    folder = write_run(Path("runs/live"), "running")

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.status == "running")
        for key, word in (("p", "pause"), ("s", "stop")):
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            await pilot.press("n")
            await until(pilot, lambda: isinstance(app.screen, RunScreen))
            assert not (folder / "control").exists() or word == "stop"
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            await pilot.press("y")
            await until(pilot, lambda word=word: (folder / "control").read_text() == word + "\n")
            await until(pilot, lambda: isinstance(app.screen, RunScreen))

    with (folder / "events.jsonl").open("a") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        drive(folder, steps)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("key", PARTS)
def test_snapshots_of_a_run(recorded: Path, snap_compare: Any, size: tuple[int, int], key: str) -> None:
    async def before(pilot: Pilot[None]) -> None:
        await pilot.press(key)
        await until(pilot, lambda: PARTS[key] in text_of(pilot.app))
        await pilot.pause(0.7)

    assert snap_compare(build_app(recorded), terminal_size=size, run_before=before)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("screen", ["runs", "launch", "cell", "help"])
def test_snapshots_of_the_other_screens(recorded: Path, snap_compare: Any, size: tuple[int, int], screen: str) -> None:
    async def before(pilot: Pilot[None]) -> None:
        app = pilot.app
        if screen in ("runs", "launch"):
            await until(pilot, lambda: "3 d ago" in text_of(app))
        else:
            await ready(app, pilot)
        if screen == "launch":
            await pilot.press("n")
            await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
            app.screen.query_one("#data", Input).cursor_blink = False
            app.screen.query_one("#output", Input).value = "runs/new"
        elif screen != "runs":
            await pilot.press("enter" if screen == "cell" else "question_mark")
        await pilot.pause(0.7)

    folder = recorded if screen in ("cell", "help") else recorded.parent
    assert snap_compare(build_app(folder), terminal_size=size, run_before=before)
