"""The page of a run or a study: one HTML file with everything in it, and its figures as files beside it."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from numpy.typing import NDArray

from aecompress.deploy.checkpoint import load_model, load_rows, model_folder
from aecompress.deploy.reference import run as run_layers
from aecompress.errors import DataError, OutputError, printable
from aecompress.events import Compared, Event, Failed, Finished, Profiled, Started
from aecompress.files import write_bytes, write_text
from aecompress.runs import front
from aecompress.runs.ended import read_run
from aecompress.runs.figures import FORMATS, rendered
from aecompress.runs.lines import facts_of, sparsity_of
from aecompress.spec.toml import flatten
from aecompress.steering import read_status, status_of
from aecompress.study import figures
from aecompress.study.design import copied
from aecompress.study.results import Outcome, read_outcomes
from aecompress.study.stats import Finding, agreement, findings, summary

Floats = NDArray[np.float64]
Table = dict[str, Any]
Written = list[tuple[str, Path]]
"""Files: kind and path."""


def write(where: Path, output: Path | None = None) -> Written:
    """Write the page of the run or study in ``where``, and its figures.

    Raises:
        SpecError: matplotlib is not installed.
        DataError: the folder holds neither, or nothing is finished.
        OutputError: the page cannot be written.
    """
    is_study = (where / "study.toml").is_file()
    if not is_study and not (where / "run.json").is_file():
        raise DataError(f"{where}: holds neither a run nor a study; name the folder of one")
    figures.available()
    page, drawn = of_study(where) if is_study else of_run(where)
    output = output or where / "report.html"
    if output.is_dir():
        raise OutputError(f"{output}: is a folder; name the page in it, as in {output / 'report.html'}")
    beside = output.with_name("figures" if output.stem == "report" else f"{output.stem}-figures")
    written: Written = []
    try:
        beside.mkdir(parents=True, exist_ok=True)
        pictures = []
        for name, (caption, figure) in drawn.items():
            for kind in FORMATS:
                data = rendered(figure, kind)
                path = beside / f"{name}.{kind}"
                write_bytes(path, data)
                written.append((f"figure-{kind}", path))
                if kind == "svg":
                    source = "data:image/svg+xml;base64," + base64.b64encode(data).decode()
                    pictures.append({"name": name, "caption": caption, "source": source})
        environment = Environment(
            loader=PackageLoader("aecompress.study", "."),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            finalize=lambda value: printable(value) if type(value) is str else value,
        )
        text = environment.get_template("report.html").render(
            **page, pictures=pictures, version=metadata.version("aecompress"), written=time.strftime("%Y-%m-%d %H:%M")
        )
        write_text(output, text)
    except OSError as fault:
        raise OutputError(f"{output}: cannot be written ({fault.strerror}); choose another place with -o") from fault
    return [("report", output), *written]


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> Table:
    """Return a table of the page."""
    return {"title": title, "head": list(head), "rows": [list(row) for row in rows], "note": note}


def of_run(where: Path) -> tuple[dict[str, Any], dict[str, tuple[str, Any]]]:
    """Return the content of a run's page, and its figures.

    Raises:
        DataError: its log, its model or its front is not whole.
    """
    log, status = read_run(where), read_status(where)
    start = next(event for event in log if isinstance(event, Started))
    activations, without = layer_activations(where)
    front.check(where)
    facts = [
        ("status", status_of(where)),
        *facts_of(start),
        ("device", f"{start.device} on {status.get('host', 'an unknown machine')}"),
    ]
    tables = []
    for event in log:
        if isinstance(event, Compared):
            head, *rows = event.table()
            tables.append(table("Before and after", head, rows, "; ".join(event.notes)))
    for event in log:
        if isinstance(event, Failed):
            facts.append(("failed", event.message))
        if isinstance(event, Finished):
            facts.append(("sparsity", sparsity_of(event)))
            tables.append(
                table("Metrics", ("metric", "value"), [(name, f"{value:.6g}") for name, value in event.metrics.items()])
            )
    for event in log:
        if isinstance(event, Profiled):
            total = sum(event.seconds.values()) or 1.0
            longest = sorted(event.seconds.items(), key=lambda item: -item[1])
            rows = [(phase, f"{seconds:.2f}", f"{seconds / total:.1%}") for phase, seconds in longest]
            tables.append(table("Where the time went", ("phase", "seconds", "share"), rows))
    tables.append(spec_table(start.spec, status.get("sources", {})))
    tables.append(versions_table([status]))
    page = {
        "title": start.run,
        "lead": "One run of aecompress: its settings, its results and its files.",
        "facts": facts,
        "tables": tables,
        "notes": [note for note in (without, lacking(where, log, status)) if note],
    }
    return page, figures.run_figures(log, activations)


def lacking(where: Path, log: Sequence[Event], status: Mapping[str, Any]) -> str:
    """Return in one sentence that the log of a finished run was cut, and its page has no metrics; "" if it was not."""
    if status["status"] != "finished" or any(isinstance(event, Finished) for event in log):
        return ""
    return f"The log lacks the end of the run, so there are no metrics here; {where / 'model' / 'README.md'} has them."


def layer_activations(where: Path) -> tuple[dict[str, Floats], str]:
    """Return what every unit of the exported model gives on the rows kept beside it, by layer; or why there is none.

    Of a unit with several values on a row, as a channel has, it is their mean.

    Raises:
        DataError: the model or its rows were changed.
    """
    folder = model_folder(where)
    rows = folder / "rows.safetensors"
    if not rows.exists():
        return {}, "There is no activation map: the run has no model, or kept no rows beside it."
    model = load_model(folder)
    values = np.asarray(load_rows(rows), dtype=np.float64)
    activations = {}
    for layer in (*model.encoder, *model.decoder):
        values = run_layers([layer], model.tensors, values)
        if layer.weighted:
            activations[layer.name] = values.reshape(len(values), -1, layer.units).mean(1)
    return activations, ""


def of_study(where: Path) -> tuple[dict[str, Any], dict[str, tuple[str, Any]]]:
    """Return the content of a study's page, and its figures."""
    study = copied(where)
    outcomes = read_outcomes(study, where)
    done = sum(len(outcome.results) for outcome in outcomes)
    hours = sum(result.seconds for outcome in outcomes for result in outcome.results) / 3600
    tables = [groups_table(outcomes)]
    if study.claims:
        tables.insert(0, findings_table(findings(study.claims, outcomes)))
    tables.append(compression_table(outcomes))
    if compared := before_and_after_table(outcomes):
        tables.append(compared)
    tables += spec_tables(outcomes)
    tables.append(versions_table([read_status(result.folder) for outcome in outcomes for result in outcome.results]))
    missing = len(study.trials) - done
    page = {
        "title": study.name,
        "lead": study.question or "A study of aecompress.",
        "facts": [
            ("runs", f"{done} of {len(study.trials)} finished"),
            ("groups", f"{len(outcomes)}"),
            ("seeds", ", ".join(map(str, study.seeds))),
            ("computing", f"{hours:.2f} core hours"),
        ],
        "tables": tables,
        "notes": [f"{missing} runs are not finished and not counted."] if missing else [],
        "source": study.text,
    }
    return page, figures.study_figures(outcomes)


