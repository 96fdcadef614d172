"""What is done with each column of a table, why, and what keeps the table from being used.

What a person names with ``--columns`` is taken as it is: a number that looks like an index, a label or a sentinel is
then kept, and a note says so. Without it, an index is left out, and what may be a label or a missing value is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aecompress.data.advice import columns_flag, command_of
from aecompress.data.base import Request
from aecompress.data.column_words import (
    FAULTS,
    INPUTS,
    MOST_TEXTS,
    NOTES,
    WORDS,
    Action,
    Seen,
    counted,
    have,
    listed,
    sentences,
    sentinels,
)
from aecompress.data.labels import anomalies_of, label_fault
from aecompress.data.split import group_place
from aecompress.data.table import Profile, Table
from aecompress.errors import TableError
from aecompress.parsing import quoted


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is done with one column of a table."""

    name: str
    """As a sentence names it: its name in quotes, or its number."""
    action: Action
    why: str = ""
    """As a clause; empty where a number is kept as it is."""
    absent: tuple[float, ...] = ()
    """Values that stand for a missing one."""


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """What is done with a table."""

    columns: tuple[Decision, ...]
    """Of each of its columns, in order."""
    missing: str
    """error, drop, median or mean."""
    notes: tuple[str, ...]
    """What a person should know of it: a sentence for each kind of decision."""
    faults: tuple[str, ...]
    """Why the table cannot be used: a sentence for each kind of fault, with its cure."""
    command: str
    """The command line that works."""

    def places(self, *actions: Action) -> list[int]:
        """Return the places of the columns with one of ``actions``."""
        return [place for place, decision in enumerate(self.columns) if decision.action in actions]


def decide(table: Table, profiles: Sequence[Profile], request: Request) -> Decisions:
    """Return what is done with each column of a table, with reasons, and every fault that keeps it from being used.

    Args:
        profiles: of each column, in order (:func:`aecompress.data.profile.profile`).
    """
    seen = [
        decided(table, Seen(place, column, profile), request)
        for place, (column, profile) in enumerate(zip(table.columns, profiles, strict=True))
    ]
    if (
        any(2 * one.profile.missing <= len(table) for one in seen)
        and not request.columns
        and request.missing == "error"
    ):
        seen = [without_most(one, len(table)) for one in seen]
    gaps = gaps_of(seen, request)
    labels = label_faults(table, seen, request)
    faults = sentences(FAULTS, seen) + tuple(text for text, _ in (*gaps, *labels))
    left = [one for one in seen if one.action in INPUTS and one.why not in LEFT_OUT]
    cures = cures_of(table, seen, request) | {flag: value for _, each in (*gaps, *labels) for flag, value in each}
    if left and all(one.why == "dates" for one in left):
        cures["--dates"] = "cyclic"  # dropped, they would leave no input
    if any(NO_LABEL in each for _, each in labels):
        command = decide(table, profiles, replace(request, label="")).command
    elif not left:
        faults += ("no column of numbers is left as an input; write the values of some as numbers first",)
        command = ""
    else:
        command = command_of(request, cures)
    return Decisions(
        columns=tuple(decision_of(one, request) for one in seen),
        missing=request.missing,
        notes=sentences(NOTES, seen) + more_notes(table, seen, request),
        faults=faults,
        command=command,
    )


def check(source: str, decisions: Decisions) -> None:
    """Refuse a table with faults.

    Raises:
        TableError: with all of them and the command line that works.
    """
    if decisions.faults:
        raise TableError([f"{source}: {fault}" for fault in decisions.faults], decisions.command)


def decision_of(seen: Seen, request: Request) -> Decision:
    """Return the decision about a column."""
    absent = seen.profile.sentinels if seen.action == "keep" and request.missing != "error" else ()
    words = WORDS.get(seen.why, "")
    why = words if seen.why else seen.profile.why if seen.action == "leave out" else ""
    return Decision(name=seen.name, action=seen.action, why=why, absent=absent)


