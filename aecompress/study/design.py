"""A study file: groups of runs that differ in some fields of the spec, each with many seeds, and claims about them."""

from __future__ import annotations

import difflib
import itertools
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aecompress.errors import SpecError
from aecompress.spec.presets import PRESETS
from aecompress.spec.resolve import Resolved, resolve
from aecompress.spec.toml import flatten, read_toml

Names = Annotated[list[str], Field(min_length=2, max_length=2)]

MOST_RUNS = 20_000
"""Runs of a study."""
SEEDS = f"write how many, from 1 to {MOST_RUNS}, or a list of whole numbers from 0 to {(1 << 63) - 1}"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GroupTable(_Part):
    """``[[group]]``: a group, or with a grid one for each combination of its values."""

    name: str
    preset: str = ""
    spec: dict[str, Any] = Field(default_factory=dict)
    grid: dict[str, Any] = Field(default_factory=dict)
    expected: float | None = None
    within: Annotated[float, Field(gt=0)] | None = None


class ClaimTable(_Part):
    """``[[claim]]``: the first group has the lower loss, or both have the same, to ``within``."""

    text: str
    lower: str = ""
    higher: str = ""
    alike: Names | None = None
    within: Annotated[float, Field(gt=0)] | None = None


class StudyTable(_Part):
    """The whole file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    question: str = ""
    preset: str = "default"
    seeds: (
        Annotated[int, Field(ge=1, le=MOST_RUNS)]
        | Annotated[list[Annotated[int, Field(ge=0, lt=1 << 63)]], Field(min_length=1)]
    )
    spec: dict[str, Any] = Field(default_factory=dict)
    group: Annotated[list[GroupTable], Field(min_length=1)]
    claim: list[ClaimTable] = Field(default_factory=list)


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone."""

    name: str
    preset: str
    fields: dict[str, Any]
    """The fields that the study sets, by dotted path."""
    expected: float | None
    """Published mean loss."""
    within: float | None
    """Largest difference from it that counts as agreement."""


@dataclass(frozen=True)
class Claim:
    """A sentence about two groups: ``first`` has the lower loss, or both have the same."""

    text: str
    first: str
    second: str
    within: float | None = None
    """Of a claim of equality, the largest difference that counts as equal; None where the claim is of an order."""


@dataclass(frozen=True)
class Trial:
    """One run of a study."""

    group: Group
    seed: int
    resolved: Resolved

    @property
    def folder(self) -> str:
        """Return the name of its run folder."""
        return f"{slug(self.group.name)}-seed-{self.seed}"


@dataclass(frozen=True)
class Study:
    """The content of a study file; every spec in it is valid."""

    name: str
    question: str
    seeds: tuple[int, ...]
    groups: tuple[Group, ...]
    claims: tuple[Claim, ...]
    trials: tuple[Trial, ...]
    """Seed by seed, so that a study that is stopped half-way has trials of every group."""
    text: str
    """The text of the file."""


