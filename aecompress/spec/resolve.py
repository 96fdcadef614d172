"""A spec from flags over a file over a preset over the defaults, with every value's source and every fault at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aecompress.errors import SpecError
from aecompress.spec.fields import FIELDS, RunSpec
from aecompress.spec.presets import PRESETS
from aecompress.spec.rules import contradictions, ignored
from aecompress.spec.toml import flatten, nest, read_toml


@dataclass(frozen=True)
class Resolved:
    """A spec and, for each dotted field, where its value came from."""

    spec: RunSpec
    sources: dict[str, str] = field(default_factory=dict)


def resolve(
    flags: Mapping[str, tuple[str, Any]] | None = None,
    file: Path | None = None,
    preset: str | None = None,
) -> Resolved:
    """Merge flags over the file over the preset over the defaults, and check the result.

    Args:
        flags: dotted path -> (the flag as the user wrote it, value).
        preset: name of a preset; None takes the file's ``preset``, else "default".

    Raises:
        SpecError: with every fault found, each naming its field, value and source.
    """
    faults = []
    try:
        tables = read_toml(file) if file is not None else {}
    except SpecError as fault:
        tables, faults = {}, fault.faults
    from_file = tables.pop("preset", None)
    name = preset if preset is not None else from_file if from_file is not None else "default"
    if not isinstance(name, str) or name not in PRESETS:
        faults.append(f"preset = {name!r:.200}: no such preset; choose one of {', '.join(PRESETS)}")
        name = "default"
    values: dict[str, Any] = {}
    sources = dict.fromkeys(FIELDS, "default")
    for path, value in flatten(PRESETS[name]).items():
        values[path], sources[path] = value, f"preset {name}"
    for path, value in flatten(tables).items():
        values[path], sources[path] = value, str(file)
    for path, (flag, value) in (flags or {}).items():
        values[path], sources[path] = value, flag
    spec, more = _validated(values, sources)
    if spec is not None:
        more += ignored(spec, sources)
    if faults or more or spec is None:
        raise SpecError(faults + more)
    return Resolved(spec, sources)


def override(resolved: Resolved, path: str, value: Any, source: str) -> Resolved:
    """Return the same spec with one field set; the value must be valid."""
    values = flatten(resolved.spec.model_dump()) | {path: value}
    return Resolved(RunSpec.model_validate(nest(values)), resolved.sources | {path: source})


def _validated(values: dict[str, Any], sources: Mapping[str, str]) -> tuple[RunSpec | None, list[str]]:
    """Return the spec and every fault: unknown fields, bad values, then contradictions between the good ones."""
    unfit = {path: fault for path, value in values.items() if (fault := _unfit(path, value))}
    faults = [f"{path:.200} = {_short(values[path])} ({sources[path]:.200}): {fault}" for path, fault in unfit.items()]
    good = {path: value for path, value in values.items() if path not in unfit}
    try:
        spec = RunSpec.model_validate(nest(good))
    except ValidationError as error:
        wrong = _messages(error)
        for path, messages in wrong.items():
            faults.append(f"{path} = {_short(good.get(path))} ({sources.get(path, 'default'):.200}): {_cure(messages)}")
            good.pop(path, None)
        if wrong.keys() & {"model.encoder", "model.decoder"}:  # each is nothing without the other
            good.pop("model.encoder", None)
            good.pop("model.decoder", None)
        try:
            spec = RunSpec.model_validate(nest(good))
        except ValidationError:
            return None, faults
    return spec, faults + contradictions(spec)


def _unfit(path: str, value: Any) -> str:
    """Return why there can be no such field with such a value; empty where there can."""
    if path not in FIELDS:
        close = difflib.get_close_matches(path, FIELDS, n=1)
        cure = f"did you mean {close[0]}?" if close else "`aecompress spec --schema` lists the fields"
        return f"no such field; {cure}"
    if isinstance(value, str) and any("\ud800" <= sign <= "\udfff" for sign in value):
        return "is not UTF-8, as a spec file is; rename the file"
    if _holds_bool(value) and not isinstance(FIELDS[path], bool):
        return "is true or false, which it cannot be"
    return ""


def _messages(error: ValidationError) -> dict[str, list[str]]:
    """Return pydantic's messages by dotted field, each once."""
    found: dict[str, list[str]] = {}
    for fault in error.errors():
        path, inside = _field_of(fault["loc"])
        message = f"{inside}: {fault['msg'].lower()}" if inside else fault["msg"]
        if message not in found.setdefault(path, []):
            found[path].append(message)
    return found


def _holds_bool(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list) and any(_holds_bool(item) for item in value))


def _field_of(location: tuple[int | str, ...]) -> tuple[str, str]:
    """Return the dotted field that a pydantic location lies in, and in words where inside a written-out layer."""
    path = ""
    for index, part in enumerate(location):
        path = f"{path}.{part}" if path else str(part)
        if path in FIELDS:
            rest = location[index + 1 :]
            return path, f"layer {rest[0]}, {rest[1]}" if len(rest) == 2 and isinstance(rest[0], int) else ""
    return path, ""


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _cure(messages: list[str]) -> str:
    others = [message for message in messages if message != "Input should be 'auto'"]
    text = " or ".join(message[0].lower() + message[1:] for message in others)
    return text + " or 'auto'" if len(others) < len(messages) else text
