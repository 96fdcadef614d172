"""Rows cut into train, validation and test: at random, in their order, by whole groups or by whole files."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress import rng
from aecompress.data.base import Array, Request, Shares, Splits
from aecompress.data.chosen import Blocks, Chosen
from aecompress.data.file_rows import Stored
from aecompress.data.windows import Bools, Integers, WindowIndex, Windows, window_index
from aecompress.errors import DataError

Parts = NDArray[np.uint8]
NAMES = ("train", "validation", "test")
"""Of the parts 0, 1 and 2."""
TEST, NONE = 2, 3
"""The part of anomalies, and of what is left out."""
DRAWS = 64
"""The most orders of groups that are drawn."""
NEAR = 0.01
"""Shares that are as near as this to the requested ones end the drawing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """What a split depends on of N rows in order."""

    count: int
    where: str = ""
    """What the rows come from, for messages."""
    files: tuple[tuple[str, int], ...] = ()
    """Name and rows of each file, where several were read as one."""
    groups: Integers | None = None
    """``[N]``: the group of each row."""
    anomalies: Bools | None = None
    """``[N]``: rows that are for the test alone."""
    dropped: Bools | None = None
    """``[N]``: rows that are in no split, nor in a window."""
    times: tuple[tuple[str, NDArray[np.float64]], ...] = ()
    """Columns of dates by name, ``[N]`` in seconds; a missing one is NaN."""

    @property
    def usual(self) -> Bools:
        """Return which rows are neither anomalies nor dropped: ``[N]``."""
        usual = np.ones(self.count, bool)
        for rows in (self.anomalies, self.dropped):
            if rows is not None:
                usual &= ~rows
        return usual

    @property
    def file_of(self) -> Integers:
        """Return the number of each row's file: ``[N]``."""
        return np.repeat(np.arange(len(self.files)), [rows for _, rows in self.files])

    @property
    def segments(self) -> Integers:
        """Return the number of each row's group and file: no window crosses two."""
        segments = np.zeros(self.count, np.int64) if self.groups is None else self.groups
        return segments * max(len(self.files), 1) + self.file_of if self.files else segments


@dataclass(frozen=True, kw_only=True, eq=False)
class Assignment:
    """Which split each row or window is in."""

    parts: Parts
    """``[N]`` of rows, ``[M]`` of windows: 0 train, 1 validation, 2 test, 3 none of them."""
    windows: WindowIndex | None = None
    decisions: tuple[str, ...] = ()

    @property
    def training(self) -> Bools:
        """Return which rows of the series are trained on: ``[N]``."""
        return self.parts == 0 if self.windows is None else self.windows.of(self.parts == 0).covered

    def labels(self, anomalies: Bools) -> NDArray[np.int8]:
        """Return 0 or 1 for each test row; of a window, whether any of its rows is an anomaly."""
        found = anomalies if self.windows is None else self.windows.counts(anomalies) > 0
        return np.asarray(found[self.parts == TEST], np.int8)


def splits_of(rows: Array | Stored, assignment: Assignment) -> Splits[Blocks]:
    """Return rows ``[N, D]``, or windows of them, of each split; nothing is copied."""
    parts, index = assignment.parts, assignment.windows
    if index is not None:
        return Splits(*(Windows(rows, index.of(parts == part)) for part in range(3)))
    if not parts.any():
        return Splits(Chosen(rows), Chosen(rows, parts, 1), Chosen(rows, parts, 2))
    return Splits(*(Chosen(rows, parts, part) for part in range(3)))


def whole(rows: Array | Stored, series: Series, request: Request) -> Blocks:
    """Return all rows ``[N, D]`` of a split that has a file of its own, or their windows."""
    if not request.window:
        return Chosen(rows)
    return Windows(rows, windows_of(series, request))


def split_by(request: Request) -> str:
    """Return how rows are split: random, order, group or file."""
    chosen = request.split_by.partition(":")[0]
    return ("order" if request.window else "random") if chosen == "auto" else chosen


def group_column(request: Request) -> str:
    """Return the column of the groups, which is no input; empty without any."""
    return request.split_by.partition(":")[2] if request.split_by.startswith("group:") else ""


