"""The live view of a run, on its recorded log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from types import ModuleType, SimpleNamespace

import pytest

from aecompress import markup
from aecompress.api import view
from aecompress.api.view import drawn, few, notebook, progress_view, span
from aecompress.event_log import current, read_log
from aecompress.events import Event, Finished, Generation, Started
from tests.fixtures.remake import LOG

EVENTS = list(current(read_log(LOG)))


def test_every_event_is_passed_on_and_every_epoch_drawn_where_time_allows() -> None:
    pages: list[str] = []
    assert list(drawn(EVENTS, pages.append, count().__next__)) == EVENTS
    epochs = [event.generation for event in EVENTS if isinstance(event, Generation)]
    assert len(pages) == 2 + len(epochs), "the start, the epochs, the end"
    assert "coevo-digits" in pages[0] and "5, of 2,276 parameters" in pages[0]
    for done, page in zip(epochs[:-1], pages[1:], strict=False):
        assert f"epoch {done} of 8, " in page and " left" in page and page.count("<svg") == 2
    assert "8 epochs done; the model is chosen and checked" in pages[-2]
    assert "finished in" in pages[-1] and " left" not in pages[-1]


def test_a_fast_run_is_drawn_at_most_every_pause_but_its_ends_always() -> None:
    pages: list[str] = []
    assert list(drawn(EVENTS, pages.append, lambda: 1.0)) == EVENTS
    assert len(pages) == 3 and "8 epochs done" in pages[1] and "finished" in pages[2]


def test_the_view_ends_with_the_events_where_none_says_so() -> None:
    pages: list[str] = []
    list(drawn([event for event in EVENTS if not isinstance(event, Finished)], pages.append, lambda: 1.0))
    assert "8 epochs done<" in pages[-1] and "height:4px" not in pages[-1], "as in a fit, which writes no files"


def test_a_run_that_ends_early_is_shown_as_ended() -> None:
    def broken() -> Iterator[Event]:
        yield from EVENTS[:6]
        raise KeyboardInterrupt

    pages: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        list(drawn(broken(), pages.append, count().__next__))
    done = sum(isinstance(event, Generation) for event in EVENTS[:6])
    assert f"ended after epoch {done} of 8" in pages[-1]


def test_names_are_shown_and_not_obeyed() -> None:
    start = next(event for event in EVENTS if isinstance(event, Started))
    spec = start.spec | {"data": {"source": "</td><script>x()</script>"}}
    pages: list[str] = []
    list(drawn([replace(start, run="<b onclick='x()'>&\x1b[2J", spec=spec)], pages.append, lambda: 0.0))
    page = pages[0]
    assert "&lt;b onclick=&#x27;x()&#x27;&gt;&amp;\\x1b[2J" in page and "<script" not in page and "\x1b" not in page


def test_closing_the_view_closes_the_run() -> None:
    closed = []

    def events() -> Iterator[Event]:
        try:
            yield from EVENTS
        finally:
            closed.append(True)

    shown = progress_view(events())
    assert next(shown) == EVENTS[0] and not closed
    shown.close()  # type: ignore[attr-defined]
    assert closed


@pytest.mark.parametrize("shell", [None, SimpleNamespace(), "absent"])
def test_outside_a_notebook_there_is_no_view(shell: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    if shell != "absent":
        monkeypatch.setitem(sys.modules, "IPython", in_place_of_ipython(shell))
    assert notebook() is None
    assert list(progress_view(EVENTS)) == EVENTS


def in_place_of_ipython(shell: object) -> ModuleType:
    module = ModuleType("IPython")
    module.get_ipython = lambda: shell  # type: ignore[attr-defined]
    return module


def test_a_long_run_is_drawn_with_as_many_points_as_a_reader_sees() -> None:
    epochs = range(12_345)
    shown = few(epochs)  # type: ignore[arg-type]
    assert len(shown) <= 2 * markup.MOST_POINTS and (shown[0], shown[-1]) == (0, 12_344)  # type: ignore[comparison-overlap]
    assert list(few(epochs[:7])) == list(epochs[:7]) and list(few([])) == []  # type: ignore[arg-type]


def test_times_are_words() -> None:
    texts = [span(seconds) for seconds in (0.04, 9.96, 42, 61, 3599.7, 7260)]
    assert texts == ["0.0 s", "10.0 s", "42 s", "1 min 01 s", "1 h 00 min", "2 h 01 min"]
    assert view.PAUSE < 1 and any(isinstance(event, Finished) for event in EVENTS)
