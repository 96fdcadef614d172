"""What is done with each column of a table, why, and what keeps the table from being used.

What a person names with ``--columns`` is taken as it is: a number that looks like an index, a label or a sentinel is
then kept, and a note says so. Without it, an index is left out, and what may be a label or a missing value is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from aecompress.data.advice import columns_flag, command_of
from aecompress.data.base import Request
from aecompress.data.labels import anomalies_of, label_fault
from aecompress.data.split import group_place
from aecompress.data.table import Column, Profile, Table
from aecompress.errors import TableError
from aecompress.parsing import quoted

Action = Literal["keep", "one-hot", "cyclic", "leave out", "label", "group"]
LABELS = "label?", "classes", "nameless label"
"""Reasons of columns that look like labels."""
INPUTS = frozenset(("keep", "one-hot", "cyclic"))
MOST_TEXTS = 32
"""Different texts of a column that become an input each."""
STRAY = 0.05
"""Share of the rows up to which texts in columns of numbers are stray, such as a line of totals: they are no gaps."""
MOST_LISTED = 5
"""Columns that a sentence names."""


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
    """The command line that works; empty where none does."""

    def places(self, *actions: Action) -> list[int]:
        """Return the places of the columns with one of ``actions``."""
        return [place for place, decision in enumerate(self.columns) if decision.action in actions]


class Seen(NamedTuple):
    """A column and what was found about it."""

    place: int
    column: Column
    profile: Profile
    action: Action = "keep"
    why: str = ""
    """A key of :data:`NOTES` or :data:`FAULTS`; empty: there is nothing to report."""

    @property
    def name(self) -> str:
        """Return how a sentence names the column."""
        return quoted(repr(self.column.name)) if self.column.name else str(self.place)


def decide(table: Table, profiles: Sequence[Profile], request: Request) -> Decisions:
    """Return what is done with each column of a table, with reasons, and every fault that keeps it from being used.

    Args:
        profiles: of each column, in order (:func:`aecompress.data.profile.profile`).
    """
    seen = [
        decided(table, Seen(place, column, profile), request)
        for place, (column, profile) in enumerate(zip(table.columns, profiles, strict=True))
    ]
    gaps = gaps_of(seen, request, len(table))
    labels = label_faults(table, seen, request)
    faults = sentences(FAULTS, seen) + tuple(text for text, _ in (*gaps, *labels))
    usable = inputs_left(seen) or any(one.why == "dates" for one in seen)
    if not usable:
        faults += ("no column is left as an input; convert one to numbers first",)
    cures = cures_of(table, seen, request) | {flag: value for _, each in (*gaps, *labels) for flag, value in each}
    if any(NO_LABEL in each for _, each in labels):
        command = decide(table, profiles, replace(request, label="")).command
    else:
        command = command_of(request, cures)
    return Decisions(
        columns=tuple(decision_of(one, request) for one in seen),
        missing=request.missing,
        notes=sentences(NOTES, seen) + more_notes(table, seen, request),
        faults=faults,
        command=command if usable else "",
    )


def inputs_left(seen: Sequence[Seen]) -> bool:
    """Return whether some column is an input, or becomes one by the cure of its fault."""
    return any(one.action in INPUTS and one.why not in ("dates", "many texts", *LABELS) for one in seen)


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
    if seen.place == group_place(request, table.names):
        return seen._replace(action="group", why="group")
    if kind == "empty":
        return seen._replace(action="leave out", why="empty")
    if kind == "label" and not request.columns:
        likely = "label?" if name else "nameless label"
        return seen._replace(why="classes" if label_fault(table, seen.place) else likely)
    if seen.column.holds == "date":
        found: dict[str, tuple[Action, str]] = {
            "error": ("keep", "dates"),
            "drop": ("leave out", "dates dropped"),
            "cyclic": ("cyclic", "cyclic"),
        }
        return _with(seen, found[request.dates])
    return text_decided(seen, request) if seen.column.holds == "text" else number_decided(seen, request)


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


def gaps_of(seen: Sequence[Seen], request: Request, rows: int) -> list[Gap]:
    """Return what is at fault with missing cells and values that stand for them, where these are not to be treated."""
    if request.missing != "error":
        return []
    inputs = [one for one in seen if one.action in ("keep", "one-hot", "cyclic") and one.profile.kind != "empty"]
    stray = sum(one.column.unread for one in inputs)
    cure = [DROP if 0 < stray <= STRAY * rows else ("--missing", "median")]
    found: list[Gap] = []
    if empty := [one for one in inputs if one.profile.missing]:
        odd = sorted((one for one in empty if one.column.example), key=lambda one: not one.column.unread)
        first = f" ({quoted(odd[0].column.example)})" if odd else ""
        cells = sum(one.profile.missing for one in empty)
        found.append(
            (
                f"{listed(empty)} {_have(empty, 'has', 'have')} {counted(cells, 'missing cell')}{first}; "
                "--missing drop leaves such rows out, --missing median or mean fills them from the training rows",
                cure,
            )
        )
    if infinite := [one for one in inputs if one.profile.infinite]:
        cells = sum(one.profile.infinite for one in infinite)
        found.append(
            (
                f"{listed(infinite)} {_have(infinite, 'holds', 'hold')} {counted(cells, 'infinite value')}; --missing "
                "drop, median or mean treats them as missing",
                cure,
            )
        )
    if not request.columns and (odd := [one for one in inputs if one.action == "keep" and one.profile.sentinels]):
        found.append(
            (
                f"{listed(odd)} {_have(odd, 'holds', 'hold')} {_values(odd)}, which usually means a missing value; "
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


DROP, NO_LABEL = ("--missing", "drop"), ("--label", "")


def cures_of(table: Table, seen: Sequence[Seen], request: Request) -> dict[str, str]:
    """Return the flags that cure the faults of single columns."""
    why = {one.why for one in seen}
    cures = {"--dates": "drop" if inputs_left(seen) else "cyclic"} if "dates" in why else {}
    if "texts" in why:
        cures["--categories"] = "one-hot"
    drop_texts = "many texts" in why and not any(one.action == "one-hot" or one.why == "texts" for one in seen)
    if drop_texts:
        cures["--categories"] = "drop"
    bad = [one.place for one in seen if one.why in LABELS or (one.why == "many texts" and not drop_texts)]
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
        notes.append(f"{listed(odd)} {_have(odd, 'holds', 'hold')} {_values(odd)}, which {done}")
    if far := [one for one in inputs if one.profile.outliers]:
        cells = sum(one.profile.outliers for one in far)
        notes.append(
            f"{listed(far)} {_have(far, 'has', 'have')} {counted(cells, 'value')} far outside the others' range "
            f"({far[0].profile.low:.6g} to {far[0].profile.high:.6g}); check them, since scaling follows the range"
        )
    return tuple(notes)


def listed(seen: Sequence[Seen]) -> str:
    """Return columns as a sentence begins with them: ``columns 'a', 'b' and 3 more``."""
    names = [one.name for one in seen[:MOST_LISTED]]
    if len(seen) == 1:
        return f"column {names[0]}"
    more = len(seen) - len(names)
    last = f"{more} more" if more else names.pop()
    return f"columns {', '.join(names)} and {last}"


def counted(count: int, noun: str) -> str:
    """Return ``1 row`` or ``1,234 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _have(seen: Sequence[Seen], one: str, more: str) -> str:
    return one if len(seen) == 1 else more


