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

from aecompress.deploy.checkpoint import load_model, load_rows
from aecompress.deploy.reference import run as run_layers
from aecompress.errors import AecompressError, DataError, OutputError
from aecompress.events import Compared, Failed, Finished, Profiled, Started
from aecompress.files import write_bytes, write_text
from aecompress.spec.toml import flatten
from aecompress.steering import read_status, status_of
from aecompress.study import figures
from aecompress.study.design import copied
from aecompress.study.results import Outcome, outcomes, read_run
from aecompress.study.stats import Finding, agreement, findings, summary

Floats = NDArray[np.float64]
Table = dict[str, Any]
Made = list[tuple[str, Path]]
"""Files: kind and path."""


def write(where: Path, output: Path | None = None) -> Made:
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
    made: Made = []
    try:
        beside.mkdir(parents=True, exist_ok=True)
        pictures = []
        for name, (caption, figure) in drawn.items():
            for kind in figures.FORMATS:
                data = figures.rendered(figure, kind)
                path = beside / f"{name}.{kind}"
                write_bytes(path, data)
                made.append((f"figure-{kind}", path))
                if kind == "svg":
                    source = "data:image/svg+xml;base64," + base64.b64encode(data).decode()
                    pictures.append({"name": name, "caption": caption, "source": source})
        environment = Environment(
            loader=PackageLoader("aecompress.study", "."), autoescape=select_autoescape(), undefined=StrictUndefined
        )
        text = environment.get_template("report.html").render(
            **page, pictures=pictures, version=metadata.version("aecompress"), written=time.strftime("%Y-%m-%d %H:%M")
        )
        write_text(output, text)
    except OSError as fault:
        raise OutputError(f"{output}: cannot be written ({fault.strerror}); choose another place with -o") from fault
    return [("report", output), *made]


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], note: str = "") -> Table:
    """A table of the page."""
    return {"title": title, "head": list(head), "rows": [list(row) for row in rows], "note": note}


def of_run(where: Path) -> tuple[dict[str, Any], dict[str, tuple[str, Any]]]:
    """What the page of a run says, and its figures."""
    said, status = read_run(where), read_status(where)
    start = next(event for event in said if isinstance(event, Started))
    activations, without = layer_activations(where)
    facts = [
        ("status", status_of(where)),
        (
            "data",
            f"{start.spec['data']['source']}: {', '.join(f'{n:,} {part}' for part, n in start.rows.items())} rows",
        ),
        ("parameters", f"{start.parameters:,} in {start.cells} cell(s)"),
        ("generations", f"{start.generations:,}"),
        ("trained", start.engine),
        ("seed", str(start.spec["seed"])),
        ("device", f"{start.device} on {status.get('host', 'an unknown machine')}"),
    ]
    tables = []
    for event in said:
        if isinstance(event, Compared):
            head, *rows = event.words()
            tables.append(table("Before and after", head, rows, "; ".join(event.notes)))
    for event in said:
        if isinstance(event, Failed):
            facts.append(("failed", event.message))
        if isinstance(event, Finished):
            facts.append(("zeros", f"{event.zeros:,} of {event.parameters:,} ({event.sparsity:.2%})"))
            tables.append(
                table("Metrics", ("metric", "value"), [(name, f"{value:.6g}") for name, value in event.metrics.items()])
            )
    for event in said:
        if isinstance(event, Profiled):
            total = sum(event.seconds.values()) or 1.0
            rows = [(w, f"{s:.2f}", f"{s / total:.1%}") for w, s in sorted(event.seconds.items(), key=lambda i: -i[1])]
            tables.append(table("Where the time went", ("what", "seconds", "share"), rows))
    tables.append(spec_table(start.spec, status.get("sources", {})))
    tables.append(versions_table([status]))
    page = {
        "title": start.run,
        "lead": "One run of aecompress: what was asked, what came out, and what the files take.",
        "facts": facts,
        "tables": tables,
        "notes": [without] if without else [],
    }
    return page, figures.run_figures(said, activations)


def layer_activations(where: Path) -> tuple[dict[str, Floats], str]:
    """What every unit of the handed-over model gives on the rows kept beside it, by layer; or why there is nothing."""
    rows = where / "model" / "rows.safetensors"
    try:
        model = load_model(where / "model")
        values = np.asarray(load_rows(rows), dtype=np.float64)
    except AecompressError:
        return {}, "There is no activation map: the run has no model, or kept no rows beside it."
    found = {}
    for layer in (*model.encoder, *model.decoder):
        values = run_layers([layer], model.tensors, values)
        found[layer.name] = values
    return found, ""


