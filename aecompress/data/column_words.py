"""Columns of a table in words: what is reported of them, and why a table is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from aecompress.data.table import Column, Profile
from aecompress.parsing import quoted

Action = Literal["keep", "one-hot", "cyclic", "leave out", "label", "group"]
INPUTS = frozenset(("keep", "one-hot", "cyclic"))
MOST_TEXTS = 32
"""Different texts of a column that become an input each."""
MOST_LISTED = 5
"""Columns that a sentence names."""


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


def have(seen: Sequence[Seen], one: str, more: str) -> str:
    """Return the verb of a sentence about one column, or more."""
    return one if len(seen) == 1 else more


def sentinels(seen: Sequence[Seen]) -> str:
    """Return the values that usually stand for a missing one, as a list."""
    found = sorted({value for one in seen for value in one.profile.sentinels})
    return ", ".join(f"{value:g}" for value in found[:MOST_LISTED])


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
        f"{listed(seen)} {have(seen, 'holds', 'hold')} texts ({found}{more}); --categories one-hot makes an input of "
        "each text, --categories drop leaves the column out"
    )


def _one_hot(seen: list[Seen]) -> str:
    return f"{listed(seen)}: an input for each text, 1 where a row has it"


def _many_texts(seen: list[Seen]) -> str:
    return (
        f"{listed(seen)} {have(seen, 'has', 'have')} {len(seen[0].column.texts):,} different texts, such as "
        f"{quoted(repr(seen[0].column.texts[0]))}, and at most {MOST_TEXTS} become inputs; leave the column out: name "
        "the others with --columns, or --categories drop"
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
        f"{listed(seen)} {have(seen, 'looks', 'look')} like a label; --label {quoted(name)} keeps it out of the "
        "inputs and anomalies out of the training rows; to make it an input, name the columns with --columns"
    )


def _classes(seen: list[Seen]) -> str:
    return (
        f"{listed(seen)} {have(seen, 'looks like a label', 'look like labels')} of several classes; name the other "
        "columns with --columns to leave it out, or all of them to make it an input"
    )


def _mostly_missing(seen: list[Seen]) -> str:
    first = seen[0].profile.missing
    return (
        f"{listed(seen)} {have(seen, 'has', 'have')} no value in {first:,} rows, more than half; name the other "
        "columns with --columns to leave it out, or fill it by --missing median or mean"
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
    "mostly missing": _mostly_missing,
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
    "mostly missing": "has a value in less than half of the rows",
}
"""Each reason as a clause about one column."""
