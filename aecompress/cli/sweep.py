"""``aecompress sweep``: every run of a study, resumed where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aecompress.cli.exits import emit_json, note, note_table, reported, stop_on_signals
from aecompress.cli.options import Json
from aecompress.cli.tables import columns, emit_table

if TYPE_CHECKING:
    from aecompress.study.results import Outcome
    from aecompress.study.stats import Finding
    from aecompress.study.sweep import Progress, Report


def sweep(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="Groups of runs, seeds and claims.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FOLDER", help="Study folder. \\[default: runs/NAME]", show_default=False
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Runs at a time, a process and a thread each (extra ray).")
    ] = 1,
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Carry out the runs of a study; the same command resumes it where it stopped.

    Each run has a folder of its own; a run that fails is tried once more. `aecompress report` shows the results.

    stdout gets one line per run: kind, path, bytes.
    """
    with reported():
        from aecompress.study import cluster, results, stats
        from aecompress.study.design import read_study
        from aecompress.study.sweep import failures, serial
        from aecompress.study.sweep import sweep as carry_out

        design = read_study(study)
        where = output or Path("runs") / design.name
        carrier = serial if workers == 1 else cluster.carrier(workers)
        progress = carry_out(design, where, carrier, workers, stop_on_signals(), reporter(quiet))
        outcomes = results.read_outcomes(design, where) if progress.finished else ()
        findings = stats.findings(design.claims, outcomes)
        if json:
            emit_json(summary(where, progress, outcomes, findings))
        else:
            folders = [result.folder for outcome in outcomes for result in outcome.results]
            emit_table([("run", folder, size_of(folder)) for folder in folders], left=2)
        if outcomes and not quiet:
            print_findings(where, outcomes, findings)
        if progress.failed:
            raise failures(progress)


def size_of(folder: Path) -> int:
    """Return the bytes of the files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def summary(where: Path, progress: Progress, outcomes: tuple[Outcome, ...], findings: list[Finding]) -> dict[str, Any]:
    """Return the one object of ``--json``; a finding that could not be tested has no numbers."""
    from aecompress.study.stats import summary as summary_of

    return {
        "study": str(where),
        "runs": {result.folder.name: result.metrics for outcome in outcomes for result in outcome.results},
        "groups": {outcome.group.name: vars(summary_of(outcome.losses)) for outcome in outcomes},
        "findings": [
            {
                "claim": finding.claim.text,
                "first": finding.claim.first,
                "second": finding.claim.second,
                "verdict": finding.verdict,
            }
            | ({} if finding.test is None else {**vars(finding.test), "corrected": finding.corrected})
            for finding in findings
        ],
        "failed": progress.failed,
        "seconds": progress.seconds,
    }


def print_findings(where: Path, outcomes: tuple[Outcome, ...], findings: list[Finding]) -> None:
    """Print the table of groups and the verdicts to stderr."""
    from aecompress.study.report import groups_table

    table = groups_table(outcomes)
    note_table(columns([tuple(table["head"]), *map(tuple, table["rows"])]))
    for finding in findings:
        p = "" if finding.test is None else f" (p = {finding.corrected:.3g})"
        note(f"{finding.claim.text}: {finding.verdict}{p}")
    note(f"`aecompress report {where}` writes all of it on one page")


def reporter(quiet: bool) -> Report:
    """Return a function that prints a line to stderr for every run that ended, failed, or was finished before."""
    printed: set[str] = set()

    def once(line: str, key: str) -> None:
        if key not in printed and not quiet:
            note(line)
        printed.add(key)

    def report(progress: Progress) -> None:
        if progress.skipped:
            once(f"{progress.study}: {len(progress.skipped)} of {progress.runs} runs are finished already", "skipped")
        count = f"{len(progress.finished) + len(progress.failed)}/{progress.runs}"
        for name in progress.finished[len(progress.skipped) :]:
            once(f"{count} {name} finished ({progress.seconds:.0f} s)", f"{name} finished")
        for name, why in progress.retried.items():
            once(f"{count} {name} failed and is tried again: {why}", f"{name} retried")
        for name, why in progress.failed.items():
            once(f"{count} {name} failed again: {why}", f"{name} failed")

    return report
