from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from aecompress_tui import draw

FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@given(FLOATS, st.integers(1, 60))
def test_a_bar_is_as_wide_as_requested(share: float, width: int) -> None:
    drawn = draw.bar(share, width)
    assert len(drawn) == width
    if math.isfinite(share):
        assert drawn.count("█") == math.floor(round(min(max(share, 0), 1) * width * 8) / 8)


@given(FLOATS.map(abs))
def test_a_loss_takes_at_most_six_characters(value: float) -> None:
    assert len(draw.short(value)) <= 6


@given(st.lists(FLOATS, min_size=1, max_size=20))
def test_shares_of_a_range(values: list[float]) -> None:
    shares = draw.normalized(values)
    assert len(shares) == len(values) and all(0 <= share <= 1 for share in shares)
    finite = [value for value in values if math.isfinite(value)]
    if len(set(finite)) > 1 and math.isfinite(max(finite) - min(finite)):
        assert shares[values.index(min(finite))] == 0 and shares[values.index(max(finite))] == 1


def test_spans_of_time() -> None:
    assert [draw.span(s) for s in (0, 61.9, 3723, math.nan)] == ["0:00", "1:01", "1:02:03", "?"]


@given(st.integers(1, 120), st.integers(16, 130), st.data())
def test_every_cell_is_on_the_ring_once_and_is_found_where_it_is_drawn(
    count: int, width: int, data: st.DataObject
) -> None:
    chosen = data.draw(st.integers(0, count - 1))
    parents = data.draw(st.lists(st.integers(0, count - 1), min_size=count, max_size=count))
    text = draw.ring([0.1 * cell for cell in range(count)], ["v"] * count, parents, chosen, 0, width)
    lines = text.plain.split("\n")
    assert len(lines) == 2 * draw.ring_rows(count, width)
    assert max(map(len, lines)) <= width
    found = {}
    for y in range(0, len(lines), 2):
        for match in re.finditer(r"(?<![\d<])\d+", lines[y]):
            found[int(match[0])] = (match.start(), y)
    assert sorted(found) == list(range(count))
    for cell, (x, y) in found.items():
        assert draw.cell_at(x, y, count, width) == draw.cell_at(x, y + 1, count, width) == cell
    x, y = found[chosen]
    assert "[" in lines[y][x - 2 : x]
    assert draw.cell_at(-1, 0, count, width) is draw.cell_at(0, -1, count, width) is None
    assert draw.cell_at(width + 50, 0, count, width) is None


def test_neighbours_on_the_loop_are_neighbours_on_the_screen() -> None:
    width, count = 44, 10
    lines = draw.ring([0.0] * count, ["v"] * count, range(count), 0, 0, width).plain.split("\n")
    first = [int(n) for n in re.findall(r"\d+", lines[0])]
    second = [int(n) for n in re.findall(r"\d+", lines[2])]
    assert first == [0, 1, 2, 3, 4] and second == [9, 8, 7, 6, 5]


def test_where_an_individual_came_from() -> None:
    line = draw.ring([0.0] * 5, ["v"] * 5, [4, 2, 2, 0, 4], 0, 0, 80).plain
    assert "*0<" in line and "1>" in line and "3<0" in line
    assert re.search(r"2 ", line) and re.search(r"4 ", line)


@pytest.mark.parametrize(
    ("shape", "image"),
    [
        ((8, 8), (8, 8)),
        ((3, 4, 5), (4, 5)),
        ((4, 5, 3), (4, 5)),
        ((1, 4, 5), (4, 5)),
        ((64,), None),
        ((1, 9), None),
        ((64, 6), None),
        ((6, 24), None),
        ((7, 24), (7, 24)),
    ],
)
def test_which_rows_are_images(shape: tuple[int, ...], image: tuple[int, int] | None) -> None:
    assert draw.image_shape(shape) == image


def test_columns_of_a_series_are_drawn_one_after_another() -> None:
    row = [10.0 * place + column for place in range(4) for column in range(2)]
    assert draw.by_column(row, (4, 2)) == [0, 10, 20, 30, 1, 11, 21, 31]
    assert draw.by_column(row, (2, 4)) == draw.by_column(row, (8,)) == row


