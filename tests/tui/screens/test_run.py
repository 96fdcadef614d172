from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from aecompress_tui.screens.dialogs import Confirm
from aecompress_tui.screens.run import RunScreen
from tests.fixtures.remake import LOG
from tests.tui.conftest import write_run
from tests.tui.driving import drive, ready, text_of, until


def test_names_with_brackets_are_names(recorded: Path) -> None:
    folder = write_run(Path("runs") / "a [red]b[x]")

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "a [red]b[x]" in text_of(app))
        for key in "1234":
            await pilot.press(key)
        await until(pilot, lambda: str(folder) in text_of(app))

    drive(folder, steps)
    drive(Path("runs"), lambda app, pilot: until(pilot, lambda: "a [red]b[x]" in text_of(app)))


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
        await until(pilot, lambda: "epoch 1/8" in text_of(app))

    drive(recorded, steps)


def test_a_folder_that_vanishes_and_comes_back(recorded: Path) -> None:
    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await ready(app, pilot)
        shutil.rmtree(recorded)
        await until(pilot, lambda: app.screen.status == "vanished" and "vanished" in text_of(app))
        write_run(recorded)
        await until(pilot, lambda: app.screen.status == "finished" and "epoch 8/8" in text_of(app))

    drive(recorded, steps)


def test_a_killed_run_is_distinguished_from_a_running_one(recorded: Path) -> None:
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