def slug(name: str) -> str:
    """Return a group's name as part of a folder's."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")


def read_study(path: Path) -> Study:
    """Read a study file and check the spec of every run in it.

    Raises:
        SpecError: with every fault, each naming the file, the place and the value.
    """
    from aecompress.plan.data import request_of  # imports torch

    tables = read_toml(path)
    try:
        table = StudyTable.model_validate(tables)
    except ValidationError as error:
        faults = [_fault(path, tables, fault) for fault in error.errors()]
        raise SpecError(list(dict.fromkeys(faults))) from error
    seeds = tuple(range(1, table.seeds + 1)) if isinstance(table.seeds, int) else tuple(table.seeds)
    faults = [f"{path}: seeds = {table.seeds}: names a seed twice"] if len(set(seeds)) < len(seeds) else []
    groups = [group for number, each in enumerate(table.group) for group in _groups(path, table, each, number, faults)]
    if len(seeds) * len(groups) > MOST_RUNS:
        raise SpecError(f"{path}: makes {len(seeds) * len(groups):,} runs; give at most {MOST_RUNS:,}")
    claims = tuple(_claim(path, each, groups, faults) for each in table.claim)
    folders: dict[str, str] = {}
    for group in groups:
        other = folders.setdefault(slug(group.name), group.name)
        if other is not group.name or not slug(group.name):
            faults.append(f"{path}: group {group.name!r:.200}: needs a name unlike {other!r:.200} in letters or digits")
    resolved: dict[str, Resolved] = {}
    for group in groups:
        try:
            shared = flatten(table.spec)
            flags = {
                key: (str(path) if shared.get(key) == value else f"{path}, group {group.name!r:.200}", value)
                for key, value in group.fields.items()
            }
            resolved[group.name] = resolve(flags, preset=group.preset)
            request_of(resolved[group.name].spec.data, 0)  # what a kind of data refuses is a fault of the study too
        except SpecError as fault:
            named = f"{path}, group {group.name!r:.200}: "
            faults += [each if str(path) in each else named + each for each in fault.faults]
    if faults:
        raise SpecError(list(dict.fromkeys(faults)))
    trials = tuple(Trial(group, seed, _seeded(resolved[group.name], seed)) for seed in seeds for group in groups)
    return Study(
        name=table.name,
        question=table.question,
        seeds=seeds,
        groups=tuple(groups),
        claims=claims,
        trials=trials,
        text=path.read_text(encoding="utf-8"),
    )


def _seeded(resolved: Resolved, seed: int) -> Resolved:
    spec = resolved.spec.model_copy(update={"seed": seed})
    return Resolved(spec, resolved.sources | {"seed": "the study's seeds"})


def _groups(path: Path, study: StudyTable, table: GroupTable, number: int, faults: list[str]) -> list[Group]:
    """Return the groups of one table: with a grid, one for each combination, named after its values."""
    preset = table.preset or study.preset
    if preset not in PRESETS:
        faults.append(f"{path}: preset = {preset!r:.200}: no such preset; choose one of {', '.join(PRESETS)}")
        return []
    base = flatten(study.spec) | flatten(table.spec)
    grid = flatten(table.grid)
    if "seed" in base or "seed" in grid:
        faults.append(f"{path}: group {table.name!r:.200}: seed is set by seeds; leave it out of spec and grid")
        return []
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            faults.append(
                f"{path}: group {table.name!r:.200}: grid {key} = {values!r:.200}: is not a list of values; "
                "write [a, b]"
            )
            return []
    if grid and table.expected is not None:
        faults.append(f"{path}: group {table.name!r:.200}: expected belongs to one group, not to a grid; write it out")
    runs = math.prod(len(values) for values in grid.values())
    if runs > MOST_RUNS:
        faults.append(f"{path}: group {table.name!r:.200}: grid makes {runs:,} groups; give at most {MOST_RUNS:,}")
        return []
    groups = []
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        name = ", ".join([table.name, *(str(value) for value in chosen.values())])
        groups.append(
            Group(name=name, preset=preset, fields=base | chosen, expected=table.expected, within=table.within)
        )
    return groups


def _claim(path: Path, table: ClaimTable, groups: list[Group], faults: list[str]) -> Claim:
    alike = table.alike is not None
    first, second = table.alike if table.alike is not None else (table.lower, table.higher)
    if alike == bool(table.lower or table.higher) or not (first and second):
        faults.append(f"{path}: claim {table.text!r:.200}: give lower and higher, or alike = [a, b]")
    if alike != (table.within is not None):
        faults.append(
            f"{path}: claim {table.text!r:.200}: within is the largest difference that is still alike; give both"
        )
    names = [group.name for group in groups]
    for name in (first, second):
        if name and name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            cure = f"did you mean {close[0]!r:.200}?" if close else f"the groups are {', '.join(names)}"
            faults.append(f"{path}: claim {table.text!r:.200}: no group is called {name!r:.200}; {cure}")
    return Claim(table.text, first, second, table.within)


def _fault(path: Path, tables: dict[str, Any], fault: Any) -> str:
    """Return one fault of the file's form, with the value that is there."""
    value: Any = tables
    for step in fault["loc"]:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            break
    # pydantic also names the branch of a union that it tried, which is not a place in the file.
    where = ".".join(str(step) for step in fault["loc"] if "[" not in str(step) and step != "int")
    if fault["loc"][0] == "seeds" and "seeds" in tables:  # a union, of which pydantic lists what each branch lacks
        return f"{path}: seeds = {tables['seeds']!r}: {SEEDS}; correct it there"
    if fault["type"] == "missing":
        return f"{path}: {where} is missing; write it there"
    if fault["type"] == "extra_forbidden":
        known = _known(fault["loc"])
        return f"{path}: {where} = {value!r:.200}: no such entry; choose one of {', '.join(known)}"
    return f"{path}: {where} = {value!r:.200}: {fault['msg'].lower()}; correct it there"


def _known(place: tuple[Any, ...]) -> list[str]:
    tables: dict[str, type[_Part]] = {"group": GroupTable, "claim": ClaimTable}
    return list((tables[str(place[0])] if len(place) > 1 else StudyTable).model_fields)


def copied(folder: Path) -> Study:
    """Read the study whose runs are in ``folder``.

    Raises:
        SpecError: the folder holds none, or its file is damaged.
    """
    path = folder / "study.toml"
    if not path.is_file():
        raise SpecError(f"{folder}: holds no study (no study.toml); name the folder of `aecompress sweep`")
    return read_study(path)
