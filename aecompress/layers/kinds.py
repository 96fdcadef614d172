"""The layer kinds by name; a new kind is one file beside this one and one row here, or comes with another package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import EllipsisType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from aecompress import plugins
from aecompress.errors import SpecError
from aecompress.layers.base import Layer
from aecompress.layers.conv import Conv1d, Conv2d
from aecompress.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d
from aecompress.layers.dense import Dense
from aecompress.layers.pool import AvgPool, GlobalAvgPool, MaxPool, Upsample
from aecompress.layers.prelu import Prelu
from aecompress.layers.recurrent import Gru, Lstm, Repeat
from aecompress.layers.reshape import Flatten, Permute, Reshape, Unflatten
from aecompress.layers.scale import Scale

OURS: tuple[type[Layer], ...] = (
    Dense,
    *(Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d),
    *(MaxPool, AvgPool, GlobalAvgPool, Upsample),
    *(Flatten, Unflatten, Reshape, Permute),
    *(Lstm, Gru, Repeat),
    *(Scale, Prelu),
)
KINDS: dict[str, type[Layer]] = {kind.kind: kind for kind in OURS}

WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
"""What a field of a kind can be declared as, in words; also a Literal of texts, and a tuple of whole numbers."""


def kind_of(name: str) -> type[Layer]:
    """Return the kind ``name``: one of ours, or the one that an installed package brings under that name.

    Raises:
        SpecError: there is none, or what the package brings is no kind of that name.
    """
    if name in KINDS:
        return KINDS[name]
    found = plugins.load(plugins.LAYERS, "kind", name, list(KINDS))
    if not isinstance(found, type) or not is_dataclass(found) or getattr(found, "kind", None) != name:
        raise SpecError(
            f"kind = {name!r}: its package brings {found!r}, which is no layer kind of that name; ask its author"
        )
    if not is_frozen(found):
        raise SpecError(
            f"kind = {name!r}: its package brings {found!r}, which is not a frozen dataclass; ask its author"
        )
    return cast(type[Layer], found)


def is_frozen(kind: type) -> bool:
    """Return whether a dataclass is frozen: networks are the keys of caches, so their layers must not change."""
    return bool(kind.__dataclass_params__.frozen)  # type: ignore[attr-defined]


def to_json(layer: Layer) -> dict[str, Any]:
    """Return what ``config.json`` says of a layer: its kind and its numbers, but not its name, nor empty lists."""
    values = {name: getattr(layer, name) for name in numbers_of(type(layer))}
    return {"kind": layer.kind} | {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items() if value != ()
    }


def same_padding(name: str, kernel: tuple[int, ...], dilation: Any) -> tuple[int, ...]:
    """Return the zeros at each end with which a convolution of stride 1 gives as many places as it is given.

    Raises:
        SpecError: a kernel has an even number of places, which would need more at one end.
    """
    steps = (dilation,) * len(kernel) if type(dilation) is int else tuple(dilation) * (len(kernel) // len(dilation))
    if any(step * (size - 1) % 2 for size, step in zip(kernel, steps, strict=True)):
        raise SpecError(
            f"model: layer {name}: padding = 'same' needs a kernel with an odd number of places, not {list(kernel)}; "
            "write the padding as a number"
        )
    return tuple(step * (size - 1) // 2 for size, step in zip(kernel, steps, strict=True))


def numbers_of(kind: type[Layer]) -> list[str]:
    """Return the names of a kind's numbers: all its fields but the name."""
    return [field.name for field in _numbers(kind)]


def from_json(name: str, values: Mapping[str, Any]) -> Layer:
    """Return the layer ``name`` of what :func:`to_json` gave; a number that its kind has a default for may be missing.

    Raises:
        KeyError, TypeError: it is no layer.
        SpecError: it is of no known kind, or a number is missing or is not as its kind declares it.
    """
    kind = kind_of(values["kind"])
    types = get_type_hints(kind)
    given: dict[str, Any] = {}
    for field in _numbers(kind):
        wanted = types[field.name]
        if field.name in values:
            value = values[field.name]
            if value == "same" and field.name == "padding" and "kernel" in given:
                value = same_padding(name, given["kernel"], values.get("dilation", 1))
            given[field.name] = _typed(kind.kind, field.name, value, wanted)
        elif field.default is MISSING:
            raise SpecError(f"a {kind.kind} layer needs {field.name!r}, {in_words(wanted)}; add it")
    return cast(Callable[..., Layer], kind)(name=name, **given)


def _numbers(kind: type[Layer]) -> list[Field[Any]]:
    return [field for field in fields(kind) if field.name != "name"]  # type: ignore[arg-type]


def _typed(kind: str, name: str, value: Any, wanted: Any) -> Any:
    """Return ``value`` as a field of type ``wanted`` keeps it.

    Raises:
        SpecError: it is of another type.
    """
    if not fits(value, wanted):
        raise SpecError(f"{name} = {value!r}: a {kind} layer takes {in_words(wanted)} there; correct it")
    if get_origin(wanted) is tuple:
        return (value,) if type(value) is int else tuple(value)
    return value


def fits(value: Any, wanted: Any) -> bool:
    """Return whether a value of TOML or JSON can be that of a field of type ``wanted``."""
    if get_origin(wanted) is Literal:
        return isinstance(value, str) and value in get_args(wanted)
    if get_origin(wanted) is tuple:
        count = _count(wanted)
        if type(value) is int:
            return count is None
        return (
            isinstance(value, list | tuple)
            and count in (None, len(value))
            and all(type(number) is int for number in value)
        )
    return type(value) is wanted or (wanted is float and type(value) is int)


def in_words(wanted: Any) -> str:
    """Return what a field of type ``wanted`` takes."""
    if get_origin(wanted) is Literal:
        return f"one of {', '.join(get_args(wanted))}"
    if get_origin(wanted) is tuple:
        count = _count(wanted)
        return "a whole number or a list of these" if count is None else f"a list of {count} whole numbers"
    return WORDS.get(wanted, str(wanted))


def _count(wanted: Any) -> int | None:
    """Return how many numbers a tuple has; None: any."""
    parts = get_args(wanted)
    return None if isinstance(parts[-1], EllipsisType) else len(parts)