def decided(table: Table, seen: Seen, request: Request) -> Seen:
    """Return a column with what is done with it."""
    name, kind = seen.column.name, seen.profile.kind
    if name and name == request.label:
        return seen._replace(action="label")
    if request.split_by.startswith("group:") and seen.place == group_place(request, table.names):
        return seen._replace(action="group", why="group")
    if kind == "empty":
        return seen._replace(action="leave out", why="empty")
    if kind == "label" and not request.columns:
        return seen._replace(why="classes" if label_fault(table, seen.place) or not name else "label?")
    if seen.column.holds == "date":
        found: dict[str, tuple[Action, str]] = {
            "error": ("keep", "dates"),
            "drop": ("leave out", "dates dropped"),
            "cyclic": ("cyclic", "cyclic"),
        }
        return _with(seen, found[request.dates])
    return text_decided(seen, request) if seen.column.holds == "text" else number_decided(seen, request)


def without_most(seen: Seen, rows: int) -> Seen:
    """Return a column as one to be left out, where it is to be an input and most cells are missing."""
    return seen._replace(why="mostly missing") if seen.action in INPUTS and 2 * seen.profile.missing > rows else seen


def text_decided(seen: Seen, request: Request) -> Seen:
    """Return a column of texts with what is done with it."""
    if len(seen.column.texts) == 1 and not seen.profile.missing:
        return seen._replace(action="leave out", why="constant text")
    if request.categories == "drop":
        return seen._replace(action="leave out", why="texts dropped")
    if len(seen.column.texts) > MOST_TEXTS:
        return seen._replace(why="many texts")
    return _with(seen, ("one-hot", "one-hot") if request.categories == "one-hot" else ("keep", "texts"))


def number_decided(seen: Seen, request: Request) -> Seen:
    """Return a column of numbers or booleans with what is done with it."""
    kind = seen.profile.kind
    if kind == "index":
        return _with(seen, ("keep", "index kept") if request.columns else ("leave out", "index"))
    if kind == "label":
        return seen._replace(why="label kept")
    return seen._replace(why=kind if kind in ("constant", "counter") else "")


def _with(seen: Seen, found: tuple[Action, str]) -> Seen:
    return seen._replace(action=found[0], why=found[1])


Gap = tuple[str, list[tuple[str, str]]]
"""A fault, and the flags of its cure."""


def gaps_of(seen: Sequence[Seen], request: Request) -> list[Gap]:
    """Return what is at fault with missing cells and values that stand for them, where these are not to be treated."""
    if request.missing != "error":
        return []
    inputs = [one for one in seen if one.action in INPUTS and one.why != "mostly missing"]
    cure = [DROP] if any(one.column.unread for one in inputs) else [("--missing", "median")]
    found: list[Gap] = []
    if unread := [one for one in inputs if one.column.unread]:
        cells = sum(one.column.unread for one in unread)
        found.append(
            (
                f"{listed(unread)} {have(unread, 'has', 'have')} {counted(cells, 'cell')} without a number "
                f"({quoted(unread[0].column.example)}); --missing drop leaves such rows out, --missing median or mean "
                "puts a number there",
                cure,
            )
        )
    if empty := [one for one in inputs if one.profile.missing > one.column.unread]:
        first = next((f" ({quoted(one.column.example)})" for one in empty if one.column.example), "")
        cells = sum(one.profile.missing - one.column.unread for one in empty)
        found.append(
            (
                f"{listed(empty)} {have(empty, 'has', 'have')} {counted(cells, 'missing cell')}{first}; "
                "--missing drop leaves such rows out, --missing median or mean fills them from the training rows",
                cure,
            )
        )
    if infinite := [one for one in inputs if one.profile.infinite]:
        cells = sum(one.profile.infinite for one in infinite)
        found.append(
            (
                f"{listed(infinite)} {have(infinite, 'holds', 'hold')} {counted(cells, 'infinite value')}; --missing "
                "drop, median or mean treats them as missing",
                cure,
            )
        )
    if not request.columns and (odd := [one for one in inputs if one.action == "keep" and one.profile.sentinels]):
        found.append(
            (
                f"{listed(odd)} {have(odd, 'holds', 'hold')} {sentinels(odd)}, which usually means a missing value; "
                "--missing drop, median or mean treats it so; to keep it as a number, name the columns with --columns",
                cure,
            )
        )
    return found