def group_place(request: Request, names: Sequence[str]) -> int | None:
    """Return the place of the column of the groups, given by name or number; None without any."""
    column = group_column(request)
    if column and column in names:
        return names.index(column)
    if not (column.isdecimal() and column.isascii() and len(column) < 9):
        return None
    return 0 if request.columns else int(column)  # of chosen columns it is the first, as the request has its part


def assign(series: Series, request: Request, given: Set[str] = frozenset()) -> Assignment:
    """Return which split each row is in, or each window: by the shares, as ``request.split_by`` says.

    Anomalies are in the test split alone; the shares are those of the other rows. A window whose rows are of several
    splits is left out, so that no row is in windows of two; windows that are drawn at random share rows.

    Args:
        given: splits that have rows of their own; the other shares grow in proportion.

    Raises:
        DataError: groups or files are too few for the splits, or no window fits.
    """
    shares = effective(request.split, given)
    how = split_by(request)
    index = windows_of(series, request) if request.window else None
    decisions: list[str] = []
    if index is not None and how == "random":
        parts = drawn_windows(series, index, shares, request.seed, given)
    else:
        parts, decisions = row_parts(series, request, shares)
        parts = with_anomalies(parts, series, given)
        parts = parts if index is None else window_parts(series, index, parts, given)
    result = Assignment(parts=parts, windows=index)
    check_splits(result, series, request, shares)
    decisions = [*decisions, *described(result, series, request, shares)]
    return replace(result, decisions=tuple(decisions))


def effective(shares: Shares, given: Set[str]) -> Shares:
    """Return the shares of the rows where some splits are ``given``; they add up to 1."""
    kept = [0.0 if name in given else share for name, share in zip(NAMES, shares, strict=True)]
    train, validation, test = (share / sum(kept) for share in kept)
    return train, validation, test


def cuts_of(shares: Shares, count: int) -> Integers:
    """Return where train, validation and test end among ``count`` rows."""
    cuts: Integers = np.round(np.cumsum(shares) * count).astype(np.int64)
    return cuts


def row_parts(series: Series, request: Request, shares: Shares) -> tuple[Parts, list[str]]:
    """Return the split of each usual row, 3 for the others, ``[N]``; and what was decided.

    Raises:
        DataError: groups or files are too few.
    """
    usual, decisions = series.usual, list[str]()
    count, how = int(np.count_nonzero(usual)), split_by(request)
    if how in ("random", "order"):
        cuts = cuts_of(shares, count)
        found = draw(count, cuts, request.seed) if how == "random" and cuts[0] < count else in_order(count, cuts)
    else:
        if how == "file" and len(series.files) < 2:
            raise DataError(
                f"data.split_by = 'file': {series.where} is one file; give several, or choose --split-by order"
            )
        units = series.groups if how == "group" else series.file_of
        assert units is not None
        found, decisions = by_units(units[usual], series, request, shares)
    if count == series.count:
        return found, decisions
    parts = np.full(series.count, NONE, np.uint8)
    parts[usual] = found
    return parts, decisions


def draw(count: int, cuts: Integers, seed: int) -> Parts:
    """Draw to which split each of ``count`` rows belongs: 0 train, 1 validation, 2 test.

    Args:
        cuts: where train, validation and test end in a random order of the rows.
    """
    order = rng.host(seed, "split").permutation(count)
    parts = np.empty(count, np.uint8)
    for part, rows in enumerate(np.split(order, cuts)):
        parts[rows] = part
    return parts


def in_order(count: int, cuts: Integers) -> Parts:
    """Return the split of each of ``count`` rows, where each split is one stretch."""
    return np.repeat(np.arange(3, dtype=np.uint8), np.diff(cuts[:2], prepend=0, append=count))


