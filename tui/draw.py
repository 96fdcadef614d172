"""Values as coloured text: pure functions from numbers to Rich text, no widget in sight."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.color import Color
from rich.style import Style
from rich.text import Text

SHADES = " ░▒▓█"
GAP, BLOCK_GAP = 2, 4
"""Columns between the pictures of a block, and between blocks."""
EIGHTHS = " ▏▎▍▌▋▊▉█"
RAMP = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
"""Dark to bright, even to the eye (viridis, van der Walt and Smith 2015)."""


def ramp(share: float) -> tuple[int, int, int]:
    """Return the colour at ``share`` in [0, 1] of the ramp."""
    share = min(max(share, 0.0), 1.0) * (len(RAMP) - 1)
    low = min(int(share), len(RAMP) - 2)
    part = share - low
    a, b = RAMP[low], RAMP[low + 1]
    return tuple(round(x + (y - x) * part) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def on(colour: tuple[int, int, int]) -> Style:
    """Return the style of readable text on ``colour``."""
    bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 128
    ink = Color.from_rgb(0, 0, 0) if bright else Color.from_rgb(255, 255, 255)
    return Style(color=ink, bgcolor=Color.from_rgb(*colour))


LARGEST = 1e30
"""A plot shows no larger value: the arithmetic of plotext overflows at numbers that floats still hold."""


def drawable(xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
    """Return the points that a plot can show."""
    return [point for point in zip(xs, ys, strict=True) if all(-LARGEST <= value <= LARGEST for value in point)]


def normalized(values: Sequence[float]) -> list[float]:
    """Return values as shares of their range; what is not finite is 1."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    width = high - low
    if not 0 < width < math.inf:
        return [0.0 if math.isfinite(value) else 1.0 for value in values]
    return [(value - low) / width if math.isfinite(value) else 1.0 for value in values]


def bar(share: float, width: int) -> str:
    """Return a bar of ``width`` characters, filled to eighths of one; what is not finite is empty."""
    filled = round(min(max(share, 0.0), 1.0) * width * 8) if math.isfinite(share) else 0
    whole, part = divmod(filled, 8)
    return "█" * whole + (
        EIGHTHS[part] + "·" * (width - whole - 1) if whole < width and part else "·" * (width - whole)
    )


def short(value: float) -> str:
    """Return a loss, which is never negative, in at most six characters."""
    if not math.isfinite(value):
        return str(value)
    if value != 0 and (abs(value) < 0.001 or abs(value) >= 1000):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3g}"


def span(seconds: float) -> str:
    """Return a length of time: 1:02:03, or 0:07."""
    if not math.isfinite(seconds):
        return "?"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


CELL_WIDTH = 7


