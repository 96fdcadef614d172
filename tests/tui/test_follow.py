from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aecompress import events
from aecompress_tui import follow
from aecompress_tui.follow import Follower, decoded
from aecompress_tui.screens.runs import last_figures
from aecompress_tui.story import Story, extend
from tests.fixtures.remake import LOG
from tests.tui.conftest import write_run

WHOLE = LOG.read_bytes()


def read(folder: Path) -> tuple[Story, int]:
    """Look until nothing is left; return the story and the number of looks."""
    story, follower, looks = Story(), Follower(folder), 0
    while True:
        batch = follower.look()
        looks += 1
        extend(story, batch.events)
        story.damaged += batch.damaged
        if not batch.behind:
            return story, looks


def same(a: Story, b: Story) -> bool:
    return {**vars(a), "generations": list(a.generations)} == {**vars(b), "generations": list(b.generations)}


def test_a_half_written_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    log = folder / "events.jsonl"
    lines = WHOLE.splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:4]) + lines[4][:50])
    follower = Follower(folder)
    assert [type(event).kind for event in follower.look().events if not isinstance(event, bytes)][:1] == ["started"]
    assert follower.look().events == ()
    with log.open("ab") as more:
        more.write(lines[4][50:])
    assert follower.look().events == (events.from_json(lines[4].decode()),)


def test_a_pipe_in_the_place_of_a_log_is_not_waited_for(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    (folder / "events.jsonl").unlink()
    os.mkfifo(folder / "events.jsonl")
    assert Follower(folder).look().events == () and last_figures(folder) == ("", "", "")


def test_a_truncated_or_replaced_log_is_read_from_its_beginning(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    log = folder / "events.jsonl"
    follower = Follower(folder)
    first = follower.look()
    assert not first.restarted and len(first.events) > 20
    log.write_bytes(WHOLE.splitlines(keepends=True)[0])
    again = follower.look()
    assert again.restarted and len(again.events) == 1
    shutil.copy(LOG, tmp_path / "other")
    (tmp_path / "other").replace(log)
    assert follower.look().restarted
    assert not follower.look().restarted


def test_damaged_lines_are_counted_and_skipped(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    lines = WHOLE.splitlines()
    lines[2:2] = [b"\x00\xff\xfe", b"{}", b'{"event": "generation"}', b"", b"[1, 2]"]
    (folder / "events.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    story, _ = read(folder)
    assert story.damaged == 4
    whole = write_run(tmp_path / "whole")
    assert list(story.generations) == list(read(whole)[0].generations)


def test_a_folder_that_is_not_there_has_vanished(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "nowhere")
    assert follower.look() == follow.Batch(status="vanished")
    folder = write_run(tmp_path / "nowhere")
    assert len(follower.look().events) > 20
    shutil.rmtree(folder)
    assert follower.look().status == "vanished"


def test_a_log_longer_than_a_look_adds_up_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path / "run")
    once, looks = read(folder)
    assert looks == 1
    monkeypatch.setattr(follow, "CHUNK", 1000)
    often, looks = read(folder)
    assert looks > 10
    assert same(once, often)


def test_generations_of_a_long_look_are_decoded_on_access(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = WHOLE.splitlines()
    now, none = decoded(lines)
    monkeypatch.setattr(follow, "DECODED", 0)
    later, damaged = decoded(lines)
    assert none == damaged == 0
    assert sum(isinstance(event, bytes) for event in later) == sum(
        isinstance(event, events.Generation) for event in now
    )
    a, b = Story(), Story()
    extend(a, now)
    extend(b, later)
    assert list(a.generations) == list(b.generations) and a.best == b.best and a.layers == b.layers


def test_only_the_last_picture_of_a_look_is_decoded_but_a_resume_keeps_those_before_it() -> None:
    lines = WHOLE.splitlines()
    resumed = next(place for place, line in enumerate(lines) if b'"resumed"' in line)
    found, _ = decoded(lines)
    previews = [event for event in found if isinstance(event, events.Preview)]
    whole = [
        event for event in map(events.from_json, LOG.read_text().splitlines()) if isinstance(event, events.Preview)
    ]
    before = sum(b'"event": "preview"' in line for line in lines[:resumed])
    assert 0 < before < len(whole) - 1
    assert previews == [*whole[:before], whole[-1]]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, len(WHOLE)), max_size=8))
def test_however_a_log_grows_the_story_is_the_same(tmp_path: Path, cuts: list[int]) -> None:
    folder = tmp_path / "grows"
    shutil.rmtree(folder, ignore_errors=True)
    write_run(folder)
    whole, _ = read(folder)
    log = folder / "events.jsonl"
    log.write_bytes(b"")
    story, follower = Story(), Follower(folder)
    follower.look()
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(WHOLE)], strict=True):
        with log.open("ab") as more:
            more.write(WHOLE[start:stop])
        batch = follower.look()
        assert not batch.restarted and batch.damaged == 0
        extend(story, batch.events)
    assert same(story, whole)


def test_following_yields_what_is_new_and_ends_when_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "LOOK_SECONDS", 0.0)
    folder = write_run(tmp_path / "run")
    looks = iter(range(5))
    batches = list(follow.follow(folder, lambda: next(looks) == 4))
    assert len(batches) == 1 and batches[0].status == "finished"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=200), place=st.integers(0, len(WHOLE)))
def test_noise_anywhere_in_a_log_costs_lines_and_raises_nothing(tmp_path: Path, noise: bytes, place: int) -> None:
    folder = tmp_path / "noisy"
    shutil.rmtree(folder, ignore_errors=True)
    write_run(folder)
    (folder / "events.jsonl").write_bytes(WHOLE[:place] + noise + WHOLE[place:])
    story, _ = read(folder)
    assert story.damaged <= noise.count(b"\n") + 1
    numbers = [generation.generation for generation in story.generations]
    assert set(numbers) <= set(range(1, 9)) and len(numbers) >= 5


def test_a_folder_that_comes_back_is_read_from_its_beginning(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    follower = Follower(folder)
    first = follower.look()
    folder.rename(tmp_path / "elsewhere")
    assert follower.look() == follow.Batch(status="vanished")
    write_run(folder)
    again = follower.look()
    assert again.restarted and again.events == first.events and again.damaged == 0


def test_what_a_log_says_cannot_steer_the_terminal(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    failed = events.Failed(at=0.0, message="\x1b]0;x\x07 and \x9b31m")
    with (folder / "events.jsonl").open("a") as log:
        log.write(events.to_json(failed) + "\n")
    last = Follower(folder).look().events[-1]
    assert isinstance(last, events.Failed) and last.message == "\\x1b]0;x\\x07 and \\x9b31m"


def test_a_line_that_never_ends_is_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "LONGEST_LINE", 1000)
    monkeypatch.setattr(follow, "CHUNK", 700)
    follower, path = Follower(tmp_path), tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "failed", "at": 1, "message": "' + b"x" * 5000)
    for _ in range(8):
        assert follower.look().damaged == 0
        assert len(follower._rest) <= 1700
    path.write_bytes(path.read_bytes() + b'"}\n' + b'{"event": "failed", "at": 1, "message": "m"}\n')
    batch = follower.look()
    assert batch.damaged == 1 and len(batch.events) == 1
