"""The flags that stand for fields of the spec: one table, shared by every command that takes a spec."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from aecompress.spec import Resolved


class Flag(NamedTuple):
    """A flag, the field it sets, and its help."""

    flag: str
    field: str
    help: str
    metavar: str = "TEXT"
    panel: str = "Spec"


NUMBER, NUMBERS = "NUMBER", "A,B,..."
FLAGS = (
    Flag("--mode", "mode", "coevo (a ring of encoders and decoders) or canonical (one autoencoder)."),
    Flag("--seed", "seed", "Names every random draw.", NUMBER),
    Flag("--device", "device", "auto, cpu, cuda, cuda:N or mps."),
    Flag("--precision", "precision", "float32, float64 or bf16."),
    Flag("--compile", "compile", "auto, on or off: compiled training on a CPU."),
    Flag("--key", "data.key", "Array in an .npz file.", panel="Data"),
    Flag("--columns", "data.columns", "Columns of CSV rows, by name or number: a,b or 0,3-5.", panel="Data"),
    Flag("--split", "data.split", "Shares of train, validation and test rows.", NUMBERS, "Data"),
    Flag("--val", "data.val", "Your own validation rows: FILE or FILE:key.", panel="Data"),
    Flag("--test", "data.test", "Your own test rows: FILE or FILE:key.", panel="Data"),
    Flag("--scaling", "data.scaling", "auto, none, minmax or standard.", panel="Data"),
    Flag("--network", "model.network", "default, paper, paper-small or paper-large.", panel="Model"),
    Flag("--hidden", "model.hidden", "Hidden layers of the encoder; the decoder mirrors them.", NUMBERS, "Model"),
    Flag("--latent", "model.latent", "Size of the latent code.", NUMBER, "Model"),
    Flag("--family", "model.family", "plain, denoising or variational.", panel="Model"),
    Flag("--epochs", "train.epochs", "Generations; one is one pass over the training rows.", NUMBER, "Training"),
    Flag("--batch", "train.batch", "Rows per step.", NUMBER, "Training"),
    Flag("--lr", "train.learning_rate", "Learning rate.", NUMBER, "Training"),
    Flag("--cells", "evolve.cells", "Cells on the ring.", NUMBER, "Evolution"),
    Flag("--radius", "evolve.radius", "Neighbours on each side.", NUMBER, "Evolution"),
    Flag("--rule", "evolve.rule", "pair or pair-prune-first.", panel="Evolution"),
    Flag("--operator", "prune.operator", "none, random, magnitude, variance or conjunctive.", panel="Pruning"),
    Flag(
        "--schedule",
        "prune.schedule",
        "cubic, fixed, increase, decrease, exponential, final_n, prune_after or population.",
        panel="Pruning",
    ),
    Flag("--target-sparsity", "prune.target_sparsity", "Share of zeros at the end.", NUMBER, "Pruning"),
    Flag("--probability", "prune.probability", "Prune by chance, as published, with this p.", NUMBER, "Pruning"),
    Flag("--granularity", "prune.granularity", "weight or unit.", panel="Pruning"),
    Flag("--opset", "export.opset", "ONNX opset.", NUMBER, "Output"),
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.", rich_help_panel="Output")]
_SOURCE = Annotated[
    str | None,
    typer.Argument(
        metavar="[DATA]",
        help="digits, binary-clusters:CxRxD, FILE.npy, FILE.npz:key, FILE.csv(.gz), - for stdin; left out: digits.",
        show_default=False,
    ),
]
_SPEC = Annotated[Path | None, typer.Option("--spec", help="TOML file with the spec.", rich_help_panel="Spec")]
_PRESET = Annotated[
    str | None,
    typer.Option(help="default, paper-canonical, paper-coevo or paper-coevo-sync.", rich_help_panel="Spec"),
]
_SET = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SECTION.FIELD=VALUE", help="Any field of the spec; may be repeated.", rich_help_panel="Spec"
    ),
]

Asked = Callable[[], "Resolved"]
"""Resolves the spec that the user's flags ask for; raises SpecError with every fault."""


def with_spec(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of the table; it gets their spec as its first parameter, an :data:`Asked`."""
    added = {"source": _SOURCE, "spec": _SPEC, "preset": _PRESET, "set_": _SET} | {
        _name(flag): Annotated[
            str | None, typer.Option(flag.flag, metavar=flag.metavar, help=flag.help, rich_help_panel=flag.panel)
        ]
        for flag in FLAGS
    }
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    kind = inspect.Parameter.KEYWORD_ONLY
    shared = [inspect.Parameter(name, kind, default=None, annotation=hint) for name, hint in added.items()]

    @functools.wraps(command)
    def wrapped(**values: Any) -> None:
        mine = {name: values.pop(name) for name in added}
        command(lambda: resolved_from(mine), **values)

    parameters = [*shared, *(parameter.replace(kind=kind) for parameter in own)]
    wrapped.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapped


def _name(flag: Flag) -> str:
    return flag.flag.removeprefix("--").replace("-", "_")


def resolved_from(values: dict[str, Any]) -> Resolved:
    """The spec that parameters of the table ask for.

    Raises:
        SpecError: with every fault.
    """
    from aecompress.errors import SpecError
    from aecompress.spec import parse_assignment, resolve

    flags: dict[str, tuple[str, Any]] = {}
    faults = []
    for assignment in values["set_"] or []:
        try:
            path, value = parse_assignment(assignment)
            flags[path] = (f"--set {assignment}", value)
        except SpecError as fault:
            faults += fault.faults
    if values["source"] is not None:
        flags["data.source"] = ("DATA", values["source"])
    for flag in FLAGS:
        text = values[_name(flag)]
        if text is not None:
            flags[flag.field] = (flag.flag, parsed(text, flag.metavar))
    try:
        resolved = resolve(flags, values["spec"], values["preset"])
    except SpecError as fault:
        raise SpecError(faults + fault.faults) from fault
    if faults:
        raise SpecError(faults)
    return resolved


def parsed(text: str, metavar: str) -> Any:
    """The number(s) a flag's text stands for; the text itself where it is none, for the spec to refuse."""
    if metavar == NUMBERS and text != "auto":
        return [parsed(part.strip(), NUMBER) for part in text.split(",") if part.strip()]
    if metavar == NUMBER:
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    return text