def groups_table(outcomes: Sequence[Outcome]) -> Table:
    """Return each group's losses in numbers, beside what was published."""
    rows = []
    for outcome in outcomes:
        of, expected = summary(outcome.losses), outcome.group.expected
        rows.append(
            (
                outcome.group.name, str(of.count), f"{of.mean:.4f}", f"{of.median:.4f}", f"{of.std:.4f}",
                f"{of.low:.4f} to {of.high:.4f}", f"{of.least:.4f} to {of.most:.4f}",
                "" if expected is None else f"{expected:g}", agreement(outcome, of.mean),
            )
        )  # fmt: skip
    head = ("group", "trials", "mean", "median", "std", "95 % of the mean", "range", "published", "agrees")
    metrics = " or ".join(dict.fromkeys(outcome.metric for outcome in outcomes))
    note = (
        f"Training {metrics} after the last generation, one value a trial: the mean over its cells, which share "
        "ancestors. std: standard deviation. Interval: percentile bootstrap, 10,000 resamples."
    )
    return table("Groups", head, rows, note)


def findings_table(outcomes: Sequence[Finding]) -> Table:
    """Return each claim with its verdict."""
    rows = []
    for finding in outcomes:
        test, claim = finding.test, finding.claim
        pair = f"{claim.first} {'<' if claim.within is None else '='} {claim.second}"
        if test is None:
            rows.append((claim.text, finding.verdict, pair, "", "", "", ""))
            continue
        rows.append(
            (
                claim.text, finding.verdict, pair, f"{test.difference:+.4f} ({test.low:+.4f} to {test.high:+.4f})",
                f"{test.p:.2g}", f"{finding.corrected:.2g}", f"{test.effect:.2f}",
            )
        )  # fmt: skip
    head = ("claim", "verdict", "compared", "difference of the means", "p", "p, corrected", "effect")
    note = (
        "Two-sided Mann-Whitney tests over trials, 0.05; p-values of orders (<) corrected by Holm over all of them. "
        "Difference: with its 95 % bootstrap interval; two groups are alike (=) to a margin when the whole interval is "
        "within it. Effect: probability that a trial of the first group has the lower loss (Vargha and "
        "Delaney); 0.5 is no difference."
    )
    return table("Findings", head, rows, note)


