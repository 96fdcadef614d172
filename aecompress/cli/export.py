"""``aecompress export``: the files of a finished run made again, or a packed file made plain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aecompress.cli.exits import emit_json, emit_row, reported, say
from aecompress.cli.options import Json


def export(
    source: Annotated[Path, typer.Argument(metavar="RUN|FILE.onnx", help="A finished run, or a packed file.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            show_default=False,
            help="Model folder, or plain file; left out: RUN/model, or the picked member's folder in RUN/front.",
        ),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="packed, fp16, int8, scorer, sparse; left out: as in the run."),
    ] = None,
    values: Annotated[str | None, typer.Option(help="Of packed files: smallest, float32, float16, int8, int4.")] = None,
    embed_scaling: Annotated[
        bool | None, typer.Option("--embed-scaling/--no-embed-scaling", help="ONNX files take raw rows.")
    ] = None,
    opset: Annotated[str | None, typer.Option(metavar="NUMBER", help="ONNX opset.")] = None,
    pick: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="A member of the run's front: knee, sparsity=0.9, loss<=0.01 or bytes<=40000; see `aecompress front`.",
        ),
    ] = None,
    dense: Annotated[
        bool, typer.Option("--dense", help="Plain ONNX with every layer as large as it was trained.")
    ] = False,
    json: Json = False,
) -> None:
    """Write the model files of a run again: other variants, opset or scaling; each is verified before it is kept.

    stdout gets one line per file: kind, path, bytes.
    """
    with reported():
        from aecompress.errors import SpecError
        from aecompress.flags import NUMBER, WORDS, parsed

        asked = {
            "export.variants": ("--variants", variants and parsed(variants, WORDS)),
            "export.values": ("--values", values),
            "export.embed_scaling": ("--embed-scaling", embed_scaling),
            "export.opset": ("--opset", opset and parsed(opset, NUMBER)),
        }
        given = {path: pair for path, pair in asked.items() if pair[1] is not None}
        if source.is_file():
            if given or not dense or output is None or pick is not None:
                raise SpecError(
                    f"{source}: is a file, which is only made plain: add --dense -o OUT.onnx, and nothing else"
                )
            from aecompress.deploy.pack import make_plain

            make_plain(source, output)
            files = {"plain": output}
        else:
            from aecompress.cli.progress import before_and_after
            from aecompress.runs.again import export_again

            handed = export_again(source, given, output, dense, pick)
            files = handed.files
            if handed.compared is not None:
                for note in handed.compared.notes:
                    say(note)
                say(before_and_after(handed.compared))
        if json:
            emit_json({"files": [{"kind": k, "path": str(p), "bytes": p.stat().st_size} for k, p in files.items()]})
            return
        for kind, path in files.items():
            emit_row(kind, path, path.stat().st_size)
