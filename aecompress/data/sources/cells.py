"""Texts of cells as numbers: what a column holds, and each of its cells as float64."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from aecompress.data.sources.dialect import MISSING, TRUTH
from aecompress.data.table import Column, Holds

MOST_TEXTS = 1 << 16
"""Different texts of a column that are kept; further ones count as one."""
OTHERS = "(other texts)"
DOTS = r"^[+-]?\d{1,3}(\.\d{3})+(,\d*)?$"
COMMA = r"^[+-]?\d*,\d+([eE][+-]?\d+)?$"
GROUPS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d*)?$"
TIMES = (
    "",
    " %I:%M:%S %p",
    " %I:%M %p",
    " %H:%M:%S%.f",
    "T%H:%M:%S%.f",
    " %H:%M",
    "T%H:%M",
    "T%H:%M:%S%.fZ",
    "T%H:%M:%S%.f%z",
    " %H:%M:%S%.f%z",
)
DAYS = (
    ("%Y-%m-%d", ""),
    ("%Y/%m/%d", ""),
    ("%d.%m.%Y", ""),
    ("%m/%d/%Y", "month/day/year"),
    ("%d/%m/%Y", "day/month/year"),
    ("%d-%m-%Y", "day-month-year"),
    ("%d-%b-%Y", ""),
    ("%d %b %Y", ""),
    ("%b %d, %Y", ""),
)
"""How days are written, and what is assumed where that is not plain."""
SPACED = "^[+-]?\\d{1,3}([ '\u00a0\u202f]\\d{3})+([.,]\\d+)?$"
SIGNED = "^[+-]?[$€£¥][ \u00a0]?[+-]?[\\d.,]+$|^[+-]?[\\d.,]+[ \u00a0]?[%$€£¥]$"
TRIED = 200
"""Cells on which ways to write a date are tried."""

Doubles = NDArray[np.float64]


@dataclass
class Reading:
    """A column while it is read: changed in place by each block."""

    place: int
    """Among the cells of a line."""
    name: str
    holds: Holds = "number"
    format: str = ""
    """Of dates."""
    decimal_comma: bool = False
    grouped: bool = False
    """Whether a number was written with a sign between thousands."""
    spaced: bool = False
    """Whether one was written with spaces between thousands."""
    signed: bool = False
    """Whether one was written with a currency or a percent sign."""
    crowded: bool = False
    """Whether there are more than :data:`MOST_TEXTS` texts."""
    texts: dict[str, int] = field(default_factory=dict)
    unread: int = 0
    example: str = ""

    @property
    def column(self) -> Column:
        """Return the column as it has been read so far."""
        return Column(
            name=self.name, holds=self.holds, texts=tuple(self.texts), unread=self.unread, example=self.example
        )

    def notes(self) -> Iterator[str]:
        """Return what was assumed of the cells, as clauses."""
        called = f"column {self.place} ({self.name!r:.60})" if self.name else f"column {self.place}"
        if self.holds == "date" and (assumed := dict(DAYS).get(self.format.partition(" %H")[0].partition("T")[0])):
            yield f"dates of {called} are taken as {assumed}"
        if self.grouped:
            yield f"numbers of {called} have {'points' if self.decimal_comma else 'commas'} between thousands"
        if self.spaced:
            yield f"numbers of {called} have spaces between thousands"
        if self.signed:
            yield f"numbers of {called} have signs of currency or percent, which are left out"
        if self.crowded:
            yield f"{called} has more than {MOST_TEXTS:,} different texts; the others are taken as one"


def cleaned(texts: pl.Series) -> pl.Series:
    """Return texts without white space around them; null where one is a usual word for a missing value."""
    stripped = texts.str.strip_chars()
    if stripped.str.starts_with("'").any():
        stripped = stripped.str.replace(r"^'(.*)'$", "$1")
    gone = stripped.str.to_lowercase().is_in(list(MISSING))
    return stripped.set(gone, None) if gone.any() else stripped


def infer(reading: Reading, texts: pl.Series) -> None:
    """Set what a column holds from its first texts: numbers where they are at least half of them."""
    if not reading.decimal_comma and not texts.cast(pl.Float64, strict=False).has_nulls():
        return  # each further look at thousands of columns takes its time
    given = cleaned(texts).drop_nulls()
    count = len(given)
    if not count or 2 * int(numbers(reading, given).is_not_null().sum()) >= count:
        return
    few = given.head(TRIED)
    if bool(few.str.to_lowercase().is_in(list(TRUTH)).all()):
        reading.holds = "boolean"
        return
    found, most = "", len(few) // 2
    if few.str.contains(r"\d").all():
        for day, _ in DAYS:
            for time in TIMES:
                here = int(dates(few, day + time).is_not_null().sum())
                if here > most:
                    found, most = day + time, here
    reading.holds, reading.format = ("date", found) if found else ("text", "")


def numbers(reading: Reading, given: pl.Series) -> pl.Series:
    """Return cleaned texts as Float64; null where one is no number. Sets how they are written in ``reading``."""
    plain = given.cast(pl.Float64, strict=False)
    if not reading.decimal_comma and not (plain.is_null() & given.is_not_null()).any():  # else 1.234 is 1234
        return plain
    given = undressed(reading, given)
    if reading.decimal_comma:
        pointed = given.str.contains(DOTS)
        reading.grouped |= bool(pointed.any())
        plain = given.to_frame("a").select(
            pl.when(pointed).then(pl.col("a").str.replace_all(".", "", literal=True)).otherwise(pl.col("a"))
        )["a"]
        comma = plain.str.contains(COMMA) | pointed
        swapped = plain.str.replace(",", ".", literal=True)
        return plain.zip_with(~comma.fill_null(False), swapped).cast(pl.Float64, strict=False)
    values = given.cast(pl.Float64, strict=False)
    odd = values.is_null() & given.is_not_null()
    if odd.any() and bool((groups := odd & given.str.contains(GROUPS)).any()):
        reading.grouped = True
        whole = given.str.replace_all(",", "", literal=True).cast(pl.Float64, strict=False)
        values = values.zip_with(~groups.fill_null(False), whole)
    return values


def undressed(reading: Reading, given: pl.Series) -> pl.Series:
    """Return cleaned texts as plain numbers: without currency, percent signs and spaces between thousands, with E for
    Fortran's D and a minus of ASCII. Sets ``reading.spaced`` and ``reading.signed``.
    """
    plain = given.str.replace_all("\u2212", "-", literal=True)
    spaced = plain.str.contains(SPACED)
    signed = plain.str.contains(SIGNED)
    reading.spaced |= bool(spaced.any())
    reading.signed |= bool(signed.any())
    plain = plain.zip_with(~spaced.fill_null(False), plain.str.replace_all(r"[ '\u00a0\u202f]", ""))
    plain = plain.zip_with(~signed.fill_null(False), plain.str.replace_all(r"[%$€£¥ \u00a0]", ""))
    return plain.str.replace(r"^([+-]?\d*\.?\d*)[dD]([+-]?\d+)$", "${1}e$2")


def dates(given: pl.Series, form: str) -> pl.Series:
    """Return cleaned texts as seconds since 1970, UTC; null where one is not written so."""
    return given.str.to_datetime(form, strict=False, time_unit="us").dt.timestamp("us").cast(pl.Float64) / 1e6


def values_of(reading: Reading, texts: pl.Series) -> tuple[Doubles, NDArray[np.bool_]]:
    """Return the cells of a block ``[N]``, NaN where missing, and which have a value that could not be read."""
    given = cleaned(texts)
    if reading.holds == "text":
        return places_of(reading, given), np.zeros(len(given), bool)
    if reading.holds == "date":
        values = dates(given, reading.format)
    elif reading.holds == "boolean":
        values = given.str.to_lowercase().replace_strict(TRUTH, default=None, return_dtype=pl.Float64)
    else:
        values = numbers(reading, given)
    unread = (values.is_null() & given.is_not_null()).to_numpy()
    return values.fill_null(float("nan")).to_numpy(), unread


def places_of(reading: Reading, given: pl.Series) -> Doubles:
    """Return the places of texts among those of the column, which grow; NaN where missing."""
    new = given.unique(maintain_order=True).drop_nulls().to_list()
    places = []
    for text in new:
        if text not in reading.texts and len(reading.texts) >= MOST_TEXTS:
            reading.crowded, text = True, OTHERS
        places.append(reading.texts.setdefault(text, len(reading.texts)))
    found = given.replace_strict(new, places, default=None, return_dtype=pl.Float64)
    return found.fill_null(float("nan")).to_numpy()
