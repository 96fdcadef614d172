"""``aecompress prune``: a dataset and a spec in, a verified model out."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aecompress.cli import options
from aecompress.cli.exits import emit_json, emit_row, reported

if TYPE_CHECKING:
    from aecompress.run import Job


def prune(
    source: options.Source = None,
    spec: options.SpecFile = None,
    preset: options.Preset = None,
    set_: options.Set = None,
    mode: options.Mode = None,
    seed: options.Seed = None,
    device: options.Device = None,
    precision: options.Precision = None,
    key: options.Key = None,
    split: options.Split = None,
    val: options.Val = None,
    test: options.Test = None,
    scaling: options.Scaling = None,
    hidden: options.Hidden = None,
    latent: options.Latent = None,
    epochs: options.Epochs = None,
    batch: options.Batch = None,
    lr: options.Rate = None,
    operator: options.Operator = None,
    schedule: options.Schedule = None,
    target_sparsity: options.Target = None,
    opset: Annotated[str | None, typer.Option(metavar="INT", help="ONNX opset.", rich_help_panel="Output")] = None,
    no_rows: Annotated[
        bool, typer.Option("--no-rows", help="Keep no test rows beside the model.", rich_help_panel="Output")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Run folder.  [default: runs/NAME-TIME]",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the run in a non-empty folder.", rich_help_panel="Output")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.", rich_help_panel="Output")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.", rich_help_panel="Output")] = False,
) -> None:
    """Train an autoencoder, prune it while it learns, and write verified model files.

    stdout gets one line per file: kind, path, bytes.
    """
    values = locals()
    with reported():
        resolved = options.resolved_from(values)
        from aecompress.cli.progress import show
        from aecompress.run import prepare, run

        job = prepare(resolved, output, force)
        asked: list[int] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda received, frame: asked.append(received))
        said = show(run(job, lambda: asked[0] if asked else None), quiet)
        result = summary(job, said)
        if json:
            emit_json(result)
        else:
            for file in result["files"]:
                emit_row(file["kind"], file["path"], file["bytes"])
            sys.stdout.flush()


def summary(job: Job, said: list[Any]) -> dict[str, Any]:
    """The one object of ``--json``, from the events of a finished run."""
    from aecompress.events import Finished, Saved, Verified

    finished = next(event for event in said if isinstance(event, Finished))
    verified = next(event for event in said if isinstance(event, Verified))
    return {
        "run": str(job.folder),
        "files": [
            {"kind": event.file, "path": str(job.folder / event.path), "bytes": event.bytes}
            for event in said
            if isinstance(event, Saved)
        ],
        "metrics": finished.metrics,
        "sparsity": finished.sparsity,
        "zeros": finished.zeros,
        "parameters": finished.parameters,
        "verification": {
            "passed": verified.passed,
            "checks": verified.checks,
            "max_difference": verified.max_difference,
            "tolerance": verified.tolerance,
        },
        "seconds": finished.seconds,
    }
