"""``aecompress prune``: a dataset and a spec in, a verified model out."""

from __future__ import annotations

import shlex
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from aecompress.cli import options
from aecompress.cli.exits import emit_json, note, note_table, reported, stop_on_signals, width_of
from aecompress.cli.tables import before_and_after, emit_table
from aecompress.registry import find_source

if TYPE_CHECKING:
    from aecompress.events import Event
    from aecompress.runs.job import Job
    from aecompress.spec.resolve import Resolved

PANEL = "Output"
Output = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FOLDER",
        help="Run folder. \\[default: runs/NAME-TIME]",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace the run in a non-empty folder.", rich_help_panel=PANEL)]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FILE.py:NAME",
        help="Start from your own torch module: a module, its class, or a function that returns one.",
        rich_help_panel="Model",
    ),
]
TrustCode = Annotated[
    bool, typer.Option("--trust-code", help="Run the file of --model, with all your rights.", rich_help_panel="Model")
]
Resume = Annotated[
    Path | None,
    typer.Option("--resume", metavar="RUN", help="Resume a run that was stopped or killed.", rich_help_panel=PANEL),
]
NoRows = Annotated[bool, typer.Option("--no-rows", help="Keep no test rows beside the model.", rich_help_panel=PANEL)]
Profile = Annotated[
    bool, typer.Option("--profile", help="Print where the time of the run went.", rich_help_panel=PANEL)
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Also record the run in tensorboard or mlflow (extras of those names); may be repeated.",
        rich_help_panel=PANEL,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.", rich_help_panel=PANEL)]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress on stderr.", rich_help_panel=PANEL)]
Tui = Annotated[
    bool,
    typer.Option(
        "--tui",
        help="Watch the run in the terminal UI; closing it does not stop the run.",
        rich_help_panel=PANEL,
    ),
]


class Ended(NamedTuple):
    """A run that is finished: its folder, and the events that a summary needs."""

    folder: Path
    log: list[Event]


@options.with_spec
def prune(
    resolve: options.Resolve,
    output: Output = None,
    force: Force = False,
    model: Model = None,
    trust_code: TrustCode = False,
    resume: Resume = None,
    no_rows: NoRows = False,
    profile: Profile = False,
    track: Track = None,
    json: Json = False,
    quiet: Quiet = False,
    tui: Tui = False,
) -> None:
    """Train an autoencoder, prune it while it learns, and write verified model files.

    stdout gets one line per file: kind, path, bytes.
    """
    with reported():
        resolved = resolve(model_flag(model, trust_code, resume is not None))
        check_code(resolved, trust_code)
        if resume is not None:
            refuse_beside_resume(resolved, output, force, no_rows)
        ended = finished(resume) if resume is not None else None
        if ended is not None:
            note(f"aecompress: {resume} is finished; nothing to do")
        elif tui:
            ended = watched(resolved, output, resume)
        else:
            from aecompress import trackers

            trackers.check(track or [])
            rest = no_rows, quiet, trust_code
            job = prepared_resume(resume) if resume is not None else prepared(resolved, output, force, *rest)
            ended = follow(job, track or [], quiet)
        if profile:
            print_profile(ended.log)
        result = summary(ended)
        if json:
            emit_json(result)
        else:
            emit_table([(file["kind"], file["path"], file["bytes"]) for file in result["files"]], left=2)
            sys.stdout.flush()
        if not quiet:
            print_next(ended)
            print_compared(ended.log)


def print_next(ended: Ended) -> None:
    """Print to stderr how to see and export the other models of the run, where there are any."""
    from aecompress.events import Front

    if any(isinstance(event, Front) and len(event.cells) > 2 for event in ended.log):
        folder = shlex.quote(str(ended.folder))
        note(
            f"`aecompress front {folder}` lists the run's models; `aecompress export {folder} --pick knee` exports one"
        )


def print_compared(log: list[Event]) -> None:
    """Print the before/after table to stderr, last, because it is what a reader looks for."""
    from aecompress.events import Compared

    for event in log:
        if isinstance(event, Compared):
            for line in event.notes:
                note(line)
            note_table(before_and_after(event, width_of(sys.stderr)))


def print_profile(log: list[Event]) -> None:
    """Print where the time went to stderr, one line a phase, longest first."""
    from aecompress.events import Profiled

    for event in log:
        if isinstance(event, Profiled):
            total = sum(event.seconds.values())
            for phase, seconds in sorted(event.seconds.items(), key=lambda item: -item[1]):
                note_table(f"{phase:<30} {seconds:8.2f} s {seconds / max(total, 1e-9):7.1%}")


def model_flag(model: str | None, trust_code: bool, resumes: bool) -> dict[str, tuple[str, Any]]:
    """Return the field that ``--model`` sets, which must be trusted: nothing of its file is run here.

    Raises:
        SpecError: it is no module in a file of Python, or is not trusted.
    """
    from aecompress.errors import SpecError

    given = [flag for flag, on in (("--model", model), ("--trust-code", trust_code)) if on]
    if resumes and given:
        raise SpecError(f"--resume: the run has its model, and no code is run again; leave out {', '.join(given)}")
    if model is None:
        return {}
    from aecompress.deploy.pretrained.code import check_trusted, code_in

    check_trusted(model, trust_code)
    if code_in(model) is None:
        raise SpecError(f"--model {model}: is not FILE.py:NAME; --init takes files of weights and ONNX")
    return {"model.init": ("--model", model)}


