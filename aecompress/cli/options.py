"""Flags that several commands share, and their way into the spec."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from aecompress.spec import Resolved

_SPEC, _DATA, _MODEL, _TRAIN, _PRUNE = "Spec", "Data", "Model", "Training", "Pruning"

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="[DATA]",
        help="digits, binary-clusters:CxRxD, FILE.npy or FILE.npz[:key].  [default: digits]",
        show_default=False,
    ),
]
SpecFile = Annotated[Path | None, typer.Option("--spec", help="TOML file with the spec.", rich_help_panel=_SPEC)]
Preset = Annotated[
    str | None, typer.Option(help="Named set of values under the file and the flags.", rich_help_panel=_SPEC)
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="SECTION.FIELD=VALUE", help="Any field of the spec; may be repeated.", rich_help_panel=_SPEC
    ),
]
Mode = Annotated[str | None, typer.Option(help="canonical: one autoencoder.", rich_help_panel=_SPEC)]
Seed = Annotated[str | None, typer.Option(metavar="INT", help="Names every random draw.", rich_help_panel=_SPEC)]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda[:n] or mps.", rich_help_panel=_SPEC)]
Precision = Annotated[str | None, typer.Option(help="float32 or float64.", rich_help_panel=_SPEC)]
Key = Annotated[str | None, typer.Option(help="Array in an .npz file.", rich_help_panel=_DATA)]
Split = Annotated[
    str | None, typer.Option(metavar="T,V,T", help="Shares of train, validation, test rows.", rich_help_panel=_DATA)
]
Val = Annotated[str | None, typer.Option(metavar="FILE[:key]", help="Your own validation rows.", rich_help_panel=_DATA)]
Test = Annotated[str | None, typer.Option(metavar="FILE[:key]", help="Your own test rows.", rich_help_panel=_DATA)]
Scaling = Annotated[str | None, typer.Option(help="auto, none, minmax or standard.", rich_help_panel=_DATA)]
Hidden = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,...", help="Hidden layer sizes of the encoder; the decoder mirrors them.", rich_help_panel=_MODEL
    ),
]
Latent = Annotated[str | None, typer.Option(metavar="INT", help="Size of the latent code.", rich_help_panel=_MODEL)]
Epochs = Annotated[
    str | None,
    typer.Option(metavar="INT", help="Generations; one is one pass over the training rows.", rich_help_panel=_TRAIN),
]
Batch = Annotated[str | None, typer.Option(metavar="INT", help="Rows per step.", rich_help_panel=_TRAIN)]
Rate = Annotated[str | None, typer.Option("--lr", metavar="FLOAT", help="Learning rate.", rich_help_panel=_TRAIN)]
Operator = Annotated[str | None, typer.Option(help="none, random or magnitude.", rich_help_panel=_PRUNE)]
Schedule = Annotated[str | None, typer.Option(help="cubic.", rich_help_panel=_PRUNE)]
Target = Annotated[
    str | None,
    typer.Option(
        "--target-sparsity",
        metavar="SHARE",
        help="Share of weights and biases that are zero at the end.",
        rich_help_panel=_PRUNE,
    ),
]

FLAGS = {
    "source": ("DATA", "data.source"),
    "mode": ("--mode", "mode"),
    "seed": ("--seed", "seed"),
    "device": ("--device", "device"),
    "precision": ("--precision", "precision"),
    "key": ("--key", "data.key"),
    "split": ("--split", "data.split"),
    "val": ("--val", "data.val"),
    "test": ("--test", "data.test"),
    "scaling": ("--scaling", "data.scaling"),
    "hidden": ("--hidden", "model.hidden"),
    "latent": ("--latent", "model.latent"),
    "epochs": ("--epochs", "train.epochs"),
    "batch": ("--batch", "train.batch"),
    "lr": ("--lr", "train.learning_rate"),
    "operator": ("--operator", "prune.operator"),
    "schedule": ("--schedule", "prune.schedule"),
    "target_sparsity": ("--target-sparsity", "prune.target_sparsity"),
    "opset": ("--opset", "export.opset"),
}
"""Parameter of a command -> (the flag as the user knows it, the field of the spec)."""
_LISTS = {"hidden", "split"}
_TEXT = {"source", "mode", "device", "precision", "key", "val", "test", "scaling", "operator", "schedule"}


def resolved_from(values: dict[str, Any]) -> Resolved:
    """The spec that a command's parameters ask for; ``values`` are the command's ``locals()``.

    Raises:
        SpecError: with every fault.
    """
    from aecompress.spec import parse_assignment, resolve

    flags: dict[str, tuple[str, Any]] = {}
    for assignment in values.get("set_") or []:
        path, value = parse_assignment(assignment)
        flags[path] = (f"--set {assignment}", value)
    for name, (flag, path) in FLAGS.items():
        text = values.get(name)
        if text is not None:
            flags[path] = (flag, text if name in _TEXT else number_or_text(text, name in _LISTS))
    if values.get("no_rows"):
        flags["export.rows"] = ("--no-rows", 0)
    return resolve(flags, values.get("spec"), values.get("preset"))


def number_or_text(text: str, listed: bool) -> Any:
    """The number(s) a flag's text stands for; the text itself where it is none, for the spec to refuse."""
    if listed and text != "auto":
        return [number_or_text(part.strip(), False) for part in text.split(",") if part.strip()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
