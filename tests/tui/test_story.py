from __future__ import annotations

import dataclasses
import math

import pytest

from aecompress import event_log, events
from aecompress_tui.story import SUMMARIES, Generations, Story, describe, extend, series
from tests.fixtures.remake import LOG

LOGGED = event_log.read_log(LOG)
GENERATIONS = [event for event in event_log.current(LOGGED) if isinstance(event, events.Generation)]


def story_of(log: list[events.Event]) -> Story:
    story = Story()
    extend(story, log)
    return story


def test_a_finished_run_adds_up() -> None:
    story = story_of(LOGGED)
    assert list(story.generations) == GENERATIONS
    assert story.total == 8 and story.latest == GENERATIONS[-1]
    assert story.front == next(event for event in LOGGED if isinstance(event, events.Front))
    assert len(story.saved) == 9 and story.verified is not None and story.verified.passed
    assert isinstance(story.ended, events.Finished)
    assert story.best == min(range(5), key=GENERATIONS[-1].validation_loss.__getitem__)
    assert story.pace == pytest.approx(len(GENERATIONS) / sum(event.seconds for event in GENERATIONS))
    listed = [event for event in LOGGED if not isinstance(event, events.LayerSparsity | events.Preview)]
    assert list(story.log) == listed and story.count == len(listed)


def test_a_resume_removes_what_came_after_its_checkpoint() -> None:
    place = next(i for i, event in enumerate(LOGGED) if isinstance(event, events.Resumed))
    resumed = LOGGED[place]
    assert isinstance(resumed, events.Resumed)
    # As after a kill: the log continues beyond the checkpoint that the run is resumed from.
    beyond = [
        dataclasses.replace(event, generation=number)
        for number in (6, 7)
        for event in LOGGED[1:place]
        if isinstance(event, events.Generation | events.LayerSparsity | events.Preview)
    ]
    log = [*LOGGED[:place], *beyond, resumed]
    before = story_of(log[:-1])
    assert isinstance(before.ended, events.Stopped) and before.latest is not None
    assert before.latest.generation == 7
    assert before.preview is not None and before.preview.generation == 7
    after = story_of(log)
    assert [event.generation for event in after.generations] == list(range(1, resumed.generation + 1))
    assert after.ended is None and not after.saved and after.front is None
    for event in (after.layers, after.preview):
        assert event is None or event.generation <= resumed.generation
    assert after.before == pytest.approx(log[-2].at - LOGGED[0].at)
    assert after.elapsed(None) == pytest.approx(after.before)
    assert after.elapsed(resumed.at + 5) == pytest.approx(after.before + 5)


def test_the_best_cell_is_one_with_a_loss() -> None:
    lost = dataclasses.replace(GENERATIONS[-1], validation_loss=(math.nan, math.inf, 0.5, math.nan, 0.7))
    assert story_of([lost]).best == 2
    assert SUMMARIES["best"](lost.validation_loss) == 0.5
    assert math.isnan(SUMMARIES["worst"](lost.validation_loss))


def test_an_empty_story_has_no_figures() -> None:
    story = Story()
    assert (story.latest, story.total, story.best, story.pace, story.elapsed(9.0)) == (None, 0, 0, 0.0, 0.0)


@pytest.mark.parametrize("points", [2, 3, 5, 8, 100])
def test_a_series_keeps_the_first_and_the_last(points: int) -> None:
    numbers, values = series(GENERATIONS, lambda event: event.actual, points)
    assert numbers[0] == 1 and numbers[-1] == 8
    assert len(numbers) == len(values) == min(points, 8)
    assert numbers == sorted(set(numbers))
    assert values == [GENERATIONS[number - 1].actual for number in numbers]
    assert series([], lambda event: event.actual, points) == ([], [])


def test_generations_given_as_lines_are_the_same_and_damaged_ones_are_replaced() -> None:
    generations = Generations()
    for event in GENERATIONS[:-1]:
        generations.add(events.to_json(event).encode())
    generations.add(GENERATIONS[-1])
    assert list(generations) == GENERATIONS
    assert generations[-2] == GENERATIONS[-2] and generations[2:4] == GENERATIONS[2:4]
    torn = Generations()
    torn.add(b'{"event": "generation", "at": }')
    torn.add(b'{"event": "generation"}')
    torn.add(GENERATIONS[3])
    assert list(torn) == [GENERATIONS[3]] * 3


def test_every_kind_of_event_has_a_line() -> None:
    latest = {type(event): event for event in LOGGED} | {
        events.Paused: events.Paused(at=0.0, generation=3, waiting=True),
        events.Failed: events.Failed(at=0.0, message="no memory"),
    }
    assert set(latest) == set(events.KINDS.values())
    lines = [describe(event) for event in latest.values()]
    assert all(line and "\n" not in line for line in lines)
    assert len(set(lines)) == len(lines)
    assert describe(events.Paused(at=0.0, generation=3, waiting=False)) == "resumed"
    assert describe(events.Profiled(at=0.0, seconds={"a": 1.0, "training": 2.0})) == "training took 2.0 of 3.0 s"
    assert describe(events.Profiled(at=0.0, seconds={})) == "nothing took 0.0 of 0.0 s"
