from __future__ import annotations

import dataclasses
import math

import pytest

from aecompress import events
from aecompress_tui.story import SUMMARIES, Generations, Story, describe, series, tell
from tests.fixtures.remake import LOG

SAID = events.read_log(LOG)
HELD = [event for event in events.current(SAID) if isinstance(event, events.Generation)]


def story_of(said: list[events.Event]) -> Story:
    story = Story()
    tell(story, said)
    return story


def test_a_finished_run_adds_up() -> None:
    story = story_of(SAID)
    assert list(story.generations) == HELD
    assert story.total == 8 and story.latest == HELD[-1]
    assert story.front == next(event for event in SAID if isinstance(event, events.Front))
    assert len(story.saved) == 8 and story.verified is not None and story.verified.passed
    assert isinstance(story.ended, events.Finished)
    assert story.best == min(range(5), key=HELD[-1].validation_loss.__getitem__)
    assert story.pace == pytest.approx(len(HELD) / sum(event.seconds for event in HELD))
    assert story.count == len(story.told) == sum(not isinstance(e, events.LayerSparsity | events.Preview) for e in SAID)


def test_a_resume_takes_back_what_came_after_its_checkpoint() -> None:
    place = next(i for i, event in enumerate(SAID) if isinstance(event, events.Resumed))
    resumed = SAID[place]
    assert isinstance(resumed, events.Resumed)
    # As after a kill: the log goes on beyond the checkpoint that the run is resumed from.
    beyond = [
        dataclasses.replace(event, generation=number)
        for number in (6, 7)
        for event in SAID[1:place]
        if isinstance(event, events.Generation | events.LayerSparsity | events.Preview)
    ]
    said = [*SAID[:place], *beyond, resumed]
    before = story_of(said[:-1])
    assert isinstance(before.ended, events.Stopped) and before.latest is not None
    assert before.latest.generation == 7
    assert before.preview is not None and before.preview.generation == 7
    after = story_of(said)
    assert [event.generation for event in after.generations] == list(range(1, resumed.generation + 1))
    assert after.ended is None and not after.saved and after.front is None
    for held in (after.layers, after.preview):
        assert held is None or held.generation <= resumed.generation
    assert after.before == pytest.approx(said[-2].at - SAID[0].at)
    assert after.elapsed(None) == pytest.approx(after.before)
    assert after.elapsed(resumed.at + 5) == pytest.approx(after.before + 5)


def test_the_best_cell_is_one_with_a_loss() -> None:
    lost = dataclasses.replace(HELD[-1], validation_loss=(math.nan, math.inf, 0.5, math.nan, 0.7))
    assert story_of([lost]).best == 2
    assert SUMMARIES["best"](lost.validation_loss) == 0.5
    assert math.isnan(SUMMARIES["worst"](lost.validation_loss))


def test_an_empty_story_has_no_figures() -> None:
    story = Story()
    assert (story.latest, story.total, story.best, story.pace, story.elapsed(9.0)) == (None, 0, 0, 0.0, 0.0)


@pytest.mark.parametrize("points", [2, 3, 5, 8, 100])
def test_a_series_keeps_the_first_and_the_last(points: int) -> None:
    numbers, values = series(HELD, lambda event: event.actual, points)
    assert numbers[0] == 1 and numbers[-1] == 8
    assert len(numbers) == len(values) == min(points, 8)
    assert numbers == sorted(set(numbers))
    assert values == [HELD[number - 1].actual for number in numbers]
    assert series([], lambda event: event.actual, points) == ([], [])


def test_generations_given_as_lines_are_the_same_and_damaged_ones_give_way() -> None:
    held = Generations()
    for event in HELD[:-1]:
        held.add(events.to_json(event).encode())
    held.add(HELD[-1])
    assert list(held) == HELD and held[-2] == HELD[-2] and held[2:4] == HELD[2:4]
    torn = Generations()
    torn.add(b'{"event": "generation", "at": }')
    torn.add(b'{"event": "generation"}')
    torn.add(HELD[3])
    assert list(torn) == [HELD[3]] * 3


def test_every_kind_of_event_has_a_line() -> None:
    said = {type(event): event for event in SAID} | {
        events.Paused: events.Paused(at=0.0, generation=3, waiting=True),
        events.Failed: events.Failed(at=0.0, message="no memory"),
    }
    assert set(said) == set(events.KINDS.values())
    lines = [describe(event) for event in said.values()]
    assert all(line and "\n" not in line for line in lines)
    assert len(set(lines)) == len(lines)
    assert describe(events.Paused(at=0.0, generation=3, waiting=False)) == "going on"
