"""``aecompress prune``: a dataset and a spec in, a verified model out."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aecompress.cli import options
from aecompress.cli.exits import emit_json, emit_row, reported, say, stop_on_signals

if TYPE_CHECKING:
    from aecompress.events import Event


@options.with_spec
def prune(
    asked: options.Asked,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Run folder; left out: runs/NAME-TIME.",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the run in a non-empty folder.", rich_help_panel="Output")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume", metavar="RUN", help="Go on with a run that was stopped or killed.", rich_help_panel="Output"
        ),
    ] = None,
    no_rows: Annotated[
        bool, typer.Option("--no-rows", help="Keep no test rows beside the model.", rich_help_panel="Output")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Tell where the time of the run went.", rich_help_panel="Output")
    ] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Also record the run in tensorboard or mlflow (extras of those names); may be repeated.",
            rich_help_panel="Output",
        ),
    ] = None,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.", rich_help_panel="Output")] = False,
    tui: Annotated[
        bool,
        typer.Option(
            "--tui", help="Watch the run in the terminal UI; closing it ends nothing.", rich_help_panel="Output"
        ),
    ] = False,
) -> None:
    """Train an autoencoder, prune it while it learns, and write verified model files.

    stdout gets one line per file: kind, path, bytes.
    """
    with reported():
        resolved = asked()
        if resume is not None:
            refuse_beside_resume(resolved, output, force, no_rows)
        said = finished_events(resume) if resume is not None else None
        if said is not None:
            say(f"aecompress: {resume} is finished; nothing to do")
        elif tui:
            said = watched(resolved, output, resume)
        else:
            said = follow(resolved, output, force, resume, no_rows, quiet, track or [])
        if profile:
            tell_profile(said[1])
        result = summary(said)
        if json:
            emit_json(result)
        else:
            for file in result["files"]:
                emit_row(file["kind"], file["path"], file["bytes"])
            sys.stdout.flush()
        if not quiet:
            tell_compared(said[1])


def tell_compared(said: list[Event]) -> None:
    """What the files take beside the dense model, on stderr, last, because it is what a reader looks for."""
    from aecompress.cli.progress import before_and_after
    from aecompress.events import Compared

    for event in said:
        if isinstance(event, Compared):
            for line in (*event.notes, before_and_after(event)):
                say(line)


def tell_profile(said: list[Event]) -> None:
    """Where the time went, one line each on stderr, longest first."""
    from aecompress.events import Profiled

    for event in said:
        if isinstance(event, Profiled):
            total = sum(event.seconds.values())
            for what, seconds in sorted(event.seconds.items(), key=lambda item: -item[1]):
                say(f"{what:<30} {seconds:8.2f} s {seconds / max(total, 1e-9):7.1%}")


def refuse_beside_resume(resolved: Any, output: Path | None, force: bool, no_rows: bool) -> None:
    """A resumed run keeps its own spec, so other flags would be ignored: say so instead.

    Raises:
        SpecError: naming them.
    """
    from aecompress.errors import SpecError

    given = sorted({source for source in resolved.sources.values() if source != "default"})
    given += [flag for flag, on in (("-o", output), ("--force", force), ("--no-rows", no_rows)) if on]
    if given:
        raise SpecError(f"--resume: the run goes on with its own spec; leave out {', '.join(given)}")


def finished_events(folder: Path) -> tuple[Path, list[Event]] | None:
    """What a finished run said; None where the run is not finished, and so is to be resumed."""
    from aecompress.events import current, read_log
    from aecompress.steering import read_status

    if read_status(folder)["status"] != "finished":
        return None
    return folder, current(read_log(folder / "events.jsonl"))


def watched(resolved: Any, output: Path | None, resume: Path | None) -> tuple[Path, list[Event]]:
    """Carry the run out in a process of its own, with the terminal UI in front of it.

    Raises:
        SpecError: this terminal cannot be used.
    """
    from aecompress.cli.watch import show
    from aecompress.errors import SpecError
    from aecompress.steering import new_folder
    from aecompress_tui import process

    source = resolved.spec.data.source
    if source == "-":
        raise SpecError("--tui: the terminal is taken by the data from stdin; give a file")
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise SpecError("--tui: this is no terminal; leave it out, and use `aecompress watch` in one")
    folder = resume or output or new_folder(Path(source.split(":")[0]).name.partition(".")[0])
    arguments = [word for word in sys.argv[1:] if word not in ("--tui", "--json", "--profile", "--quiet")]
    if resume is None and output is None:
        arguments += ["-o", str(folder)]
    child = process.start([*arguments, "--quiet"], folder)
    fault = process.wait(child)
    if fault is not None:
        say(fault)
        raise SystemExit(child.process.returncode)
    show(folder, child)
    done = finished_events(folder)
    if done is None and child.process.poll() is None:
        say(f"the run goes on in {folder}; `aecompress watch {folder}` shows it")
        raise SystemExit(0)
    if done is None:
        process.forget(child)
        raise SystemExit(child.process.returncode)
    return done


def follow(
    resolved: Any, output: Path | None, force: bool, resume: Path | None, no_rows: bool, quiet: bool, track: list[str]
) -> tuple[Path, list[Event]]:
    """Carry the run out, showing progress; SIGINT and SIGTERM stop it."""
    from aecompress import trackers
    from aecompress.cli.progress import show
    from aecompress.runs.job import prepare, prepare_resume
    from aecompress.runs.run import run
    from aecompress.spec.resolve import override

    trackers.check(track)
    if no_rows:
        resolved = override(resolved, "export.rows", 0, "--no-rows")
    job = prepare(resolved, output, force) if resume is None else prepare_resume(resume)
    with closing(run(job, stop_on_signals())) as going:
        told = trackers.tracked(going, track, job.folder) if track else going
        return job.folder, show(told, job.plan.training.generations, quiet)


def summary(finished: tuple[Path, list[Event]]) -> dict[str, Any]:
    """The one object of ``--json``, from the events of a finished run."""
    from aecompress.events import Finished, Saved, Verified

    folder, said = finished
    end = next(event for event in said if isinstance(event, Finished))
    verified = next(event for event in said if isinstance(event, Verified))
    return {
        "run": str(folder),
        "files": [
            {"kind": event.file, "path": str(folder / event.path), "bytes": event.bytes}
            for event in said
            if isinstance(event, Saved)
        ],
        "metrics": end.metrics,
        "sparsity": end.sparsity,
        "zeros": end.zeros,
        "parameters": end.parameters,
        "verification": {
            "passed": verified.passed,
            "checks": verified.checks,
            "max_difference": verified.max_difference,
            "tolerance": verified.tolerance,
        },
        "seconds": end.seconds,
    }