def _values(seen: Sequence[Seen]) -> str:
    values = sorted({value for one in seen for value in one.profile.sentinels})
    return ", ".join(f"{value:g}" for value in values[:MOST_LISTED])


Sentence = Callable[[list[Seen]], str]


def _simple(one: str, more: str) -> Sentence:
    """Return a sentence about columns of which all is the same but their names."""
    return lambda seen: f"{listed(seen)} {one if len(seen) == 1 else more}"


def sentences(about: dict[str, Sentence], seen: Sequence[Seen]) -> tuple[str, ...]:
    """Return a sentence for each reason that some columns have."""
    groups = {why: [one for one in seen if one.why == why] for why in about}
    return tuple(about[why](group) for why, group in groups.items() if group)


def _texts(seen: list[Seen]) -> str:
    found = quoted(", ".join(seen[0].column.texts[:4]))
    more = " ..." if len(seen[0].column.texts) > 4 else ""
    return (
        f"{listed(seen)} {_have(seen, 'holds', 'hold')} texts ({found}{more}); --categories one-hot makes an input of "
        "each text, --categories drop leaves the column out"
    )


def _one_hot(seen: list[Seen]) -> str:
    return f"{listed(seen)}: an input for each text, 1 where a row has it"


def _many_texts(seen: list[Seen]) -> str:
    return (
        f"{listed(seen)} {_have(seen, 'has', 'have')} {len(seen[0].column.texts):,} different texts, and at most "
        f"{MOST_TEXTS} become inputs; leave the column out: name the others with --columns, or --categories drop"
    )


