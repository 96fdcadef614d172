"""Events: one JSON line each, and back to the same value."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aecompress import event_log, events
from aecompress.errors import DataError

EXAMPLES: list[events.Event] = [
    events.Started(
        at=1700000000.25,
        version=events.VERSION,
        run="digits-1",
        spec={"seed": 0, "data": {"source": "digits", "split": [0.8, 0.1, 0.1]}, "model": {"hidden": "auto"}},
        parameters=123,
        cells=2,
        generations=9,
        layers=("encoder.0", "decoder.0"),
        rows={"train": 10, "test": 2},
        row_shape=(8, 8),
        device="cpu",
        engine="eager (default)",
        decisions=("rows are split in order: 10 train, 2 test",),
    ),
    events.Generation(
        at=2.0,
        generation=1,
        metric="mse",
        train_loss=(0.1, math.inf),
        validation_loss=(-math.inf, 1e-300),
        sparsity=(0.0, 1 / 3),
        learning_rate=(1e-3, 2e-3),
        parents=(0, 0),
        order=(1, 0),
        capacity=(1.0, 0.75),
        target=0.5,
        actual=0.25,
        seconds=0.125,
    ),
    events.LayerSparsity(at=3.0, generation=1, layers=("encoder.0", "decoder.0"), sparsity=((0.5, 0.25), (0.0, 1.0))),
    events.Pruned(at=4.0, generation=1, cells=(0, 1), zeros=(5, 7)),
    events.Preview(
        at=5.0,
        generation=1,
        cell=1,
        rows=((0.0, 1.0), (0.5, 0.25)),
        reconstructions=((0.1, 0.9), (math.inf, 0.3)),
        errors=(0.1, math.inf),
    ),
    events.Checkpoint(at=5.25, generation=1, path="checkpoint/generation-000001.safetensors"),
    events.Resumed(at=5.5, generation=1, note="generation-000002.safetensors is damaged"),
    events.Paused(at=5.75, generation=1, waiting=True),
    events.Front(at=5.875, cells=(1, 0), losses=(math.inf, 0.25), nonzeros=(10, 20)),
    events.Saved(at=6.0, file="autoencoder", path="model/autoencoder.onnx", bytes=4096),
    events.Verified(at=7.0, passed=False, max_difference=math.inf, tolerance=1e-5, checks=31),
    events.Compared(
        at=7.5,
        files=("dense", "a.onnx"),
        bytes=(100, 25),
        nonzeros=(9, 3),
        losses=(math.inf, 0.5),
        batches=(1, 64),
        milliseconds=((2.0, 4.0), (1.0, 2.5)),
        quartiles=(((1.9, 2.1), (3.9, 4.1)), ((0.9, 1.1), (1.0, 4.5))),
        ratios=(((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)), ((1.8, 2.0, 2.2), (0.7, 1.6, math.inf))),
        notes=("kept",),
        baselines=("constant",),
        baseline_losses=(0.75,),
        baseline_nonzeros=(4,),
    ),
    events.Profiled(at=8.5, seconds={"training": 1.5}),
    events.Stopped(at=8.0, generation=4, reason="stopped by signal 2 after generation 4"),
    events.Finished(
        at=9.0,
        metrics={"test_mse": 0.01, "test_l1": math.inf},
        sparsity=0.8,
        zeros=80,
        parameters=100,
        seconds=12.5,
    ),
    events.Failed(at=10.0, message='two\nlines, "quotes", ünïcode \u2028 and \\'),
]
by_kind = pytest.mark.parametrize("event", EXAMPLES, ids=[event.kind for event in EXAMPLES])


def strict(line: str) -> dict:
    """The line read by a JSON parser that knows no Infinity and no NaN."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    return json.loads(line, parse_constant=refuse)


def test_the_examples_cover_every_kind_once() -> None:
    assert {event.kind: type(event) for event in EXAMPLES} == events.KINDS
    assert len(EXAMPLES) == len(events.KINDS) == 16


