"""Raw rows as exported files take them: what float32 holds of each column, and what a file says of the columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aecompress.data.base import Floats
from aecompress.data.chosen import Chosen
from aecompress.data.scaled_rows import ScaledRows
from aecompress.data.scaling import Scaling
from aecompress.data.sparse import Rows, SparseRows
from aecompress.errors import CONTROL, TableError
from aecompress.parsing import quoted

Doubles = NDArray[np.float64]
LIMIT = 1e-3
"""The most that float32 may move a scaled value, whose unit is a column's range or deviation."""
COARSE = 16.0
"""An offset of so many divisors makes float32 move a scaled value by a millionth: below, nothing is looked at."""
HUGE = 1e30
"""Far inside what float32 holds, as is its reciprocal."""
LONGEST = 2048
"""Bytes of a list in the metadata of a file; longer ones are in config.json alone."""


def coarse(offset: Doubles, divisor: Doubles) -> NDArray[np.bool_]:
    """Return for each column whether float32 may move its scaled values by more than rounding always does: ``[D]``."""
    with np.errstate(over="ignore"):
        far = np.abs(offset) > COARSE * np.abs(divisor)
    return far | (np.abs(offset) > HUGE) | (np.abs(divisor) > HUGE) | (np.abs(divisor) < 1 / HUGE)


def check_float32(
    source: str,
    scaling: Scaling,
    splits: Mapping[str, Rows],
    names: Sequence[str],
    command: Callable[[Sequence[int]], str] = lambda columns: "",
) -> None:
    """Refuse columns that lose too much where raw rows are float32, as files with the scaling inside take them.

    Args:
        splits: scaled rows ``[N, D]`` by name.
        names: of the columns, where they have names.
        command: of the columns that are refused, the command line that leaves them out.

    Raises:
        TableError: naming the columns, the values seen and the cure.
    """
    if scaling.identity:
        return
    rows = [part for part in splits.values() if not isinstance(part, SparseRows)]
    width = rows[0].shape[1]
    offset, divisor = (
        np.broadcast_to(np.asarray(values, np.float64), width) for values in (scaling.offset, scaling.divisor)
    )
    columns = np.flatnonzero(coarse(offset, divisor))
    if not len(columns):
        return
    seen = [_seen(block[:, columns], offset[columns], divisor[columns]) for part in rows for block in blocks(part)]
    low, high, moved = (np.stack(each) for each in zip(*seen, strict=True))
    low, high, moved = low.min(0), high.max(0), moved.max(0)
    lost = np.flatnonzero(~(moved <= LIMIT))
    if len(lost):
        called = [_called(int(columns[one]), names) for one in lost]
        fault = f"{source}: {_refusal(called, float(low[lost[0]]), float(high[lost[0]]))}"
        raise TableError([fault], command(columns[lost].tolist()))


def blocks(rows: Floats | ScaledRows) -> Iterator[Floats]:
    """Return rows ``[N, D]`` in blocks of a bounded size."""
    return (block.astype(np.float32, copy=False) for block in Chosen(rows).blocks())


def _seen(scaled: Floats, offset: Doubles, divisor: Doubles) -> tuple[Doubles, Doubles, Doubles]:
    """Return the smallest and largest raw value of each column, and how far float32 moves a scaled one: ``[D]`` each.

    A raw value is known from its scaled one to 1e-7 of the divisor.
    """
    with np.errstate(all="ignore"):  # what is not finite is refused
        raw = scaled * divisor + offset
        moved = np.abs((raw.astype(np.float32) - offset.astype(np.float32)) / divisor - scaled).max(0)
        held = np.isfinite(divisor.astype(np.float32)) & (divisor.astype(np.float32) != 0)
    return raw.min(0), raw.max(0), np.where(held & np.isfinite(moved), moved, np.inf)


def _called(column: int, names: Sequence[str]) -> str:
    return f"{column} ({quoted(repr(names[column % len(names)]))})" if names else str(column)


def _refusal(columns: Sequence[str], low: float, high: float) -> str:
    """Return why columns are refused, by the values of the first, and the cure."""
    largest = max(abs(low), abs(high))
    with np.errstate(over="ignore", invalid="ignore"):
        step = float(np.spacing(np.float32(largest)))
    usual = 1 / HUGE < largest < HUGE
    first = f"subtract an offset such as {low:.12g} first" if usual else "multiply it by a constant first"
    held = f"which float32 holds in steps of {step:.6g}" if np.isfinite(step) else "which float32 does not hold"
    more = f" (as are {', '.join(columns[1:5])}{' and more' if len(columns) > 5 else ''})" if len(columns) > 1 else ""
    return (
        f"column {columns[0]} has values from {low:.12g} to {high:.12g}, {held}: too coarse for files that take raw "
        f"rows{more}; {first}, leave the column out (--columns), or let the files take scaled "
        "rows (--no-embed-scaling)"
    )


def described(scaling: Scaling, names: Sequence[str]) -> dict[str, str]:
    """Return what the metadata of a file say of its columns, as JSON: names and scaling, where there are any.

    A list that takes more than :data:`LONGEST` bytes is replaced by its length.
    """
    values: dict[str, object] = {"aecompress.inputs": list(names)} if names else {}
    if not scaling.identity:
        values |= {"aecompress.offset": _nine(scaling.offset), "aecompress.divisor": _nine(scaling.divisor)}
    return {key: _short(value) for key, value in values.items()}


def described_bytes(scaling: Scaling, names: Sequence[str]) -> int:
    """Return about how many bytes names and scaling take in a file, in its metadata and as tensors: 0 without any."""
    about = described(scaling, names)
    tensors = 0 if scaling.identity else 8 * np.size(scaling.offset) + 300
    return tensors + sum(len(key) + len(text) + 8 for key, text in about.items())


def _nine(values: float | list[float]) -> float | list[float]:
    """Return numbers to nine digits, enough to distinguish float32 values."""
    return [float(f"{one:.9g}") for one in values] if isinstance(values, list) else float(f"{values:.9g}")


def _short(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"))
    text = CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
    if isinstance(value, list) and len(text) > LONGEST:
        return f"{len(value)} values, in config.json"
    return text
