"""Specs as TOML, and tables by dotted path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aecompress.errors import CONTROL, SpecError
from aecompress.parsing import parse_toml, quoted

if TYPE_CHECKING:
    from aecompress.spec.resolve import Resolved

MOST_BYTES = 1 << 20
"""Of a TOML file: Python takes up to two seconds for it."""


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as ``{"a.b": value}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"a.b": value}`` as nested tables; a path below something that is no table is left out."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        table = nested
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                break
        else:
            table[leaf] = value
    return nested


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split ``a.b=c`` of ``--set`` into path and value, which is read as TOML where it is TOML and as text otherwise.

    Raises:
        SpecError: it is not written like this.
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise SpecError(f"--set {quoted(text)}: write it as section.field=value, for example train.batch=64")
    try:
        return path.strip(), parse_toml(f"value = {value}")["value"]
    except ValueError:
        return path.strip(), value.strip()


def read_toml(path: Path) -> dict[str, Any]:
    """Read the tables of a spec file.

    Raises:
        SpecError: the file is missing or not TOML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise ValueError(f"has more than {MOST_BYTES >> 20} MiB")
        return parse_toml(data.decode())
    except OSError as fault:
        raise SpecError(f"{path}: cannot be read ({fault.strerror}); name an existing TOML file") from fault
    except ValueError as fault:
        raise SpecError(f"{path}: is not TOML ({quoted(fault)}); correct it there") from fault


def to_toml(resolved: Resolved) -> str:
    """Return the spec as a TOML file that :func:`resolve` reads back, each value followed by where it came from."""
    top, sections = [], []
    for path, value in flatten(resolved.spec.model_dump(mode="json")).items():
        line = f"{path.rpartition('.')[2]} = {_toml(value)}  # {resolved.sources[path]}"
        section = path.rpartition(".")[0]
        if not section:
            top.append(line)
            continue
        if f"[{section}]" not in sections:
            sections += ["", f"[{section}]"]
        sections.append(line)
    return "\n".join(top + sections) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", json.dumps(value, ensure_ascii=False))
