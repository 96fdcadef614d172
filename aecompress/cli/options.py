"""The flags that stand for fields of the spec, as parameters of every command that takes a spec."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aecompress.flags import FLAGS, SWITCH, Flag, parsed
from aecompress.registry import data_usage

if TYPE_CHECKING:
    from aecompress.spec.resolve import Resolved


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_SOURCE = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="DATA...",
        help=f"{data_usage()}. \\[default: digits]",
        show_default=False,
    ),
]
_SPEC = Annotated[
    Path | None, typer.Option("--spec", metavar="FILE", help="TOML file with the spec.", rich_help_panel="Spec")
]
_PRESET = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="default, paper-canonical, paper-coevo or paper-coevo-sync.", rich_help_panel="Spec"
    ),
]
_SET = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SECTION.FIELD=VALUE", help="Any field of the spec; may be repeated.", rich_help_panel="Spec"
    ),
]

Resolve = Callable[..., "Resolved"]
"""Returns the spec of the user's flags, and of a command's own if given (field -> flag and value); raises SpecError
with every fault."""


def with_spec(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of the table; it gets their spec as its first parameter, a :data:`Resolve`."""
    added = {"source": _SOURCE, "spec": _SPEC, "preset": _PRESET, "set_": _SET} | {
        _name(flag): Annotated[
            str | None, typer.Option(flag.flag, metavar=flag.metavar, help=flag.help, rich_help_panel=flag.panel)
        ]
        if flag.metavar != SWITCH
        else Annotated[
            bool | None, typer.Option(f"{flag.flag}/{_off(flag)}", help=flag.help, rich_help_panel=flag.panel)
        ]
        for flag in FLAGS
    }
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    kind = inspect.Parameter.KEYWORD_ONLY
    shared = [inspect.Parameter(name, kind, default=None, annotation=hint) for name, hint in added.items()]

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        mine = {name: values.pop(name) for name in added}
        command(functools.partial(resolved_from, mine), **values)

    parameters = [*shared, *(parameter.replace(kind=kind) for parameter in own)]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def _off(flag: Flag) -> str:
    """Return how a switch is turned off."""
    return f"--no-{flag.flag.removeprefix('--')}"


def _name(flag: Flag) -> str:
    return flag.flag.removeprefix("--").replace("-", "_")


def resolved_from(values: dict[str, Any], own: Mapping[str, tuple[str, Any]] = MappingProxyType({})) -> Resolved:
    """Return the spec of parameters of the table.

    Args:
        own: field -> flag and value, of flags that one command alone has.

    Raises:
        SpecError: with every fault.
    """
    from aecompress.errors import SpecError
    from aecompress.spec.resolve import resolve
    from aecompress.spec.toml import parse_assignment

    flags: dict[str, tuple[str, Any]] = {}
    faults = []
    for assignment in values["set_"] or []:
        try:
            path, value = parse_assignment(assignment)
            flags[path] = (f"--set {assignment}", value)
        except SpecError as fault:
            faults += fault.faults
    if values["source"]:
        source, *more = values["source"]
        flags["data.source"] = ("DATA", source)
        if more:
            flags["data.more"] = ("DATA", more)
    for flag in FLAGS:
        text = values[_name(flag)]
        if text is not None and flag.metavar == SWITCH:
            flags[flag.field] = (flag.flag if text else _off(flag), text)
        elif text is not None:
            flags[flag.field] = (flag.flag, parsed(text, flag.metavar))
    faults += [f"{own[field][0]}: {flags[field][0]} sets {field} too; leave one out" for field in own if field in flags]
    try:
        resolved = resolve({**flags, **own}, values["spec"], values["preset"])
    except SpecError as fault:
        raise SpecError(faults + fault.faults) from fault
    if faults:
        raise SpecError(faults)
    return resolved