def test_colour_channels_are_averaged_wherever_they_are() -> None:
    # channel c of pixel (y, x) is 100 c + 10 y + x
    first = [100.0 * c + 10 * y + x for c in range(3) for y in range(2) for x in range(4)]
    last = [100.0 * c + 10 * y + x for y in range(2) for x in range(4) for c in range(3)]
    expected = [[100.0 + 10 * y + x for x in range(4)] for y in range(2)]
    assert draw.image(first, (3, 2, 4)) == draw.image(last, (2, 4, 3)) == expected
    assert draw.image(first[:8], (2, 4)) == [[0.0, 1.0, 2.0, 3.0], [10.0, 11.0, 12.0, 13.0]]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))
def test_pictures_have_the_size_they_should(height: int, width: int, times: int) -> None:
    lines = [[float(x + y) for x in range(width)] for y in range(height)]
    large = draw.enlarged(lines, times)
    assert (len(large), len(large[0])) == (height * times, width * times)
    assert draw.shrunk(large, times) == lines
    for coloured in (True, False):
        drawn = draw.picture(lines, 0.0, 16.0, coloured)
        assert len(drawn) == -(-height // 2) and {line.cell_len for line in drawn} == {width}
        assert {c for line in drawn for c in line.plain} <= ({"▀"} if coloured else set(draw.SHADES))


def test_a_picture_shows_dark_and_bright() -> None:
    assert [line.plain for line in draw.picture([[0.0, 1.0], [0.0, 1.0]], 0.0, 1.0, False)] == [" █"]
    line = draw.picture([[0.0, 1.0], [math.nan, 5.0]], 0.0, 1.0, True)[0]
    colours = [span.style.color.triplet.red for span in line.spans]  # type: ignore[union-attr]
    assert colours == [0, 255]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 8), st.integers(30, 200), st.integers(5, 60))
def test_what_is_enlarged_fits(height: int, width: int, blocks: int, columns: int, lines: int) -> None:
    times, smaller = draw.fitting((height, width), blocks, columns, lines)
    assert times == 1 or smaller == 1
    drawn = -(-width // smaller) * times
    assert 3 * drawn <= max(columns, 3)


@given(st.integers(1, 120), st.integers(16, 130))
def test_the_loop_is_a_block_that_fits_with_neighbours_side_by_side(count: int, width: int) -> None:
    text = draw.ring([0.0] * count, ["v"] * count, range(count), 0, 0, width)
    lines = [line.cell_len for line in text.split("\n")]
    assert len(set(lines[:-1])) == 1 and lines[-1] <= lines[0] <= width
    places: dict[int, tuple[int, int]] = {}
    for y in range(0, len(lines), 2):
        for x in range(1, width, draw.CELL_WIDTH):
            cell = draw.cell_at(x, y, count, width)
            if cell is not None:
                assert cell not in places
                places[cell] = (x, y)
                for across in range(draw.CELL_WIDTH):
                    assert draw.cell_at(x + across, y, count, width) == cell
    assert sorted(places) == list(range(count))
    for cell in range(count - 1):
        (x, y), (right, below) = places[cell], places[cell + 1]
        assert (abs(right - x), below - y) in {(draw.CELL_WIDTH, 0), (0, 2)}


@given(st.lists(st.lists(st.text("ab█", max_size=6), max_size=5), min_size=1, max_size=4), st.integers(0, 3))
def test_blocks_side_by_side_start_where_they_should(blocks: list[list[str]], gap: int) -> None:
    drawn = draw.beside([[Text(line) for line in block] for block in blocks], gap).plain
    lines = drawn.split("\n") if drawn else []
    assert len(lines) <= max(map(len, blocks))
    place = 0
    for block in blocks:
        for y, line in enumerate(block):
            shown = lines[y] if y < len(lines) else ""
            assert shown[place : place + len(line)] == line
        place += max(map(len, block), default=0) + gap


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 5))
def test_a_shrunk_picture_has_every_pixel_in_one_block(height: int, width: int, factor: int) -> None:
    small = draw.shrunk([[3.0] * width for _ in range(height)], factor)
    assert (len(small), {len(line) for line in small}) == (-(-height // factor), {-(-width // factor)})
    assert all(value == pytest.approx(3.0) for line in small for value in line)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 8), st.integers(10, 200), st.integers(5, 60))
def test_a_block_is_enlarged_only_where_it_fits_the_width(
    height: int, width: int, blocks: int, columns: int, lines: int
) -> None:
    times, _ = draw.fitting((height, width), blocks, columns, lines)
    assert times == 1 or 3 * width * times + 2 * draw.GAP <= columns
