"""Pieces of HTML for a notebook, with all text of others escaped; charts are SVG in place.

Ink is the page's own colour, so that a piece reads on a light page and on a dark one. There are no scripts and no
style sheets: a notebook drops them from pages that it does not trust.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from aecompress.errors import printable

COLOURS = ("#4a86c5", "#ee6677", "#3a9a4b")
"""Of lines: near to those of the report, and with 3:1 contrast to white and to black."""
WIDTH, HEIGHT = 360, 190
"""Of a chart, in pixels."""
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 30, 24
"""Around the lines, in pixels: values, nothing, names, the axis across."""
MOST_POINTS = 200
"""Of a line: more than a reader can see."""
SMALL = "font-size:12px;opacity:.75"


@dataclass(frozen=True)
class Line:
    """A line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]
    dotted: bool = False
    """A dot on every point."""
    ring: int | None = None
    """The point with a ring around it."""


def escaped(text: object) -> str:
    """Return text for HTML, between tags or in an attribute, with what steers a terminal written out."""
    return html.escape(printable(str(text)))


def block(*parts: str) -> str:
    """Return pieces under each other."""
    return f'<div style="font-family:system-ui,sans-serif;font-size:14px;line-height:1.5">{"".join(parts)}</div>'


def headline(title: str, rest: str = "") -> str:
    """Return a title, and what is the case in small letters after it."""
    return f'<div><b>{escaped(title)}</b> <span style="{SMALL}">{escaped(rest)}</span></div>'


