"""``aecompress export``: the files of a finished run written again, or a packed file made plain."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from aecompress.cli.exits import emit_json, note, note_table, reported, width_of
from aecompress.cli.options import Json
from aecompress.cli.tables import before_and_after, emit_table
from aecompress.registry import VARIANTS

Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        show_default=False,
        help="Model folder, or plain file. \\[default: RUN/model; with --pick, the folder in RUN/front]",
    ),
]
Variants = Annotated[
    str | None,
    typer.Option(metavar="NAME,...", help=f"{', '.join(VARIANTS)}. \\[default: those of the run]"),
]
Values = Annotated[
    str | None, typer.Option(metavar="NAME", help="Of packed files: smallest, float32, float16, int8, int6 to int2.")
]
VariantLoss = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER", help="Largest rise of the loss by rounding, as a share. \\[default: that of the run]"
    ),
]
Int8 = Annotated[
    str | None,
    typer.Option("--int8", metavar="WHEN", help="Keep int8 files where measured to be faster here, always or never."),
]
EmbedScaling = Annotated[
    bool | None, typer.Option("--embed-scaling/--no-embed-scaling", help="ONNX files take raw rows, or scaled ones.")
]
Opset = Annotated[str | None, typer.Option(metavar="NUMBER", help="ONNX opset.")]
Pick = Annotated[
    str | None,
    typer.Option(
        metavar="WHICH",
        help="A model of the run's front: knee, sparsity=0.9, loss<=0.01 or bytes<=40000; see `aecompress front`.",
    ),
]
Dense = Annotated[bool, typer.Option("--dense", help="Plain ONNX with every layer as large as it was trained.")]


def export(
    source: Annotated[Path, typer.Argument(metavar="RUN|FILE.onnx", help="Finished run, or packed file.")],
    output: Output = None,
    variants: Variants = None,
    values: Values = None,
    int8: Int8 = None,
    variant_loss: VariantLoss = None,
    embed_scaling: EmbedScaling = None,
    opset: Opset = None,
    pick: Pick = None,
    dense: Dense = False,
    json: Json = False,
) -> None:
    """Write the model files of a run again, with other variants, opset or scaling.

    Each file is verified before it is kept. Where one that --variants or --values names is not kept, the exit code is 1
    after the others are written, and a sentence says why.

    stdout gets one line per file: kind, path, bytes.
    """
    with reported():
        from aecompress.errors import RunError
        from aecompress.flags import NUMBER, WORDS, parsed

        flags = {
            "export.variants": ("--variants", variants and parsed(variants, WORDS)),
            "export.values": ("--values", values),
            "export.int8": ("--int8", int8),
            "export.variant_loss": ("--variant-loss", variant_loss and parsed(variant_loss, NUMBER)),
            "export.embed_scaling": ("--embed-scaling", embed_scaling),
            "export.opset": ("--opset", opset and parsed(opset, NUMBER)),
        }
        given = {path: flag for path, flag in flags.items() if flag[1] is not None}
        missing: list[str] = []
        if source.is_file():
            files = {"plain": plain(source, output, dense and not given and pick is None)}
        else:
            files, missing = exported(source, given, output, dense, pick)
        if json:
            written = [{"kind": k, "path": str(p), "bytes": p.stat().st_size} for k, p in files.items()]
            emit_json({"files": written, "missing": missing})
        else:
            emit_table([(kind, path, path.stat().st_size) for kind, path in files.items()], left=2)
        if missing:
            raise RunError("\n".join(missing))


def plain(source: Path, output: Path | None, alone: bool) -> Path:
    """Make a packed file plain and return the new file.

    Args:
        alone: whether --dense is given, and nothing that a file cannot have.

    Raises:
        SpecError: other flags are given than --dense -o.
    """
    from aecompress.deploy.plain import make_plain
    from aecompress.errors import SpecError

    if not alone or output is None:
        raise SpecError(f"{source}: is a file, which is only made plain: add --dense -o OUT.onnx, and nothing else")
    make_plain(source, output)
    return output


def exported(
    run: Path, flags: dict[str, tuple[str, Any]], output: Path | None, dense: bool, pick: str | None
) -> tuple[dict[str, Path], list[str]]:
    """Export a run again and print the before/after table.

    Returns:
        The files by kind, and why those that flags request by name were not kept.
    """
    from aecompress.runs.again import export_again

    package = export_again(run, flags, output, dense, pick)
    named = {*flags["export.variants"][1]} if "export.variants" in flags else set()
    named |= {"packed"} if "export.values" in flags else set()
    named |= {"int8"} if flags.get("export.int8", ("", ""))[1] == "always" else set()
    missing = [why for variant, each in package.missing.items() if variant in named for why in each]
    for line in package.compared.notes:
        if line not in missing:
            note(line)
    note_table(before_and_after(package.compared, width_of(sys.stderr)))
    return package.files, missing