def test_events_are_built_with_keywords_alone() -> None:
    for cls in events.KINDS.values():
        with pytest.raises(TypeError, match="positional"):
            cls(1.0)  # type: ignore[call-arg]


@by_kind
def test_reading_a_written_event_gives_it_back(event: events.Event) -> None:
    assert events.from_json(events.to_json(event)) == event


def test_a_line_of_an_older_log_has_no_decisions() -> None:
    values = strict(events.to_json(EXAMPLES[0]))
    del values["decisions"]
    assert events.from_json(json.dumps(values)) == replace(EXAMPLES[0], decisions=())


@by_kind
def test_writing_a_read_line_gives_it_back(event: events.Event) -> None:
    line = events.to_json(event)
    assert events.to_json(events.from_json(line)) == line


@by_kind
def test_an_event_is_one_line_of_strict_json_that_names_its_kind(event: events.Event) -> None:
    line = events.to_json(event)
    assert line.splitlines() == [line]
    values = strict(line)
    assert values["event"] == event.kind
    assert values["at"] == event.at


@by_kind
def test_a_line_cut_anywhere_is_refused(event: events.Event) -> None:
    line = events.to_json(event)
    for end in range(0, len(line), 1 + len(line) // 60):
        with pytest.raises(DataError, match="event log"):
            events.from_json(line[:end])
    with pytest.raises(DataError, match="event log"):
        events.from_json(line[:-1])


@by_kind
def test_a_line_without_one_of_its_fields_is_refused(event: events.Event) -> None:
    values = json.loads(events.to_json(event))
    for name in values.keys() - {"decisions", "network", "baselines", "baseline_losses", "baseline_nonzeros"}:
        line = json.dumps({key: value for key, value in values.items() if key != name})
        with pytest.raises(DataError, match="event log"):
            events.from_json(line)


@pytest.mark.parametrize(
    "line",
    [
        "",
        " ",
        "{}",
        "[]",
        "3",
        "null",
        '"failed"',
        "not json",
        '{"event": []}',
        '{"event": "unheard-of", "at": 1.0}',
        '{"event": "failed", "at": "soon", "message": ""}',
        '{"event": "failed", "at": null, "message": ""}',
        '{"event": "failed", "at": 1%s, "message": ""}' % ("0" * 400),
        '{"event": "pruned", "at": 1.0, "generation": 1, "cells": 3, "zeros": []}',
    ],
)
def test_a_line_that_is_not_an_event_is_refused_with_its_beginning(line: str) -> None:
    with pytest.raises(DataError) as fault:
        events.from_json(line)
    assert repr(line[:80]) in str(fault.value)
    assert "remove the line" in str(fault.value)


def test_a_log_of_a_later_version_is_refused() -> None:
    values = json.loads(events.to_json(EXAMPLES[0]))
    with pytest.raises(DataError, match="version"):
        events.from_json(json.dumps(values | {"version": events.VERSION + 1}))


def test_not_a_number_survives_the_trip() -> None:
    unknown = events.Verified(at=1.0, passed=True, max_difference=math.nan, tolerance=1e-5, checks=1)
    back = events.from_json(events.to_json(unknown))
    assert isinstance(back, events.Verified)
    assert math.isnan(back.max_difference)


def test_whole_numbers_come_back_as_floats_where_the_field_is_a_float() -> None:
    back = events.from_json('{"event": "saved", "at": 6, "file": "a", "path": "b", "bytes": 3}')
    assert back == events.Saved(at=6.0, file="a", path="b", bytes=3)
    assert isinstance(back.at, float)


floats = st.floats(allow_nan=False)
times = st.floats(0, events.LATEST)
rows = st.lists(st.lists(floats, max_size=3).map(tuple), max_size=3).map(tuple)


@given(at=times, message=st.text())
@settings(deadline=None, max_examples=50)
def test_any_text_survives_the_trip(at: float, message: str) -> None:
    event = events.Failed(at=at, message=message)
    assert events.from_json(events.to_json(event)) == event


@given(shown=rows, metrics=st.dictionaries(st.text(), floats, max_size=3), count=st.integers())
@settings(deadline=None, max_examples=50)
def test_any_numbers_survive_the_trip(shown: tuple, metrics: dict, count: int) -> None:
    for event in (
        events.Preview(at=0.0, generation=count, cell=0, rows=shown, reconstructions=shown, errors=(0.0,) * len(shown)),
        events.Finished(at=0.0, metrics=metrics, sparsity=0.5, zeros=count, parameters=count, seconds=1.0),
    ):
        assert events.from_json(events.to_json(event)) == event
        strict(events.to_json(event))


# ---------------------------------------------------------------- the log


def written(path: Path, *lines: str) -> Path:
    path.write_bytes("\n".join(lines).encode(errors="surrogateescape"))
    return path


def test_a_log_is_read_in_order(tmp_path: Path) -> None:
    path = written(tmp_path / "events.jsonl", *(events.to_json(event) for event in EXAMPLES), "")
    assert event_log.read_log(path) == EXAMPLES


def test_lines_that_are_damaged_or_half_written_are_skipped(tmp_path: Path) -> None:
    first, second = (events.to_json(event) for event in EXAMPLES[-2:])
    damage = ["", "{", first[:-7], "\udcff\udcfe", '{"event": "unheard-of"}', "[" * 100_000]
    path = written(tmp_path / "events.jsonl", first, *damage, second, second[: len(second) // 2])
    assert event_log.read_log(path) == EXAMPLES[-2:]


def test_an_empty_log_has_no_events(tmp_path: Path) -> None:
    assert event_log.read_log(written(tmp_path / "events.jsonl")) == []


def generation(number: int, at: float = 0.0) -> events.Pruned:
    return events.Pruned(at=at, generation=number, cells=(0,), zeros=(number,))


def resumed_at(number: int, note: str = "", at: float = 9.0) -> events.Resumed:
    return events.Resumed(at=at, generation=number, note=note)


def test_without_a_resume_every_event_holds() -> None:
    assert event_log.current(EXAMPLES[:5]) == EXAMPLES[:5]
    assert event_log.current(iter([])) == []


def test_a_resume_supersedes_the_generations_after_its_own() -> None:
    started, resumed = EXAMPLES[0], resumed_at(2)
    before = [generation(number) for number in (1, 2, 3, 4)]
    after = [generation(number, 10.0) for number in (3, 4)]
    assert event_log.current([started, *before, resumed, *after]) == [started, *before[:2], resumed, *after]


def test_the_before_and_after_table_shows_intervals_and_no_order_where_none_is_known() -> None:
    (compared,) = (event for event in EXAMPLES if isinstance(event, events.Compared))
    head, dense, other, constant = compared.table()
    calls = ("ms, 1 row", "faster, 1 row", "ms, 64 rows", "faster, 64 rows")
    assert head == ("file", "bytes", "smaller", *calls, "loss", "non-zeros")
    assert dense == ("dense", "100", "1.0x", "2.0000", "1.00x", "4.0000", "1.00x", "", "9")
    busy = ("1.0000-4.5000", "machine busy, not measured")
    assert other == ("a.onnx", "25", "4.0x", "1.0000", "1.80-2.20x", *busy, "0.500000", "3")
    assert constant == ("constant", *[""] * 6, "0.750000", "4")
    alike = replace(compared, ratios=(compared.ratios[0], ((0.9, 1.0, 1.1),) * 2))
    assert (alike.table()[2][4], alike.table()[2][6]) == ("same", "same")


def test_how_an_earlier_attempt_ended_no_longer_holds_after_a_resume() -> None:
    resumed = resumed_at(2)
    ends: list[events.Event] = [
        events.Stopped(at=1.0, generation=2, reason=""),
        events.Failed(at=1.0, message=""),
        events.Paused(at=1.0, generation=1, waiting=True),
    ]
    assert event_log.current([generation(1), *ends, resumed]) == [generation(1), resumed]
    assert event_log.current([resumed, *ends]) == [resumed, *ends]


@pytest.mark.parametrize("kind", ["front", "saved", "verified", "finished"])
def test_events_after_the_last_generation_no_longer_holds_after_a_resume(kind: str) -> None:
    (end,) = (event for event in EXAMPLES if event.kind == kind)
    resumed = resumed_at(2)
    assert event_log.current([generation(2), end, resumed, end]) == [generation(2), resumed, end]


def test_of_several_resumes_each_supersedes_what_came_before() -> None:
    first, second = resumed_at(3, "first", 1.0), resumed_at(1, "second", 2.0)
    log = [generation(1), generation(2), generation(3), first, generation(4), second, generation(2, 3.0)]
    assert event_log.current(log) == [generation(1), second, generation(2, 3.0)]
    later = resumed_at(3, "later", 2.0)
    assert event_log.current([generation(3), first, generation(4), later]) == [generation(3), first, later]


@pytest.mark.parametrize(
    "changes",
    [
        {"validation_loss": [1.0]}, {"generation": "3"}, {"generation": True}, {"metric": 5}, {"parents": 3},
        {"order": {"a": 1}}, {"seconds": "soon"},
    ],
    ids=str,
)  # fmt: skip
def test_a_line_with_a_value_of_another_type_or_length_is_no_event(changes: dict[str, Any]) -> None:
    log = Path(__file__).parent / "fixtures" / "coevo-digits.events.jsonl"
    line = next(line for line in log.read_text().splitlines() if line.startswith('{"event": "generation"'))
    assert events.from_json(line)
    with pytest.raises(DataError, match="is not an event this version knows"):
        events.from_json(json.dumps({**json.loads(line), **changes}))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("layer-sparsity", {"sparsity": []}),
        ("layer-sparsity", {"layers": ["one"]}), ("layer-sparsity", {"sparsity": [[0.5], [0.5, 0.5]]}),
        ("finished", {"at": 1e308}), ("finished", {"at": "nan"}), ("compared", {"batches": [1]}),
        ("preview", {"rows": [[0.5]], "reconstructions": [[]], "errors": [0.5]}),
        ("generation", {name: [] for name in events.ALIKE[events.Generation][0]}),
    ],
    ids=str,
)  # fmt: skip
def test_a_line_of_which_the_parts_do_not_go_together_is_no_event(kind: str, changes: dict[str, Any]) -> None:
    example = next(json.loads(events.to_json(one)) for one in EXAMPLES if one.kind == kind)
    assert events.from_json(json.dumps(example))
    with pytest.raises(DataError, match="is not an event this version knows"):
        events.from_json(json.dumps({**example, **changes}))


def test_a_setting_that_the_log_does_not_have_is_none() -> None:
    log = Path(__file__).parent / "fixtures" / "coevo-digits.events.jsonl"
    started = next(event for event in event_log.read_log(log) if isinstance(event, events.Started))
    assert started.setting("prune.drive") in ("target", "probability")
    assert started.setting("prune.drive.deeper") is None and started.setting("nothing") is None


def test_a_line_that_never_ends_is_skipped_and_the_next_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "LONGEST_LINE", 300)
    first, last = (events.to_json(events.Failed(at=1.0, message=text)) for text in ("one", "two"))
    path = tmp_path / "events.jsonl"
    for long in (299, 300, 301, 600, 5000):
        path.write_text(first + "\n" + events.to_json(events.Failed(at=1.0, message="x" * long)) + "\n" + last + "\n")
        assert [event.message for event in event_log.read_log(path)] == ["one", "two"]