def note(text: str) -> str:
    """Return a line in small letters."""
    return f'<div style="{SMALL}">{escaped(text)}</div>'


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Return names and values, one pair on a line."""
    cell = "text-align:left;padding:0 1em 0 0;border:0;background:none;vertical-align:top"
    rows = "".join(
        f'<tr style="background:none"><td style="{cell};opacity:.7;white-space:nowrap">{escaped(name)}</td>'
        f'<td style="{cell};overflow-wrap:anywhere">{escaped(value)}</td></tr>'
        for name, value in pairs
    )
    style = "border-collapse:collapse;margin:.3em 0;color:inherit;font-size:13px"
    return f'<table style="{style}"><tbody>{rows}</tbody></table>'


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with its head; a column whose last cell begins with a digit stands to the right."""
    sides = ["right" if rows and rows[-1][at][:1].isdigit() else "left" for at in range(len(head))]

    def line(cells: Sequence[str], tag: str, style: str) -> str:
        return "".join(
            f'<{tag} style="text-align:{side};padding:.15em .7em;border:0;white-space:nowrap;{style}">'
            f"{escaped(cell)}</{tag}>"
            for side, cell in zip(sides, cells, strict=True)
        )

    border = "background:none;border-top:1px solid rgba(128,128,128,.35)"
    body = "".join(f'<tr style="{border}">{line(row, "td", "")}</tr>' for row in rows)
    return (
        '<div style="overflow-x:auto"><table style="border-collapse:collapse;margin:.4em 0;color:inherit;'
        f'font-size:13px;font-variant-numeric:tabular-nums"><thead><tr style="background:none">'
        f"{line(head, 'th', 'opacity:.7;font-weight:600')}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def bar(share: float) -> str:
    """Return how much of something is done."""
    done = 100 * min(max(share, 0.0), 1.0)
    return (
        '<div style="height:4px;max-width:734px;margin:.3em 0;border-radius:2px;background:rgba(128,128,128,.3)">'
        f'<div style="height:4px;border-radius:2px;width:{done:.1f}%;background:{COLOURS[0]}"></div></div>'
    )


def side_by_side(charts: Sequence[str]) -> str:
    """Return charts beside each other, or under each other on a narrow page."""
    return f'<div style="display:flex;flex-wrap:wrap;gap:14px">{"".join(charts)}</div>'


@dataclass(frozen=True)
class Scale:
    """How values become pixels on one axis."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float, start: float, end: float) -> float:
        """Return where between two pixels a value lies."""
        bent, low, high = (math.log(each) if self.log else each for each in (value, self.low, self.high))
        return start + (bent - low) / (high - low or 1.0) * (end - start)

    @property
    def middle(self) -> float:
        """Return the value halfway between the ends."""
        return math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2


def scale_of(values: Sequence[float], log: bool = False) -> Scale:
    """Return a scale from the lowest to the highest value, logarithmic where it is wanted and all are above 0."""
    return Scale(min(values), max(values), log and min(values) > 0)


def chart(
    title: str,
    across: str,
    lines: Sequence[Line],
    *,
    log: bool = False,
    log_across: bool = False,
    along: Scale | None = None,
    up: Scale | None = None,
) -> str:
    """Return lines as SVG; points that are not finite are left out.

    Args:
        across: what the axis across counts.
        log: the axis up is logarithmic, where all values allow it.
        log_across: so is the axis across.
        along: the axis across; None: from the lowest to the highest value.
        up: the axis up; None: likewise.
    """
    finite = [[point for point in line.points if all(map(math.isfinite, point))] for line in lines]
    every = [point for points in finite for point in points]
    if not every:
        return ""
    level = along or scale_of([point[0] for point in every], log_across)
    upright = up or scale_of([point[1] for point in every], log)

    def x(value: float) -> float:
        return level.place(value, LEFT, WIDTH - RIGHT)

    def y(value: float) -> float:
        return upright.place(value, HEIGHT - BOTTOM, TOP)

    drawn = [_grid(value, y(value)) for value in dict.fromkeys((upright.low, upright.middle, upright.high))]
    for value, side in {level.high: "end", level.low: "start"}.items():
        drawn.append(_text(x(value), HEIGHT - 6, _number(value), side))
    drawn.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, across, "middle"))
    names, at = [], float(LEFT)
    for number, (line, points) in enumerate(zip(lines, finite, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        drawn.append(_line(line, [(x(across), y(up)) for across, up in points], colour))
        names.append(f'<rect x="{at:.0f}" y="13" width="10" height="3" fill="{colour}"/>')
        names.append(_text(at + 14, 18, line.name, "start"))
        at += 24 + 6.4 * len(line.name)
    name = f'<text x="0" y="18" font-weight="600">{escaped(title)}</text>'
    return _svg(title, HEIGHT, [name, *names, *drawn])


def bars(title: str, shares: Sequence[tuple[str, float]]) -> str:
    """Return a bar from 0 to 1 for each name as SVG."""
    height, drawn = 22 * len(shares) + 28, [f'<text x="0" y="14" font-weight="600">{escaped(title)}</text>']
    for number, (name, share) in enumerate(shares):
        y, width = 24 + 22 * number, WIDTH - 150
        frame = f'<rect x="90" y="{y}" height="14" rx="2"'
        drawn.append(_text(84, y + 11, name, "end"))
        drawn.append(f'{frame} width="{width}" opacity=".15"/>')
        drawn.append(f'{frame} width="{width * share:.1f}" fill="{COLOURS[0]}"/>')
        drawn.append(_text(96 + width, y + 11, f"{share:.1%}", "start"))
    return _svg(title, height, drawn)


def _svg(title: str, height: int, drawn: Sequence[str]) -> str:
    return (
        f'<svg role="img" aria-label="{escaped(title)}" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} '
        f'{height}" fill="currentColor" style="font:11px system-ui,sans-serif;max-width:100%">{"".join(drawn)}</svg>'
    )


def _line(line: Line, places: Sequence[tuple[float, float]], colour: str) -> str:
    """Return one line in pixels, thinned to what can be seen."""
    step = max(1, -(-len(places) // MOST_POINTS))
    seen = [*places[:-1:step], *places[-1:]]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in seen)
    drawn = f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>'
    if line.dotted or len(seen) == 1:
        drawn += "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{colour}"/>' for x, y in seen)
    if line.ring is not None and line.ring < len(places):
        x, y = places[line.ring]
        drawn += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="none" stroke="{COLOURS[1]}" stroke-width="1.6"/>'
    return drawn


def _grid(value: float, y: float) -> str:
    """Return a line across at a value, and the value."""
    line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor" opacity=".2"/>'
    return line + _text(LEFT - 6, y + 4, _number(value), "end")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" opacity=".75">{escaped(text)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e6 else f"{value:.3g}"