def label_faults(table: Table, seen: Sequence[Seen], request: Request) -> list[Gap]:
    """Return what is at fault with the columns that flags name: the label and the group."""
    found: list[Gap] = []
    labels = [one for one in seen if one.action == "label"]
    names = quoted(", ".join(column.name for column in table.columns)) if table.named else "no names"
    if request.label and not labels:
        found.append((f"has no column {quoted(repr(request.label))} (--label); it has {names}", [NO_LABEL]))
    for one in labels:
        if fault := label_fault(table, one.place):
            found.append((f"column {one.name} (--label) {fault}", [NO_LABEL]))
        elif one.profile.missing and request.missing != "drop":
            cells = counted(one.profile.missing, "row")
            found.append(
                (f"column {one.name} (--label) is missing in {cells}; --missing drop leaves these out", [DROP])
            )
    if request.label and request.labels:
        found.append(("--label and --labels both say which rows are anomalies; leave one out", [("--labels", "")]))
    group = request.split_by.partition("group:")[2]
    if group and not any(one.action == "group" for one in seen):
        found.append((f"has no column {quoted(repr(group))} (--split-by); it has {names}", [("--split-by", "random")]))
    for one in (one for one in seen if one.action == "group" and one.profile.missing and request.missing != "drop"):
        cells = counted(one.profile.missing, "row")
        found.append((f"column {one.name} (--split-by) is missing in {cells}; --missing drop leaves these out", [DROP]))
    return found


LEFT_OUT = ("label?", "classes", "mostly missing", "many texts")
"""Faults of a column that are cured by leaving it out."""
DROP, NO_LABEL = ("--missing", "drop"), ("--label", "")


def cures_of(table: Table, seen: Sequence[Seen], request: Request) -> dict[str, str]:
    """Return the flags that cure the faults of single columns."""
    why = {one.why for one in seen}
    cures = {"--dates": "drop"} if "dates" in why else {}
    if "texts" in why:
        cures["--categories"] = "one-hot"
    drop_texts = "many texts" in why and not any(one.action == "one-hot" or one.why == "texts" for one in seen)
    if drop_texts:
        cures["--categories"] = "drop"
    bad = [one.place for one in seen if one.why in LEFT_OUT and not (one.why == "many texts" and drop_texts)]
    likely = next((one for one in seen if one.why == "label?"), None)
    if likely is not None and not request.label:
        cures["--label"] = likely.column.name
        bad.remove(likely.place)
    if bad:
        away = (*bad, -1 if likely is None else likely.place)
        left = [one.place for one in seen if one.action in INPUTS and one.place not in away]
        if left:
            cures["--columns"] = columns_flag(table, left, request)
    return cures


def more_notes(table: Table, seen: Sequence[Seen], request: Request) -> tuple[str, ...]:
    """Return what is to be reported of labels, outliers, and values treated as missing."""
    notes = []
    for one in seen:
        if one.action == "label" and not label_fault(table, one.place):
            rows = int(anomalies_of(table, one.place).sum())
            notes.append(f"column {one.name} calls {rows:,} of {len(table):,} rows anomalies and is no input")
    inputs = [one for one in seen if one.action == "keep"]
    if odd := [one for one in inputs if one.profile.sentinels and (request.columns or request.missing != "error")]:
        done = "is kept as a number" if request.missing == "error" else "is treated as missing"
        notes.append(f"{listed(odd)} {have(odd, 'holds', 'hold')} {sentinels(odd)}, which {done}")
    if far := [one for one in inputs if one.profile.outliers]:
        cells = sum(one.profile.outliers for one in far)
        notes.append(
            f"{listed(far)} {have(far, 'has', 'have')} {counted(cells, 'value')} far outside the others' range "
            f"({far[0].profile.low:.6g} to {far[0].profile.high:.6g}); check them, since scaling follows the range"
        )
    return tuple(notes)