def check_code(resolved: Resolved, trust_code: bool) -> None:
    """Refuse ``--trust-code`` where the spec names no code.

    Raises:
        SpecError: it does not.
    """
    if trust_code:
        from aecompress.deploy.pretrained.code import code_in
        from aecompress.errors import SpecError

        if code_in(resolved.spec.model.init) is None:
            raise SpecError("--trust-code: no code is named; add --model FILE.py:NAME, or leave it out")


def refuse_beside_resume(resolved: Resolved, output: Path | None, force: bool, no_rows: bool) -> None:
    """Refuse flags beside --resume: a resumed run keeps its own spec, so they would be ignored.

    Raises:
        SpecError: naming them.
    """
    from aecompress.errors import SpecError

    given = sorted({source for source in resolved.sources.values() if source != "default"})
    given += [flag for flag, on in (("-o", output), ("--force", force), ("--no-rows", no_rows)) if on]
    if given:
        raise SpecError(f"--resume: the run resumes with its own spec; leave out {', '.join(given)}")


def finished(folder: Path) -> Ended | None:
    """Return a finished run's events; None where the run is not finished or its model is gone: it can be resumed.

    Raises:
        DataError: a file of the model was changed, or the log cannot be read.
    """
    from aecompress.digests import check_folder
    from aecompress.errors import DataError
    from aecompress.event_log import current, read_log
    from aecompress.files import recover, standing
    from aecompress.runs.ended import held, model_serves
    from aecompress.steering import read_status

    if read_status(folder)["status"] != "finished":
        return None
    model = folder / "model"
    if not standing(model).is_dir():
        return None
    check_folder(standing(model))
    recover(model)
    path = folder / "events.jsonl"
    try:
        log = current(read_log(path))
    except OSError as fault:
        raise DataError(f"{path}: cannot be read ({fault.strerror}); {model_serves(folder)}") from fault
    return Ended(folder, held(folder, log))


def watched(resolved: Resolved, output: Path | None, resume: Path | None) -> Ended:
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
        raise SpecError("--tui: this is not a terminal; leave it out, and use `aecompress watch` in one")
    folder = resume or output or new_folder(Path(source.split(":")[0]).name.partition(".")[0])
    arguments = [word for word in sys.argv[1:] if word not in ("--tui", "--json", "--profile", "--quiet")]
    if resume is None and output is None:
        arguments += ["-o", str(folder)]
    child = process.start([*arguments, "--quiet"], folder)
    fault = process.wait(child)
    if fault is not None:
        note(fault)
        raise SystemExit(child.process.returncode)
    show(folder, child)
    ended = finished(folder)
    if ended is None and child.process.poll() is None:
        note(f"the run continues in {folder}; `aecompress watch {folder}` shows it")
        raise SystemExit(0)
    if ended is None:
        process.forget(child)
        raise SystemExit(child.process.returncode)
    return ended


def prepared(
    resolved: Resolved, output: Path | None, force: bool, no_rows: bool, quiet: bool, trusted: bool = False
) -> Job:
    """Return the job of a new run. The rows are read, and what is wrong is reported, before torch is imported."""
    if not quiet:
        announce(resolved.spec.data.source, resolved.spec.data.more)
    from aecompress.runs.inputs import read_inputs
    from aecompress.spec.resolve import override

    if no_rows:
        resolved = override(resolved, "export.rows", 0, "--no-rows")
    inputs = read_inputs(resolved, output, force, (lambda line: None) if quiet else note, trusted)
    from aecompress.runs.job import job_of

    return job_of(inputs)


def announce(source: str, more: tuple[str, ...]) -> None:
    """Print what is read to stderr, before NumPy is imported for it; a file that is missing is reported soon enough."""
    given = source if not more else f"{source} and {len(more)} more"
    path = next((path for path in (Path(source), Path(source.rpartition(":")[0])) if path.is_file()), None)
    if path is not None and not more:
        size = path.stat().st_size
        note(f"reading {given} ({size / 1e6:.1f} MB)" if size >= 1e5 else f"reading {given} ({size / 1e3:.1f} kB)")
    elif source == "-":
        note("reading standard input")
    elif path is not None or Path(source).is_dir() or set(source) & set("*?[") or find_source(source) is not None:
        note(f"reading {given}")


def prepared_resume(folder: Path) -> Job:
    """Return the job that resumes a run."""
    from aecompress.runs.job import prepare_resume

    return prepare_resume(folder)


def follow(job: Job, track: list[str], quiet: bool) -> Ended:
    """Carry the run out, showing progress; SIGINT and SIGTERM stop it."""
    from aecompress import trackers
    from aecompress.cli.progress import show
    from aecompress.runs.run import run

    with closing(run(job, stop_on_signals())) as running:
        events = trackers.tracked(running, track, job.folder) if track else running
        return Ended(job.folder, show(events, job.plan.training.generations, quiet))


def summary(ended: Ended) -> dict[str, Any]:
    """Return the one object of ``--json``.

    Raises:
        DataError: the log lacks the end of the run.
    """
    from aecompress.errors import DataError
    from aecompress.events import Finished, Saved, Verified

    folder, log = ended
    end = next((event for event in reversed(log) if isinstance(event, Finished)), None)
    verified = next((event for event in reversed(log) if isinstance(event, Verified)), None)
    if end is None or verified is None:
        raise DataError(f"{folder / 'events.jsonl'}: lacks the end of the run; run it again with --force")
    return {
        "run": str(folder),
        "files": [
            {"kind": event.file, "path": str(folder / event.path), "bytes": event.bytes}
            for event in log
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
