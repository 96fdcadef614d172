"""Ours against the field on sets that nobody tuned on: one table, one figure.

    python benchmarks/suite.py --half tuning|proof [--sets a,b] [--methods pca,magnitude,ours] [--seeds 3]
        [--sparsities 0,0.8,0.9,0.95] [--folder FOLDER] [--out RESULTS.jsonl] [--figure FILE.svg]

Every method has the same rows, split once as the default command with seed 0 does, the same scaling, and the network,
passes and batch that the default command chooses for them. The settings of a method are chosen on validation rows with
the first seed, for each set and sparsity; the chosen ones are then trained with every seed. Errors are those of test
rows, which nothing was chosen on, in scaled units: mse, of sets of 0 and 1 l1. Non-zeros are equal; weights and biases
of all layers count. Each result is a line of RESULTS.jsonl once it is there; a run that was broken off resumes, and of
results of other rows or another network none is used.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numpy as np
import suite_sets
import torch
from suite_report import chosen, figure, rows_of, table
from suite_rivals import METHODS, Method
from suite_stack import Member, Task, chunks

from aecompress.data.base import Raw
from aecompress.data.split import cuts_of, draw
from aecompress.runs.job import prepare_in_memory
from aecompress.spec.resolve import resolve

SPARSITIES = (0.0, 0.8, 0.9, 0.95)
STEP, FURTHER = 2, 2
"""From the first or last learning rate to the next, where it is the best; and how many are tried beyond them."""
Setting = tuple[float, float | str]
"""A rate, and a method's other setting."""


class Line(NamedTuple):
    """One trained model."""

    set: str
    method: str
    sparsity: float
    rate: float
    option: float | str
    seed: int
    validation: float
    test: float
    nonzeros: int
    seconds: float
    """Its share of what its stack took."""
    task: str

    @property
    def member(self) -> Member:
        """Return what was trained."""
        return Member(self.sparsity, self.rate, self.option, self.seed)


def task_of(name: str, rows: np.ndarray[Any, Any], network: dict[str, Any]) -> Task:
    """Return the task of a set's rows ``[N, D]``, with the splits and all that the default command resolves.

    Args:
        network: flags that say how large it is.
    """
    flags = network | {"mode": "canonical", "model.initial": "torch"}
    resolved = resolve({path: ("benchmark", value) for path, value in flags.items()})
    parts = draw(len(rows), cuts_of(resolved.spec.data.split, len(rows)), 0)
    given = Raw(name=name, train=rows[parts == 0], validation=rows[parts == 1], test=rows[parts == 2])
    job = prepare_in_memory(resolved, given)
    training, spec = job.plan.training, job.resolved.spec
    about = [job.dataset.fingerprint, str(job.net.layers), training.generations, training.batch, spec.train.loss]
    return Task(
        name=name,
        given=given,
        network=network,
        dataset=job.dataset,
        net=job.net,
        passes=training.generations,
        batch=training.batch,
        loss=training.loss,
        warmup=spec.train.warmup,
        metric=job.plan.metric,
        digest=hashlib.sha256(repr(about).encode()).hexdigest()[:16],
    )