def compression_table(outcomes: Sequence[Outcome]) -> Table:
    """Return the capacity as published, the zeros that are really there, and the loss of the exported model."""
    rows = []
    for outcome in outcomes:
        nonzero = np.mean([result.nonzero for result in outcome.results])
        chosen = summary(np.array([result.chosen for result in outcome.results]))
        seconds = np.median([result.seconds for result in outcome.results])
        rows.append(
            (
                outcome.group.name, f"{np.median(outcome.capacities):.3f}", f"{nonzero:.3f}", f"{chosen.mean:.4f}",
                f"{chosen.low:.4f} to {chosen.high:.4f}", f"{seconds:.0f}",
            )
        )  # fmt: skip
    head = ("group", "capacity, median", "not zero at the end", "test loss", "95 % of its mean", "seconds a run")
    note = (
        "Capacity: share of parameters not zero at the lineage's last prune, as published; under the published rule "
        "they grow again. Test loss: of the model with the lowest validation loss, which is exported."
    )
    return table("Compression", head, rows, note)


def before_and_after_table(outcomes: Sequence[Outcome]) -> Table | None:
    """Return what each group's best trial exported, beside its dense model; None where no run compared them."""
    rows: list[tuple[str, ...]] = []
    head: Sequence[str] = ()
    for outcome in outcomes:
        best = min(outcome.results, key=lambda result: result.loss)
        for event in read_run(best.folder):
            if isinstance(event, Compared):
                head, *lines = event.table()
                rows += [(f"{outcome.group.name}, seed {best.seed}", *line) for line in lines]
    note = "The trial of each group with the lowest loss."
    return table("Before and after", ("group", *head), rows, note) if rows else None


def spec_tables(outcomes: Sequence[Outcome]) -> list[Table]:
    """Return the fields of the complete specs that are not the same in all groups, and those that are."""
    specs = [flatten(outcome.results[0].spec) for outcome in outcomes]
    ring = [spec["mode"] == "coevo" for spec in specs]
    differ, same = [], []
    for field in specs[0]:
        values = [
            spec.get(field) for spec, has in zip(specs, ring, strict=True) if has or not field.startswith("evolve.")
        ]
        if field != "seed" and len({json.dumps(value) for value in values}) > 1:
            differ.append(field)
        elif values and field != "seed":
            same.append((field, word(values[0])))
    rows = [
        [outcome.group.name]
        + ["" if field.startswith("evolve.") and not has else word(spec.get(field)) for field in differ]
        for outcome, spec, has in zip(outcomes, specs, ring, strict=True)
    ]
    return [table("What differs", ["group", *differ], rows), table("What is the same", ("field", "value"), same)]


def spec_table(spec: Mapping[str, Any], sources: Mapping[str, str]) -> Table:
    """Return every field of the complete spec with its source."""
    rows = [(path, word(value), sources.get(path, "")) for path, value in flatten(spec).items()]
    return table("Spec", ("field", "value", "source"), rows)


def word(value: Any) -> str:
    """Return a value of a spec as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str) else json.dumps(value)


def versions_table(statuses: Sequence[Mapping[str, Any]]) -> Table:
    """Return the packages that the runs used; more than one version where they were not the same."""
    seen: dict[str, dict[str, None]] = {}
    for status in statuses:
        for name, version in {"python": status.get("python", ""), **status.get("versions", {})}.items():
            seen.setdefault(name, {})[str(version)] = None
    return table("Versions", ("package", "version"), [(name, ", ".join(versions)) for name, versions in seen.items()])