def by_units(units: Integers, series: Series, request: Request, shares: Shares) -> tuple[Parts, list[str]]:
    """Return the split of each row of whole groups, drawn, or of whole files, in order; and how the shares came out.

    Raises:
        DataError: there are fewer than the splits that have a share.
    """
    kind = "groups" if split_by(request) == "group" else "files"
    present, places, sizes = np.unique(units, return_inverse=True, return_counts=True)
    needed = sum(share > 0 for share in shares)
    if len(present) < needed:
        raise DataError(
            f"data.split_by = {request.split_by!r:.200}: has {len(present)} {kind} for {needed} splits; give more, or "
            "set the share of a split to 0 (--split 0.8,0,0.2), or choose another --split-by"
        )
    if kind == "files":
        found = units_in_order(sizes, shares)
        names = [series.files[place][0] for place in present]
        lists = [", ".join(short([name for name, own in zip(names, found, strict=True) if own == k])) for k in range(3)]
        listed = "; ".join(f"{NAMES[k]} {lists[k]}" for k in range(3) if lists[k])
        decision = f"whole files are split, in order: {listed}"
    else:
        found = drawn_units(sizes, shares, request.seed)
        counts = ", ".join(f"{np.count_nonzero(found == k):,} {NAMES[k]}" for k in range(3) if k in found)
        decision = f"whole groups of {group_column(request)} are split, drawn by the seed: {counts}"
    parts: Parts = found[places.reshape(-1)]
    came = ", ".join(f"{np.mean(parts == part):.1%}" for part in range(3))
    return parts, [f"{decision} ({came} of the rows)"]


def short(names: Sequence[str]) -> Sequence[str]:
    """Return at most four names of many."""
    return names if len(names) <= 4 else [*names[:2], f"{len(names) - 3} more", names[-1]]


def units_in_order(sizes: Integers, shares: Shares) -> Parts:
    """Return the split of each unit, ``[U]``: each split a stretch, its rows near its share, with at least one unit.

    Args:
        sizes: rows of each unit, in order.
    """
    ends, targets = np.concatenate([[0], np.cumsum(sizes)]), np.cumsum(shares) * sizes.sum()
    borders = [0]
    for part in range(3):
        later = sum(share > 0 for share in shares[part + 1 :])
        lowest, highest = borders[-1] + 1, len(sizes) - later
        if shares[part] == 0:
            borders.append(borders[-1])
        elif not later:
            borders.append(len(sizes))
        else:
            borders.append(lowest + int(np.abs(ends[lowest : highest + 1] - targets[part]).argmin()))
    return np.repeat(np.arange(3, dtype=np.uint8), np.diff(borders))


def drawn_units(sizes: Integers, shares: Shares, seed: int) -> Parts:
    """Return the split of each unit, ``[U]``, by the drawn order whose shares are nearest to the requested ones."""
    draws, best, least = rng.host(seed, "split"), np.zeros(len(sizes), np.uint8), np.inf
    for _ in range(DRAWS):
        order = draws.permutation(len(sizes))
        found = np.empty(len(sizes), np.uint8)
        found[order] = units_in_order(sizes[order], shares)
        came = np.bincount(found, weights=sizes, minlength=3) / sizes.sum()
        off = float(np.abs(came - shares).sum())
        if off < least:
            best, least = found, off
        if least <= NEAR:
            break
    return best


def with_anomalies(parts: Parts, series: Series, given: Set[str]) -> Parts:
    """Return the splits of all rows, anomalies in the test; in none where test rows are ``given``."""
    if series.anomalies is None or "test" in given:
        return parts
    dropped = series.dropped if series.dropped is not None else np.zeros(series.count, bool)
    return np.where(series.anomalies & ~dropped, np.uint8(TEST), parts)


def windows_of(series: Series, request: Request) -> WindowIndex:
    """Return the windows of a series, none of which holds a dropped row.

    Raises:
        DataError: none fits.
    """
    index = window_index(series.segments, request.window, request.stride)
    if series.dropped is not None:
        index = index.of(index.counts(series.dropped) == 0)
    if not len(index):
        longest = int(np.bincount(np.unique(series.segments, return_inverse=True)[1].reshape(-1)).max())
        raise DataError(
            f"data.window = {request.window}: {series.where} has {longest} rows in order at most; choose a smaller "
            "--window"
        )
    return index


def window_parts(series: Series, index: WindowIndex, rows: Parts, given: Set[str]) -> Parts:
    """Return the split of each window ``[M]``, so that no row is in windows of two splits.

    Args:
        rows: the split of each row ``[N]``.
    """
    parts = np.full(len(index), NONE, np.uint8)
    for part in range(3):
        parts[index.counts(rows == part) == index.length] = part
    if series.anomalies is None:
        return parts
    unusual = index.counts(series.anomalies) > 0
    parts[unusual] = NONE if "test" in given else TEST
    beside = index.counts(index.of(parts == TEST).covered) > 0
    parts[beside & (parts < TEST)] = NONE
    return parts


