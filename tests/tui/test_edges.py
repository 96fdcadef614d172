"""Edge cases of the terminal UI: damaged logs, far neighbours, odd shapes, names that are too long."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from textual.app import App
from textual.pilot import Pilot
from typer.testing import CliRunner

from aecompress import event_log, events
from aecompress.cli.main import app
from aecompress_tui import draw
from aecompress_tui.follow import Follower, decoded
from aecompress_tui.form import Request, arguments, faults
from aecompress_tui.screens import runs
from aecompress_tui.story import Story, extend
from tests.fixtures.remake import LOG
from tests.tui.conftest import write_run
from tests.tui.driving import drive


def test_a_damaged_generation_before_a_resume(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    lines = LOG.read_bytes().splitlines()
    resumed = next(i for i, line in enumerate(lines) if b'"resumed"' in line)
    place = max(i for i in range(resumed) if lines[i].startswith(b'{"event": "generation"'))
    lines[place] = lines[place][:60] + b"\0\0" + lines[place][80:]
    lines += [next(line for line in lines if b'"event": "pruned"' in line)] * 150
    (folder / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    extend(Story(), Follower(folder).look().events)


@pytest.mark.parametrize(("flag", "assigned"), [("-3", "5"), ("5", "-3")])
def test_the_form_and_the_command_line_agree_on_what_overrides(tmp_path: Path, flag: str, assigned: str) -> None:
    form = Request(
        data="digits",
        preset="default",
        texts={"train.epochs": flag},
        more=f"train.epochs={assigned}",
        output=str(tmp_path / "new"),
    )
    done = CliRunner().invoke(app, ["spec", *arguments(form)[1:-2]])
    assert (faults(form) == []) == (done.exit_code == 0)


def test_a_parent_far_away_is_shown_whole() -> None:
    parents = [14 if cell == 12 else cell for cell in range(20)]
    assert "12<1 " not in draw.ring([0.0] * 20, ["v"] * 20, parents, 0, 0, 120).plain


def test_channels_first_with_a_width_of_three() -> None:
    row = [100.0 * c + 10 * y + x for c in range(3) for y in range(5) for x in range(3)]
    assert draw.image(row, (3, 5, 3)) == [[100.0 + 10 * y + x for x in range(3)] for y in range(5)]


def test_the_list_of_runs_shows_the_best_loss_that_is_one(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    event = next(e for e in event_log.read_log(LOG) if isinstance(e, events.Generation))
    values = vars(event) | {"validation_loss": (math.nan, *event.validation_loss[1:])}
    (folder / "events.jsonl").write_text(events.to_json(events.Generation(**values)) + "\n")
    assert "nan" not in str(runs.last_figures(folder))


def test_a_damaged_last_preview_leaves_the_one_before() -> None:
    lines = LOG.read_bytes().splitlines()
    last = max(i for i, line in enumerate(lines) if line.startswith(b'{"event": "preview"'))
    lines[last] = b'{"event": "preview", "at": 1}'
    found, _ = decoded(lines)
    assert max(e.generation for e in found if isinstance(e, events.Preview)) == 7


def test_normalizing_a_range_beyond_float() -> None:
    assert all(0 <= share <= 1 for share in draw.normalized([-1.7e308, 1.7e308]))


def test_numbers_at_the_ends_of_float_are_left_out_of_plots(tmp_path: Path) -> None:
    assert draw.drawable([1, 2, 3, 4], [1e308, -1e308, math.nan, 0.5]) == [(4, 0.5)]
    folder, lines = write_run(tmp_path / "run"), []
    for line in LOG.read_text().splitlines():
        event = json.loads(line)
        for name in ("train_loss", "sparsity", "learning_rate", "losses"):
            if isinstance(event.get(name), list):
                event[name] = [-1e308, *event[name][1:]]
        if event["event"] == "preview":
            event["rows"][0][0], event["reconstructions"][0][0] = 1e308, -1e308
        lines.append(json.dumps(event | ({"actual": -1e308, "target": 1e308} if "actual" in event else {})))
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n")

    async def steps(app: App[None], pilot: Pilot[None]) -> None:
        for key in "cc2v3":
            await pilot.press(key)
            await pilot.pause()

    drive(folder, steps, (80, 24))


def test_a_name_too_long_for_the_system_is_a_fault() -> None:
    assert faults(Request(data="digits", preset="default", texts={}, more="", output="a" * 5000)) != []
