"""The launch form without its widgets: its fields, the spec they request, and the command line for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from aecompress.errors import SpecError
from aecompress.flags import FLAGS, Flag, parsed
from aecompress.spec.choices import OneOf
from aecompress.spec.fields import RunSpec
from aecompress.spec.presets import PRESETS
from aecompress.spec.resolve import resolve
from aecompress.spec.toml import parse_assignment

SHOWN = (
    "mode",
    "model.hidden",
    "model.latent",
    "model.family",
    "train.epochs",
    "train.batch",
    "train.learning_rate",
    "evolve.cells",
    "prune.operator",
    "prune.schedule",
    "prune.target_sparsity",
    "prune.granularity",
    "seed",
    "device",
)
"""Fields the form shows, in order; the others are set with ``--set``."""


@dataclass(frozen=True)
class Field:
    """A line of the form."""

    flag: Flag
    default: str
    choices: tuple[str, ...]
    """Empty where any text may be given."""


def form_fields() -> list[Field]:
    """Return the lines of the form, from the spec and the table of flags."""
    by_field = {flag.field: flag for flag in FLAGS}
    return [Field(by_field[path], _shown(_at(RunSpec(), path)), _choices(path)) for path in SHOWN]


def _at(value: Any, path: str) -> Any:
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _choices(path: str) -> tuple[str, ...]:
    model: type[BaseModel] = RunSpec
    *parents, leaf = path.split(".")
    for name in parents:
        inner = model.model_fields[name].annotation
        assert isinstance(inner, type)
        model = inner
    field = model.model_fields[leaf]
    rows = next((one for one in field.metadata if isinstance(one, OneOf)), None)
    if rows is not None:  # a plug-in's is set with --set
        return tuple(rows.names())
    hint = field.annotation
    return tuple(get_args(hint)) if get_origin(hint) is Literal else ()


@dataclass(frozen=True)
class Request:
    """The values of the form: texts by field, empty where the default is kept."""

    data: str
    preset: str
    texts: Mapping[str, str]
    more: str
    """Assignments as after ``--set``, separated by spaces."""
    output: str


def faults(request: Request) -> list[str]:
    """Return what is wrong with the requested spec; empty where nothing is."""
    by_field = {flag.field: flag for flag in FLAGS}
    flags: dict[str, tuple[str, Any]] = {}
    found: list[str] = []
    try:
        assignments = shlex.split(request.more)
    except ValueError as fault:
        return [f"--set {request.more}: {fault}; close the quotation"]
    for assignment in assignments:
        try:
            path, value = parse_assignment(assignment)
            flags[path] = (f"--set {assignment}", value)
        except SpecError as fault:
            found += fault.faults
    flags |= {
        field: (by_field[field].flag, parsed(text, by_field[field].metavar))
        for field, text in request.texts.items()
        if text
    }
    if request.data.startswith("-"):
        found.append(f"data {request.data}: name a file or a built-in set; the form cannot read stdin")
    elif request.data:
        flags["data.source"] = ("DATA", request.data)
    try:
        if not request.output:
            found.append("-o: give the run a folder")
        elif Path(request.output).is_file() or (Path(request.output).is_dir() and any(Path(request.output).iterdir())):
            found.append(f"{request.output}: is not empty; choose another folder with -o")
    except (OSError, ValueError) as fault:
        found.append(f"-o {request.output[:80]}: cannot be a folder ({fault}); choose another")
    try:
        resolve(flags, None, request.preset or None)
    except SpecError as fault:
        found += fault.faults
    return found


def arguments(request: Request) -> list[str]:
    """Return the command line after ``aecompress``."""
    by_field = {flag.field: flag.flag for flag in FLAGS}
    found = ["prune"]
    if request.data:
        found.append(request.data)
    if request.preset and request.preset != "default":
        found += ["--preset", request.preset]
    for field, text in request.texts.items():
        if text:
            found += [by_field[field], text]
    try:
        more = shlex.split(request.more)
    except ValueError:
        more = [request.more]
    for assignment in more:
        found += ["--set", assignment]
    return [*found, "-o", request.output]


def command_line(request: Request) -> str:
    """Return the command line as a user would type it."""
    return shlex.join(["aecompress", *arguments(request)])


PRESET_NAMES = tuple(PRESETS)