def drawn_windows(series: Series, index: WindowIndex, shares: Shares, seed: int, given: Set[str]) -> Parts:
    """Return the split of each window ``[M]``, drawn; windows with an anomaly are in the test."""
    usual = np.ones(len(index), bool) if series.anomalies is None else index.counts(series.anomalies) == 0
    parts = np.full(len(index), NONE if "test" in given else TEST, np.uint8)
    count = int(np.count_nonzero(usual))
    cuts = cuts_of(shares, count)
    parts[usual] = draw(count, cuts, seed) if cuts[0] < count else 0
    return parts


def check_splits(found: Assignment, series: Series, request: Request, shares: Shares) -> None:
    """Refuse windows of which a split with a share gets none.

    Raises:
        DataError: naming the split and the cure.
    """
    if found.windows is None:
        return
    for part, share in enumerate(shares):
        if share > 0 and not np.any(found.parts == part):
            raise DataError(
                f"data.window = {request.window}: no window of {series.where} is in {NAMES[part]} alone, whose share "
                f"is {share:.3g}; choose a smaller --window or --stride, or another --split"
            )


def described(found: Assignment, series: Series, request: Request, shares: Shares) -> list[str]:
    """Return what a person must know of the splits, as clauses."""
    counts = [int(np.count_nonzero(found.parts == part)) for part in range(4)]
    sizes = ", ".join(f"{count:,} {name}" for count, name in zip(counts, NAMES, strict=False) if count)
    how, clauses = split_by(request), []
    if found.windows is not None:
        every = "row" if request.stride == 1 else f"{request.stride} rows"
        left = f"; {counts[NONE]:,} with rows of several splits are left out" if counts[NONE] else ""
        order = ", split in order" if how == "order" else ""
        clauses.append(f"windows of {request.window} rows, one every {every}{order}: {sizes}{left}")
        if how == "random" and request.stride < request.window:
            clauses.append(
                "windows are split at random, so those of different splits share rows, and losses of validation and "
                "test are lower than on new rows; choose --split-by order"
            )
    elif how == "order":
        clauses.append(f"rows are split in order: {sizes}")
    in_time = np.zeros(series.count, np.int64) if how == "order" else series.segments
    if (found.windows is not None or how == "order") and (clause := disorder(series, in_time)):
        clauses.append(clause)
    if series.anomalies is not None:
        kept = series.anomalies if series.dropped is None else series.anomalies & ~series.dropped
        clauses.append(f"{np.count_nonzero(kept):,} rows labelled as anomalies are in no training rows")
    empty = [name for name, share, count in zip(NAMES, shares, counts, strict=False) if share > 0 and not count]
    if empty:
        clauses.append(
            f"{' and '.join(empty)} {'has' if len(empty) == 1 else 'have'} no rows: there are {series.count} in all"
        )
    return clauses


def disorder(series: Series, segments: Integers) -> str:
    """Return, as a clause, that rows of a segment are in no order of time; empty where a column of dates rises.

    Rows without a date, and dropped ones, are passed over.

    Args:
        segments: the segment of each row, ``[N]``.
    """
    first = ""
    for name, seconds in series.times:
        known = ~np.isnan(seconds) if series.dropped is None else ~np.isnan(seconds) & ~series.dropped
        rows = np.flatnonzero(known)
        rows = rows[np.argsort(segments[rows], kind="stable")]
        earlier = (np.diff(seconds[rows]) < 0) & (np.diff(segments[rows]) == 0)
        if not earlier.any():
            return ""
        place = int(np.argmax(earlier))
        first = first or (
            f"rows are not in the order of {name}: row {rows[place + 1]} is earlier than row {rows[place]}; sort them"
        )
    return first


def group_numbers(cells: NDArray[Any], where: str, column: str) -> Integers:
    """Return the group of each row, ``[N]``, of the cells of the column of groups.

    Raises:
        DataError: a cell is missing.
    """
    if cells.dtype.kind == "f" and np.isnan(cells).any():
        row = int(np.flatnonzero(np.isnan(cells))[0])
        raise DataError(
            f"{where}: column {column} of the groups has no value in row {row}; fill it in, or drop the row"
        )
    numbers: Integers = np.unique(cells, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return numbers