class Results:
    """The lines of a file, and those that are added."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        texts = path.read_text().splitlines() if path is not None and path.exists() else []
        self.lines = [Line(**json.loads(text)) for text in texts]

    def of(self, task: Task, method: str, sparsity: float) -> list[Line]:
        """Return the lines of one set, method and sparsity."""
        wanted = (task.digest, task.name, method, sparsity)
        return [line for line in self.lines if (line.task, line.set, line.method, line.sparsity) == wanted]

    def add(self, lines: Sequence[Line]) -> None:
        """Add lines, and write them."""
        self.lines += lines
        if self.path is not None:
            with self.path.open("a") as file:
                file.write("".join(json.dumps(line._asdict()) + "\n" for line in lines))


def carried_out(task: Task, name: str, members: Sequence[Member], found: Results) -> None:
    """Carry out a method for those members that have no result yet."""
    known = {
        line.member for line in found.lines if (line.task, line.set, line.method) == (task.digest, task.name, name)
    }
    missing = [one for one in members if one not in known]
    began = time.perf_counter()
    for part in chunks(task, missing) if METHODS[name].stacked else [[one] for one in missing]:
        start = time.perf_counter()
        done = METHODS[name].carry_out(task, part)
        each = (time.perf_counter() - start) / len(part)
        found.add(
            [Line(task.name, name, *one, *result, each, task.digest) for one, result in zip(part, done, strict=True)]
        )
    if missing:
        minutes = (time.perf_counter() - began) / 60
        print(f"  {task.name} {name}: {len(missing)} models in {minutes:.2f} minutes", flush=True)


def sparsities_of(method: Method, requested: Sequence[float]) -> list[float]:
    """Return those of the requested sparsities that a method has results for."""
    return [one for one in requested if (method.pruned if one else method.dense)]


def further(settings: Sequence[Setting], best: Setting) -> list[Setting]:
    """Return the settings of the next rate, where the best one is the first or the last of several."""
    rates = sorted({rate for rate, _ in settings})
    if len(rates) < 2 or rates[0] < best[0] < rates[-1]:
        return []
    rate = float(f"{best[0] * STEP if best[0] == rates[-1] else best[0] / STEP:.2g}")
    return [(rate, option) for option in dict.fromkeys(option for _, option in settings)]


def compare(task: Task, name: str, requested: Sequence[float], seeds: int, found: Results) -> None:
    """Tune a method on validation rows with the first seed, and train what was chosen with every seed."""
    method = METHODS[name]
    settings = {one: method.settings(task, one) for one in sparsities_of(method, requested)}
    for _ in range(1 + FURTHER):
        members = [Member(one, *setting, 0) for one, own in settings.items() for setting in own]
        carried_out(task, name, members, found)
        for one, own in settings.items():
            tried = [line for line in found.of(task, name, one) if (line.rate, line.option) in own]
            own += further(own, chosen(tried))
    if method.seeded:
        more = [Member(one, *chosen(found.of(task, name, one)), seed) for seed in range(1, seeds) for one in settings]
        carried_out(task, name, more, found)


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--half", choices=("tuning", "proof"), required=True)
    parser.add_argument("--sets", help="only these of the half, as a,b")
    parser.add_argument("--methods", default=",".join(METHODS), help="%(default)s")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--sparsities", default=",".join(map(str, SPARSITIES)))
    parser.add_argument("--folder", type=Path, default=Path("runs/suite"), help="where the sets are kept")
    parser.add_argument("--out", type=Path, help="results as JSON lines; those that are there are not made again")
    parser.add_argument("--figure", type=Path, help=".svg or .png")
    requested = parser.parse_args()
    names = [row.name for row in suite_sets.SETS if row.half == requested.half]
    if requested.sets:
        names = [name for name in requested.sets.split(",") if name in names]
    methods, sparsities = requested.methods.split(","), [float(one) for one in requested.sparsities.split(",")]
    unknown = [name for name in methods if name not in METHODS]
    if unknown or not names:
        parser.error(f"no such method or set: {', '.join(unknown) or requested.sets}")
    torch.set_num_threads(1)
    found, tasks = Results(requested.out), list[Task]()
    for name in names:
        row = suite_sets.row_of(name)
        network = {"model.hidden": list(row.hidden), "model.latent": row.latent}
        task = task_of(name, suite_sets.rows_of(name, requested.folder), network)
        print(f"{name}: {row.rows} x {row.inputs}, {task.passes} passes, {task.net.model_size} weights", flush=True)
        for method in methods:
            compare(task, method, sparsities, requested.seeds, found)
        tasks.append(task)
    digests = {task.digest for task in tasks}
    lines = [line for line in found.lines if line.task in digests and line.method in methods]
    rows = rows_of(lines, sparsities, requested.seeds)
    print(table(rows, methods))
    if requested.figure:
        figure(rows, methods, requested.figure)


if __name__ == "__main__":
    main()
