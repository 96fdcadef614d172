"""``aecompress bench``: bytes and milliseconds of any ONNX files, measured side by side on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aecompress.cli import drawing
from aecompress.cli.exits import emit_json, reported
from aecompress.cli.options import Json
from aecompress.cli.tables import emit_table

if TYPE_CHECKING:
    from aecompress.deploy.bench import Benched


def bench(
    files: Annotated[list[Path], typer.Argument(metavar="FILE.onnx...", help="The first is the baseline.")],
    batch: Annotated[str, typer.Option(metavar="A,B,...", help="Rows of a call.")] = "1,16,64,256",
    threads: Annotated[str, typer.Option(metavar="A,B,...", help="Threads: numbers, or all.")] = "1,all",
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.01, help="Most time for each file, batch and number of threads.")
    ] = 0.2,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.svg", help="Draw bytes against time per row; also .png.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Compare size, load time and latency of ONNX files in onnxruntime.

    The files take turns; times are medians.

    "faster" is the interval of the ratio to the first file, "same" where it holds 1.

    Where the interval stays wide, it is "machine busy, not measured".
    """
    with reported():
        from aecompress.deploy.bench import bench_files, machine
        from aecompress.errors import SpecError

        batches = counts("--batch", batch, 1, 1 << 16)
        workers = counts("--threads", threads.replace("all", "0"), 0, 1 << 10)
        if not 0.01 <= seconds <= 3600:
            raise SpecError(f"--seconds = {seconds}: write seconds from 0.01 to 3600")
        if plot is not None:
            drawing.check(plot)
        benched = bench_files(files, batches, workers, seconds)
        if plot is not None:
            draw(benched, plot, max((n for n in batches if n <= 64), default=min(batches)), workers[0])
        if json:
            emit_json({"machine": machine(), "files": [one.to_json() for one in benched]})
            return
        emit_table(table(benched, names([one.path for one in benched])))


def counts(flag: str, text: str, least: int, most: int) -> list[int]:
    """Return whole numbers separated by commas.

    Raises:
        SpecError: they are not.
    """
    from aecompress.errors import SpecError
    from aecompress.parsing import decimal, quoted

    parts = [part.strip() for part in text.split(",") if part.strip()]
    numbers = [decimal(part) for part in parts]
    found = [number for number in numbers if number is not None and least <= number <= most]
    if not found or len(found) < len(parts):
        raise SpecError(f"{flag} = {quoted(repr(text))}: write whole numbers from {least} to {most}, as in {flag} 1,64")
    return list(dict.fromkeys(found))


def names(paths: list[str]) -> list[str]:
    """Return what files are called in the table: on a terminal without folders, where their names differ."""
    short = [Path(path).name for path in paths]
    return short if sys.stdout.isatty() and len(set(short)) == len(paths) else paths


def table(benched: list[Benched], called: list[str]) -> list[list[str]]:
    """Return one row per file, ``called`` so, under a head; smaller and faster are against the first file."""
    first = benched[0]
    calls = [(timing.batch, timing.threads) for timing in first.timings]
    named = [f"{n}_rows_{'all' if k == 0 else k}_threads" for n, k in calls]
    rows = [["file", "bytes", "smaller", "load_ms"]]
    for name in named:
        rows[0] += [f"ms_{name}", "faster"]
    for one, name in zip(benched, called, strict=True):
        row = [name, str(one.bytes), f"{first.bytes / one.bytes:.2f}x", f"{one.load_milliseconds:.2f}"]
        for timing in one.timings:
            row += [timing.text, "1.00x" if one is first else timing.faster.text]
        rows.append(row)
    return rows


def draw(benched: list[Benched], path: Path, batch: int, threads: int) -> None:
    """Plot bytes against microseconds per row, one labelled point per file."""
    from aecompress.runs.figures import log_axes

    axes = log_axes("bytes", f"microseconds per row, batch {batch}")
    for one in benched:
        across, up = one.bytes, one.milliseconds(batch, threads) * 1e3 / batch
        axes.scatter(across, up)
        axes.annotate(Path(one.path).name, (across, up), textcoords="offset points", xytext=(5, 5), fontsize=8)
    drawing.save(axes, path)