def of_study(where: Path) -> tuple[dict[str, Any], dict[str, tuple[str, Any]]]:
    """What the page of a study says, and its figures."""
    study = copied(where)
    found = outcomes(study, where)
    done = sum(len(outcome.results) for outcome in found)
    hours = sum(result.seconds for outcome in found for result in outcome.results) / 3600
    tables = [groups_table(found)]
    if study.claims:
        tables.insert(0, findings_table(findings(study.claims, found)))
    tables.append(compression_table(found))
    if handed_over := before_and_after_tables(found):
        tables.append(handed_over)
    tables += spec_tables(found)
    tables.append(versions_table([read_status(result.folder) for outcome in found for result in outcome.results]))
    missing = len(study.trials) - done
    page = {
        "title": study.name,
        "lead": study.question or "A study of aecompress.",
        "facts": [
            ("runs", f"{done} of {len(study.trials)} finished"),
            ("groups", f"{len(found)}"),
            ("seeds", ", ".join(map(str, study.seeds))),
            ("computing", f"{hours:.2f} core hours"),
        ],
        "tables": tables,
        "notes": [f"{missing} runs are not finished and not counted."] if missing else [],
        "source": study.text,
    }
    return page, figures.study_figures(found)


def groups_table(found: Sequence[Outcome]) -> Table:
    """Each group's losses in numbers, beside what was published."""
    rows = []
    for outcome in found:
        of, expected = summary(outcome.losses), outcome.group.expected
        rows.append(
            (
                outcome.group.name, str(of.count), f"{of.mean:.4f}", f"{of.median:.4f}", f"{of.spread:.4f}",
                f"{of.low:.4f} to {of.high:.4f}", f"{of.least:.4f} to {of.most:.4f}",
                "" if expected is None else f"{expected:g}", agreement(outcome, of.mean),
            )
        )  # fmt: skip
    head = ("group", "trials", "mean", "median", "stats", "95 % of the mean", "range", "published", "agrees")
    measures = " or ".join(dict.fromkeys(outcome.metric for outcome in found))
    note = (
        f"Training {measures} after the last generation, one value a trial: the mean over its cells, which share "
        "ancestors. ActivationStats: standard deviation. Interval: percentile bootstrap, 10,000 resamples."
    )
    return table("Groups", head, rows, note)


def findings_table(found: Sequence[Finding]) -> Table:
    """Each claim with its verdict."""
    rows = []
    for finding in found:
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
        "within it. Effect: chance that a trial of the first group has the lower loss (Vargha and "
        "Delaney); 0.5 is no difference."
    )
    return table("Findings", head, rows, note)


def compression_table(found: Sequence[Outcome]) -> Table:
    """Capacity as published, zeros that are really there, loss of the model handed over."""
    rows = []
    for outcome in found:
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
        "they grow again. Test loss: of the pair with the lowest validation loss, which is handed over."
    )
    return table("Compression", head, rows, note)


def before_and_after_tables(found: Sequence[Outcome]) -> Table | None:
    """What each group's best trial handed over, beside its dense model; None where no run compared them."""
    rows: list[tuple[str, ...]] = []
    head: Sequence[str] = ()
    for outcome in found:
        best = min(outcome.results, key=lambda result: result.loss)
        for event in read_run(best.folder):
            if isinstance(event, Compared):
                head, *lines = event.words()
                rows += [(f"{outcome.group.name}, seed {best.seed}", *line) for line in lines]
    note = "The trial of each group with the lowest loss."
    return table("Before and after", ("group", *head), rows, note) if rows else None


def spec_tables(found: Sequence[Outcome]) -> list[Table]:
    """The fields of the complete specs that are not the same in all groups, and those that are."""
    specs = [flatten(outcome.results[0].spec) for outcome in found]
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
        for outcome, spec, has in zip(found, specs, ring, strict=True)
    ]
    return [table("What differs", ["group", *differ], rows), table("What is the same", ("field", "value"), same)]


def spec_table(spec: Mapping[str, Any], sources: Mapping[str, str]) -> Table:
    """Every field of the complete spec, with where it came from."""
    rows = [(path, word(value), sources.get(path, "")) for path, value in flatten(spec).items()]
    return table("Spec", ("field", "value", "from"), rows)


def word(value: Any) -> str:
    """A value of a spec in words."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str) else json.dumps(value)


def versions_table(statuses: Sequence[Mapping[str, Any]]) -> Table:
    """What the runs were carried out with; more than one version where they were not the same."""
    seen: dict[str, dict[str, None]] = {}
    for status in statuses:
        for name, version in {"python": status.get("python", ""), **status.get("versions", {})}.items():
            seen.setdefault(name, {})[str(version)] = None
    return table("Versions", ("package", "version"), [(name, ", ".join(found)) for name, found in seen.items()])
