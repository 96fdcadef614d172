"""HTML for a notebook, read back by parsers of HTML and XML."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aecompress import markup
from aecompress.markup import Line, Scale

TAGS = {
    "div",
    "span",
    "b",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "svg",
    "text",
    "rect",
    "polyline",
    "circle",
    "line",
}


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


@settings(max_examples=20)
@given(st.text(max_size=8))
def test_any_text_stays_text_in_every_piece(text: str) -> None:
    hostile = f"</td></svg></div><script>x()</script><img src=x onerror=y()>\"'{text}"
    line = Line(hostile, [(1.0, 2.0), (2.0, 1.0)])
    page = markup.block(
        markup.headline(hostile, hostile),
        markup.note(hostile),
        markup.facts([(hostile, hostile)]),
        markup.table([hostile], [[hostile]]),
        markup.bars(hostile, [(hostile, 0.5)]),
        markup.side_by_side([markup.chart(hostile, hostile, [line])]),
    )
    reader = Reader()
    reader.feed(page)
    assert reader.tags <= TAGS and not {name for name in reader.names if name.startswith("on")}
    assert reader.text.count("<script>x()</script>") == 12 and "\x1b" not in reader.text


def points(svg: str) -> list[list[tuple[float, float]]]:
    """Pixels of every line of a chart."""
    lines = ET.fromstring(svg).iter("polyline")
    return [[tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()] for line in lines]  # type: ignore[misc]


def test_a_chart_goes_from_corner_to_corner_and_leaves_out_what_is_no_number() -> None:
    values = [(1.0, 100.0), (2.0, math.nan), (2.0, 10.0), (3.0, 1.0), (4.0, math.inf)]
    ((straight,),) = (points(markup.chart("loss", "epoch", [Line("a", values)])),)
    left, right = markup.LEFT, markup.WIDTH - markup.RIGHT
    top, bottom = markup.TOP, markup.HEIGHT - markup.BOTTOM
    assert straight[0] == (left, top) and straight[-1] == (right, bottom) and len(straight) == 3
    ((bent,),) = (points(markup.chart("loss", "epoch", [Line("a", values)], log=True)),)
    assert bent[1] == ((left + right) / 2, (top + bottom) / 2), "10 is halfway from 1 to 100 on a logarithmic axis"
    ((fixed,),) = (points(markup.chart("loss", "epoch", [Line("a", [(0, 50.0), (1, 50.0)])], up=Scale(0, 100))),)
    assert {y for _, y in fixed} == {(top + bottom) / 2}


@pytest.mark.parametrize("values", [[], [(1.0, math.nan)]])
def test_a_chart_of_nothing_is_nothing(values: list[tuple[float, float]]) -> None:
    assert markup.chart("loss", "epoch", [Line("a", values)]) == ""


def test_one_value_zeros_and_many_points_are_drawn() -> None:
    for values in ([(1.0, 0.0)], [(0.0, 0.0), (1.0, 0.0)], [(-1.0, 5.0), (-1.0, 5.0)]):
        svg = markup.chart("x", "y", [Line("a", values)], log=True, log_across=True)
        assert "nan" not in svg and points(svg)
    (line,) = points(markup.chart("x", "y", [Line("a", [(float(at), at % 7.0) for at in range(10_001)])]))
    assert len(line) <= markup.MOST_POINTS + 1 and line[-1][0] == markup.WIDTH - markup.RIGHT


def test_a_ring_is_around_its_point_and_every_dot_is_there() -> None:
    svg = markup.chart("x", "y", [Line("a", [(1.0, 1.0), (2.0, 3.0), (3.0, 9.0)], dotted=True, ring=1)])
    circles = [each.attrib for each in ET.fromstring(svg).iter("circle")]
    assert len(circles) == 4
    assert (circles[3]["cx"], circles[3]["cy"]) == (circles[1]["cx"], circles[1]["cy"]) and circles[3]["fill"] == "none"


def test_a_bar_is_as_long_as_what_is_done() -> None:
    assert "width:25.0%" in markup.bar(0.25) and "width:100.0%" in markup.bar(7)
