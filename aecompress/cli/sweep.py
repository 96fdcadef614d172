"""``aecompress sweep``: every run of a study, resumed where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aecompress.cli.exits import emit_json, emit_row, reported, say, stop_on_signals
from aecompress.cli.options import Json
from aecompress.cli.progress import columns

if TYPE_CHECKING:
    from aecompress.study.stats import Finding
    from aecompress.study.sweep import Progress, Tell


def sweep(
    study: Annotated[Path, typer.Argument(metavar="STUDY.toml", help="Groups of runs, seeds and claims.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Study folder; left out: runs/NAME.", show_default=False)
    ] = None,
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Runs at a time, a process and a thread each (extra ray).")
    ] = 1,
    json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Carry out the runs of a study, each in a run folder of its own; the same command goes on where it stopped.

    A run that fails is tried once more. stdout gets one line per run: kind, path, bytes. `aecompress report` then shows
    what came out.
    """
    with reported():
        from aecompress.study import cluster, results, stats
        from aecompress.study.design import read_study
        from aecompress.study.report import groups_table
        from aecompress.study.sweep import failures, serial
        from aecompress.study.sweep import sweep as carry_out

        asked = read_study(study)
        where = output or Path("runs") / asked.name
        carrier = serial if workers == 1 else cluster.carrier(workers)
        progress = carry_out(asked, where, carrier, workers, stop_on_signals(), shown(quiet))
        found = results.outcomes(asked, where) if progress.finished else ()
        findings = stats.findings(asked.claims, found)
        if json:
            emit_json(
                {
                    "study": str(where),
                    "runs": {result.folder.name: result.metrics for outcome in found for result in outcome.results},
                    "groups": {outcome.group.name: vars(stats.summary(outcome.losses)) for outcome in found},
                    "findings": [told(finding) for finding in findings],
                    "failed": progress.failed,
                    "seconds": progress.seconds,
                }
            )
        else:
            for outcome in found:
                for result in outcome.results:
                    size = sum(path.stat().st_size for path in result.folder.rglob("*") if path.is_file())
                    emit_row("run", result.folder, size)
        if found and not quiet:
            table = groups_table(found)
            say(columns([tuple(table["head"]), *map(tuple, table["rows"])]))
            for finding in findings:
                p = "" if finding.test is None else f" (p = {finding.corrected:.3g})"
                say(f"{finding.claim.text}: {finding.verdict}{p}")
            say(f"`aecompress report {where}` writes all of it on one page")
        if progress.failed:
            raise failures(progress)


def told(finding: Finding) -> dict[str, Any]:
    """A finding for --json; what could not be tested has no numbers."""
    claim, test = finding.claim, finding.test
    numbers = {} if test is None else {**vars(test), "corrected": finding.corrected}
    return {"claim": claim.text, "first": claim.first, "second": claim.second, "verdict": finding.verdict} | numbers


def shown(quiet: bool) -> Tell:
    """A line on stderr for every run that ended, failed, or was there already."""
    told: set[str] = set()

    def once(line: str, key: str) -> None:
        if key not in told and not quiet:
            say(line)
        told.add(key)

    def tell(progress: Progress) -> None:
        if progress.skipped:
            once(f"{progress.study}: {len(progress.skipped)} of {progress.runs} runs are there already", "skipped")
        count = f"{len(progress.finished) + len(progress.failed)}/{progress.runs}"
        for name in progress.finished[len(progress.skipped) :]:
            once(f"{count} {name} finished ({progress.seconds:.0f} s)", f"{name} finished")
        for name, why in progress.retried.items():
            once(f"{count} {name} failed and is tried again: {why}", f"{name} retried")
        for name, why in progress.failed.items():
            once(f"{count} {name} failed again: {why}", f"{name} failed")

    return tell
