from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, TabbedContent

from aecompress import event_log, events
from aecompress.steering import status_of
from aecompress_tui.screens.dialogs import Confirm
from aecompress_tui.screens.launch import LaunchScreen
from aecompress_tui.screens.run import RunScreen
from tests.tui.driving import drive, text_of, until


def test_a_real_run_from_the_launch_form_to_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    seen: set[int] = set()

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LaunchScreen))
        app.screen.query_one("#field-train-epochs", Input).value = "20"
        app.screen.query_one("#field-evolve-cells", Input).value = "5"
        app.screen.query_one("#output", Input).value = "runs/live"
        await pilot.press("ctrl+r")
        await until(pilot, lambda: isinstance(app.screen, RunScreen), 60)

        def grown() -> bool:
            latest = app.screen.story.latest
            seen.add(latest.generation if latest else 0)
            return app.screen.status == "finished"

        await until(pilot, grown, 120)
        assert len(seen) > 3, "it was not watched while it ran"
        await until(pilot, lambda: "epoch 20/20" in text_of(app))
        assert len(app.screen.story.latest.validation_loss) == 5
        await pilot.press("4")
        await until(pilot, lambda: app.screen.query_one("#files", DataTable).row_count == 9)
        assert "passed" in text_of(app)
        assert app.screen.query_one(TabbedContent).active == "result"

    drive(tmp_path / "runs", steps)
    log = event_log.read_log(Path("runs/live/events.jsonl"))
    assert isinstance(log[-1], events.Finished)


@pytest.mark.slow
def test_a_run_is_paused_resumed_and_stopped_from_here_and_then_resumed(tmp_path: Path) -> None:
    folder = tmp_path / "steered"
    command = [sys.executable, "-m", "aecompress"]
    flags = ["--epochs", "4000", "--compile", "off", "--quiet", "-o", str(folder)]
    run = subprocess.Popen([*command, "prune", "digits", *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def steps(app: Any, pilot: Pilot[None]) -> None:
        async def steer(key: str, status: str) -> None:
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, Confirm))
            await pilot.press("y")
            await until(pilot, lambda: isinstance(app.screen, RunScreen) and app.screen.status == status)

        await until(pilot, lambda: app.screen.status == "running" and app.screen.story.latest is not None, 60)
        await steer("p", "paused")
        paused_at = app.screen.story.latest.generation
        await pilot.pause(1.0)
        assert app.screen.story.latest.generation == paused_at
        await steer("p", "running")
        await until(pilot, lambda: app.screen.story.latest.generation > paused_at + 2)
        await steer("s", "stopped")

    try:
        while not (folder / "events.jsonl").exists():
            assert run.poll() is None
        drive(folder, steps)
        assert run.wait(30) == 143
    finally:
        run.kill()
        run.wait()
    assert status_of(folder) == "stopped"

    resumed = subprocess.Popen([*command, "prune", "--resume", str(folder), "--quiet"], stdout=subprocess.DEVNULL)

    async def again(app: Any, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: app.screen.status == "running", 60)
        last = app.screen.story.generations[-1].generation
        await until(pilot, lambda: app.screen.story.generations[-1].generation > last)
        numbers = [generation.generation for generation in app.screen.story.generations]
        assert numbers == list(range(1, len(numbers) + 1))
        done = subprocess.run([*command, "control", str(folder), "stop"], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        await until(pilot, lambda: app.screen.status == "stopped", 60)

    try:
        drive(folder, again)
        assert resumed.wait(30) == 143
    finally:
        resumed.kill()
        resumed.wait()