def _columns(count: int, width: int) -> int:
    return max(1, min(-(-count // 2), (width - 2) // CELL_WIDTH))


def ring_rows(count: int, width: int) -> int:
    """Return the rows of cells that a ring of ``count`` takes; each is two lines."""
    return -(-count // _columns(count, width))


def row_of(cell: int, count: int, width: int) -> int:
    """Return the row of cells in which a cell is drawn."""
    return cell // _columns(count, width)


def cell_at(x: int, y: int, count: int, width: int) -> int | None:
    """Return the cell drawn at column ``x`` and line ``y`` of a ring."""
    columns = _columns(count, width)
    row, column = y // 2, (x - 1) // CELL_WIDTH
    if x < 1 or y < 0 or column >= columns:
        return None
    cell = row * columns + (columns - 1 - column if row % 2 else column)
    return cell if cell < count else None


def ring(
    values: Sequence[float], labels: Sequence[str], parents: Sequence[int], chosen: int, best: int, width: int
) -> Text:
    """Draw the ring as a loop of cells: rows run right and left in turn, the last cell is a neighbour of the first.

    A cell shows its number, where its individual came from (``<`` its left neighbour, ``>`` its right one, ``<`` and a
    number, or ``«``, for one further away, nothing where it stayed), and its value. ``*`` marks the best, brackets the
    chosen one.
    """
    count = len(values)
    columns = _columns(count, width)
    rows = ring_rows(count, width)
    shades = normalized(values)
    text = Text(no_wrap=True)
    for row in range(rows):
        places = list(range(row * columns, min((row + 1) * columns, count)))
        back = row % 2 == 1
        order = [*reversed(places)] if back else places
        gap = columns - len(places)
        left, right = _corners(row, rows)
        for line in range(2):
            text.append(left if line == 0 else ("│" if _continues(row, rows, back) else " "), "dim")
            if back:
                text.append(" " * CELL_WIDTH * gap)
            for cell in order:
                style = on(ramp(shades[cell]))
                if line == 0:
                    mark = "*" if cell == best else " "
                    body = f"{mark}{cell}{_from(cell, parents[cell], count)}"
                    if len(body) > CELL_WIDTH - 2:  # the number of a cell further away does not fit
                        body = f"{mark}{cell}«"
                else:
                    body = labels[cell]
                body = body[: CELL_WIDTH - 2].ljust(CELL_WIDTH - 2)
                text.append("[" if cell == chosen else " ", "bold")
                text.append(body, style + Style(bold=cell == best))
                text.append("]" if cell == chosen else " ", "bold")
            if not back:
                text.append(" " * CELL_WIDTH * gap)
            text.append(right if line == 0 else ("│" if _continues(row, rows, not back) else " "), "dim")
            text.append("\n")
    text.rstrip()
    return text


def _continues(row: int, rows: int, outer: bool) -> bool:
    """Return whether the line at an edge continues below this row; two rows are connected at both ends."""
    return row < rows - 1 and (outer or rows == 2)


def _corners(row: int, rows: int) -> tuple[str, str]:
    if rows == 1:
        return "╶", "╴"
    last = row == rows - 1
    if row % 2 == 1:
        return ("╭" if not last else "╰" if rows == 2 else " "), "╯"
    return ("╰" if row else "╭" if rows == 2 else " "), (" " if last else "╮")


def _from(cell: int, parent: int, count: int) -> str:
    if parent == cell:
        return ""
    if (parent + 1) % count == cell:
        return "<"
    if (cell + 1) % count == parent:
        return ">"
    return f"<{parent}"


SERIES = 4
"""Rows of two axes of which one is so many times as long as the other are no images but series."""


def image_shape(row_shape: Sequence[int]) -> tuple[int, int] | None:
    """Return height and width of image-shaped rows, without colour channels; None where rows are not images."""
    shape = tuple(row_shape)
    if len(shape) == 3 and shape[0] in (1, 3):
        return shape[1], shape[2]
    if len(shape) == 3 and shape[2] in (1, 3):
        return shape[0], shape[1]
    return (shape[0], shape[1]) if len(shape) == 2 and max(shape) < SERIES * min(shape) else None


def by_column(row: Sequence[float], row_shape: Sequence[int]) -> Sequence[float]:
    """Return a row with the values of each column of a series one after another; any other row as it is."""
    if len(row_shape) != 2 or row_shape[0] <= row_shape[1]:
        return row
    return [value for column in range(row_shape[1]) for value in row[column :: row_shape[1]]]


def image(row: Sequence[float], row_shape: Sequence[int]) -> list[list[float]]:
    """Return a row as lines of grey values; colour channels are averaged."""
    shape = image_shape(row_shape)
    assert shape is not None
    height, width = shape
    channels = len(row) // (height * width)
    if channels == 1:
        return [list(row[y * width : (y + 1) * width]) for y in range(height)]
    first = len(row_shape) == 3 and row_shape[0] == channels
    step, jump = (1, height * width) if first else (channels, 1)
    return [
        [sum(row[(y * width + x) * step + c * jump] for c in range(channels)) / channels for x in range(width)]
        for y in range(height)
    ]


def shrunk(lines: list[list[float]], factor: int) -> list[list[float]]:
    """Return the picture with blocks of ``factor`` x ``factor`` averaged."""
    if factor == 1:
        return lines
    small = []
    for y in range(0, len(lines), factor):
        row = []
        for x in range(0, len(lines[0]), factor):
            block = [v for line in lines[y : y + factor] for v in line[x : x + factor]]
            row.append(sum(block) / len(block))
        small.append(row)
    return small


def enlarged(lines: list[list[float]], times: int) -> list[list[float]]:
    """Return the picture with every value as a block of ``times`` x ``times``."""
    return [[value for value in line for _ in range(times)] for line in lines for _ in range(times)]


def fitting(shape: tuple[int, int], blocks: int, width: int, height: int) -> tuple[int, int]:
    """Return how a block of three pictures of ``shape`` is drawn: (times larger, or 1; times smaller, or 1).

    It is the largest at which ``blocks`` of them are seen at once, else the one that fits the width.
    """
    for times in (4, 3, 2):
        columns = 3 * (shape[1] * times + GAP) + BLOCK_GAP
        rows = -(-blocks // max(1, (width + BLOCK_GAP) // columns))
        if columns <= width + BLOCK_GAP and rows * (-(-shape[0] * times // 2) + 3) + 2 <= height:
            return times, 1
    return 1, max(1, -(-(3 * shape[1]) // max(width - 3 * GAP, 1)))


def picture(lines: list[list[float]], low: float, high: float, coloured: bool) -> list[Text]:
    """Draw grey values as half blocks, two lines of the picture in one of text; as shades where not ``coloured``."""
    width = high - low or 1.0
    levels = [[min(max((v - low) / width, 0.0), 1.0) if math.isfinite(v) else 0.0 for v in line] for line in lines]
    if len(levels) % 2:
        levels.append([0.0] * len(levels[0]))
    drawn = []
    for upper, lower in zip(levels[::2], levels[1::2], strict=True):
        text = Text(no_wrap=True)
        for top, bottom in zip(upper, lower, strict=True):
            if coloured:
                a, b = round(top * 255), round(bottom * 255)
                text.append("▀", Style(color=Color.from_rgb(a, a, a), bgcolor=Color.from_rgb(b, b, b)))
            else:
                text.append(SHADES[min(int((top + bottom) / 2 * len(SHADES)), len(SHADES) - 1)])
        drawn.append(text)
    return drawn


def beside(columns: Sequence[Sequence[Text]], gap: int = GAP) -> Text:
    """Return blocks of lines side by side."""
    widths = [max((line.cell_len for line in column), default=0) for column in columns]
    text = Text(no_wrap=True)
    for y in range(max(map(len, columns), default=0)):
        for column, width in zip(columns, widths, strict=True):
            line = column[y] if y < len(column) else Text()
            text.append_text(line)
            text.append(" " * (width - line.cell_len + gap))
        text.append("\n")
    text.rstrip()
    return text
