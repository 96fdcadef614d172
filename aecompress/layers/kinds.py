"""The layer kinds by name; a new kind is one file beside this one and one row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, cast

from aecompress.layers.base import Layer
from aecompress.layers.dense import Dense

KINDS: dict[str, type[Layer]] = {"dense": Dense}


def to_json(layer: Layer) -> dict[str, Any]:
    """Return what ``config.json`` says of a layer: its kind and its numbers, but not its name."""
    return {"kind": layer.kind} | {field.name: getattr(layer, field.name) for field in _numbers(type(layer))}


def from_json(name: str, values: Mapping[str, Any]) -> Layer:
    """Return the layer ``name`` of what :func:`to_json` gave.

    Raises:
        KeyError, TypeError, ValueError: it is no layer of a kind that is known.
    """
    kind = KINDS[values["kind"]]
    make = cast(Callable[..., Layer], kind)
    return make(name=name, **{field.name: _typed(values[field.name], str(field.type)) for field in _numbers(kind)})


def _numbers(kind: type[Layer]) -> list[Any]:
    return [field for field in fields(kind) if field.name != "name"]  # type: ignore[arg-type]


def _typed(value: Any, kind: str) -> Any:
    """Return ``value`` where it is of the type that a field is declared with."""
    wanted = {"int": int, "str": str, "float": (int, float), "bool": bool}[kind]
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "bool"):  # type: ignore[arg-type]
        raise TypeError(f"{value!r} is not of type {kind}")
    return value