def _index(seen: list[Seen]) -> str:
    return f"{listed(seen)} {seen[0].profile.why or 'numbers the rows'} and is left out; --columns keeps it"


def _counter(seen: list[Seen]) -> str:
    return (
        f"{listed(seen)} {seen[0].profile.why or 'rises from row to row'} and is kept as an input; later rows lie "
        "outside its range, so leave it out with --columns unless it matters"
    )


def _labels(seen: list[Seen]) -> str:
    name = seen[0].column.name
    return (
        f"{listed(seen)} {_have(seen, 'looks', 'look')} like a label; --label {quoted(name)} keeps it out of the "
        "inputs and anomalies out of the training rows; to make it an input, name the columns with --columns"
    )


def _classes(seen: list[Seen]) -> str:
    return (
        f"{listed(seen)} {_have(seen, 'looks like a label', 'look like labels')} of several classes; name the other "
        "columns with --columns to leave it out, or all of them to make it an input"
    )


def _nameless(seen: list[Seen]) -> str:
    return (
        f"{listed(seen)} {_have(seen, 'looks like a label and has', 'look like labels and have')} no name for --label; "
        "name the other columns with --columns to leave it out, or all of them to make it an input"
    )


NOTES: dict[str, Sentence] = {
    "index": _index,
    "index kept": _simple("numbers the rows, and is an input", "number the rows, and are inputs"),
    "empty": _simple("has no values and is left out", "have no values and are left out"),
    "constant": _simple("has one value in all rows and is kept", "have one value in all rows and are kept"),
    "constant text": _simple("has one text in all rows and is left out", "have one text in all rows and are left out"),
    "counter": _counter,
    "label kept": _simple(
        "looks like a label and is an input, as --columns names it",
        "look like labels and are inputs, as --columns names them",
    ),
    "dates dropped": _simple("holds dates and is left out", "hold dates and are left out"),
    "cyclic": _simple(
        "is replaced by sine and cosine of time of day, weekday and day of year, where they vary",
        "are replaced by sine and cosine of time of day, weekday and day of year, where they vary",
    ),
    "texts dropped": _simple("holds texts and is left out", "hold texts and are left out"),
    "one-hot": _one_hot,
    "group": _simple("splits the rows and is no input", "split the rows and are no inputs"),
}
"""Reasons that are only reported."""
FAULTS: dict[str, Sentence] = {
    "dates": _simple(
        "holds dates; --dates drop leaves it out, --dates cyclic replaces it by sine and cosine of time of day, "
        "weekday and day of year",
        "hold dates; --dates drop leaves them out, --dates cyclic replaces them by sine and cosine of time of day, "
        "weekday and day of year",
    ),
    "many texts": _many_texts,
    "texts": _texts,
    "label?": _labels,
    "classes": _classes,
    "nameless label": _nameless,
}
"""Reasons why a table is refused."""
WORDS = {
    "index": "numbers the rows",
    "empty": "has no values",
    "constant": "has one value in all rows",
    "constant text": "has one text in all rows",
    "counter": "rises in equal steps",
    "dates dropped": "holds dates",
    "cyclic": "sine and cosine of time of day, weekday and day of year",
    "texts dropped": "holds texts",
    "one-hot": "an input for each text",
    "group": "splits the rows",
    "dates": "holds dates, which need --dates",
    "many texts": "has too many different texts",
    "texts": "holds texts, which need --categories",
    "label?": "looks like a label, which needs --label",
    "classes": "looks like a label",
    "nameless label": "looks like a label",
}
"""Each reason as a clause about one column."""
