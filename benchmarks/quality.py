"""Quality at equal training: our recipe against a tuned cubic magnitude schedule, and a ring against separate runs.

    python benchmarks/quality.py MNIST.npz [--parts mnist8,mnist30,clusters,digits,front] [--seeds 3] [--json OUT]

The baseline is what common tools offer at their best: global magnitude, cubic schedule, torch's first weights, Adam
with warm-up and cosine, its learning rate and the end of its pruning window chosen on validation rows for each work and
sparsity. Ours is the default recipe with the learning rate chosen on the same rows. Where the best rate is the first or
the last of those tried, the next one is tried too. The chosen settings are then
trained with every seed on all training rows, and evaluated on test rows, which nothing was chosen on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numpy as np
import torch

from aecompress.data.dataset import Dataset
from aecompress.data.pca import principal_components
from aecompress.engines.workers import no_denormals
from aecompress.evolve.archive import archive
from aecompress.evolve.generation import generation
from aecompress.nets.autoencoder import layer_zeros, reconstruction_loss
from aecompress.nets.layers import forward
from aecompress.plan.first import first_population
from aecompress.plan.rows import rows_of
from aecompress.runs.job import Job, prepare
from aecompress.spec.resolve import resolve

BASELINE = {"model.initial": "torch", "prune.regrowth": 0, "train.betas": [0.9, 0.999]}
ENDS = (0.25, 0.5, 0.75)
BEYOND = {0.25: 0.1, 0.75: 0.9}
"""The end of pruning that is tried as well where the first or the last of the three is the best."""
STEP = 1.5
"""From one learning rate to the next, beyond those that every work begins with."""
FURTHER = 4
"""Most rates tried beyond them."""
NEVER = Path(tempfile.gettempdir()) / "aecompress-quality-never-written"
PROBES = 2, 8
"""Passes of two runs that tell how many fit into a time: prunes and archive cost the same however many there are."""
MARGIN = 1.1
"""Of that estimate."""
FRONT_RATES = (1.2e-2, 1.6e-2, 2.4e-2)
"""Learning rates that both sides of the front begin with."""
BUDGETS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Of the front: one per cell, and one per separate run."""


class Work(NamedTuple):
    """A task of the tables."""

    name: str
    flags: dict[str, Any]
    tuning: dict[str, Any]
    """Flags under which settings are chosen: some training rows are kept for validation."""
    final: dict[str, Any]
    sparsities: tuple[float, ...]
    rates: tuple[float, ...]
    metric: str
    code: int
    """Size of the latent code, for PCA."""


class Fit(NamedTuple):
    """One trained model."""

    test: float
    validation: float
    nonzeros: int
    seconds: float
    passes: int


def works(mnist: str) -> list[Work]:
    rows = {"data.source": f"{mnist}:train", "data.test": f"{mnist}:test"}
    net = {"train.batch": 256, "model.hidden": [256], "model.latent": 64, "compile": "off"}
    held, whole = {"data.split": [0.9, 0.1, 0.0]}, {"data.split": [1.0, 0.0, 0.0]}
    rates = (1.2e-2, 1.6e-2, 2.4e-2)
    clusters = {"data.source": "binary-clusters:10x100x1000", "model.network": "paper", "train.epochs": 200}
    digits = {"data.source": "digits", "model.hidden": [32], "model.latent": 8}
    return [
        Work("mnist8", rows | net | {"train.epochs": 8}, held, whole, (0.0, 0.9, 0.95, 0.98), rates, "mse", 64),
        Work("mnist30", rows | net | {"train.epochs": 30}, held, whole, (0.0, 0.9, 0.95), (8e-3, 1.2e-2), "mse", 64),
        Work("clusters", clusters, {}, {}, (0.8, 0.9, 0.93, 0.94), (4e-3, 8e-3, 1.6e-2), "l1", 10),
        Work("digits", digits, {}, {}, (0.0, 0.9), (4e-3, 8e-3, 1.6e-2), "mse", 8),
    ]


def evolved(flags: dict[str, Any], seed: int) -> tuple[Job, Any, Any, tuple[float, float]]:
    """A run without files: job, last population, archive, and seconds with and without the archive."""
    requested = {path: ("benchmark", value) for path, value in flags.items()} | {"seed": ("benchmark", seed)}
    job = prepare(resolve(requested), NEVER)
    threads = torch.get_num_threads()
    torch.set_num_threads(job.plan.blocks.threads or threads)
    rows = rows_of(job.sampling, job.dataset, job.device)
    population = first_population(job.first, job.net, job.dataset, job.device)
    job.plan.engine.prepare(lambda: None)
    start = time.perf_counter()
    with no_denormals():
        while population.generation < job.plan.training.generations:
            population, _ = generation(job.plan, population, rows, lambda: None)
        generations = time.perf_counter() - start
        found = archive(job.plan, population, rows, lambda: None)
    seconds = time.perf_counter() - start
    torch.set_num_threads(threads)
    return job, population, found, (seconds, generations)


def test_losses(job: Job, weights: torch.Tensor) -> list[float]:
    """The reported loss of individuals on all test rows."""
    rows = torch.from_numpy(job.dataset.test)
    losses: list[float] = reconstruction_loss(job.net, job.net.layout.views(weights), rows, job.plan.metric).tolist()
    return losses


def fit(flags: dict[str, Any], seed: int, sparsity: float) -> Fit:
    """One autoencoder, canonical; asserts that it has the target sparsity."""
    flags = flags | {"mode": "canonical", "prune.target_sparsity": sparsity}
    if sparsity == 0:
        flags["prune.operator"] = "none"
    job, population, _, (seconds, _) = evolved(flags, seed)
    zeros = int(layer_zeros(job.net, population.weights).sum())
    assert zeros >= round(sparsity * job.net.model_size), (zeros, sparsity)
    nonzeros = job.net.model_size - zeros
    passes = job.plan.training.generations
    return Fit(test_losses(job, population.weights)[0], float(population.fitness[0]), nonzeros, seconds, passes)


def climbed(rates: tuple[float, ...], loss_at: Callable[[float], float]) -> None:
    """Call ``loss_at`` with each rate, and with further ones while the lowest loss is at the first or the last."""
    losses = {rate: loss_at(rate) for rate in rates}
    for _ in range(FURTHER):
        at = min(losses, key=lambda rate: losses[rate])
        if min(losses) < at < max(losses):
            break
        further = float(f"{at * STEP if at == max(losses) else at / STEP:.3g}")
        losses[further] = loss_at(further)


def tuned(work: Work, sparsity: float, base: dict[str, Any], ends: tuple[float, ...]) -> tuple[dict[str, Any], Fit]:
    """The settings with the lowest loss on validation rows, seed 0, and what they gave."""
    found: list[tuple[dict[str, Any], Fit]] = []

    def loss_at(rate: float) -> float:
        losses: dict[float | None, float] = {}

        def attempt(end: float | None) -> None:
            settings = base | {"train.learning_rate": rate} | ({} if end is None else {"prune.end": end})
            found.append((settings, fit(work.flags | work.tuning | settings, 0, sparsity)))
            losses[end] = found[-1][1].validation
            print(f"  {work.name} {sparsity:.0%} {settings} validation {losses[end]:.6f}", flush=True)

        for end in (ends if sparsity else ()) or (None,):
            attempt(end)
        best = min(losses, key=lambda end: losses[end])
        if best in BEYOND:
            attempt(BEYOND[best])
        return min(losses.values())

    climbed(work.rates, loss_at)
    return min(found, key=lambda pair: pair[1].validation)


def flip_rate(dataset: Dataset) -> float:
    """Share of the test rows' bits that noise turned, where a generated set knows it."""
    return dataset.notes.get("test_flip_rate", 0.0)


def pca(dataset: Dataset, components: int, metric: str) -> float:
    """Test loss of a PCA with as many components as the code has."""
    out = principal_components(dataset.train, components).reconstruct(dataset.test)
    difference = np.clip(out, 0, 1) - dataset.test if metric == "l1" else out - dataset.test
    return float(np.abs(difference).mean() if metric == "l1" else np.square(difference).mean())


def spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.5f} ± {deviation:.5f}"


def table(work: Work, seeds: int) -> dict[str, Any]:
    """Both recipes at every sparsity of one work."""
    found: dict[str, Any] = {"work": work.name, "rows": []}
    for sparsity in work.sparsities:
        settings = {"baseline": tuned(work, sparsity, BASELINE, ENDS)[0], "ours": tuned(work, sparsity, {}, ())[0]}
        results = {
            name: [fit(work.flags | work.final | mine, seed, sparsity) for seed in range(seeds)]
            for name, mine in settings.items()
        }
        floors = [0.0] * seeds
        if work.name == "clusters":
            floors = []
            for seed in range(seeds):
                requested = {path: ("benchmark", value) for path, value in (work.flags | {"seed": seed}).items()}
                floors.append(flip_rate(prepare(resolve(requested), NEVER).dataset))
            results = {
                name: [one._replace(test=one.test - floor) for one, floor in zip(fits, floors, strict=True)]
                for name, fits in results.items()
            }
        row: dict[str, Any] = {
            "sparsity": sparsity,
            "settings": settings,
            "test": {name: [one.test for one in fits] for name, fits in results.items()},
            "seconds": {name: statistics.median(one.seconds for one in fits) for name, fits in results.items()},
            "nonzeros": results["ours"][0].nonzeros,
        }
        slower = row["seconds"]["ours"] / row["seconds"]["baseline"]
        if slower > 1 and sparsity:
            passes = max(1, math.floor(results["ours"][0].passes / slower))
            shorter = work.flags | work.final | settings["ours"] | {"train.epochs": passes}
            equal = [fit(shorter, seed, sparsity).test - floors[seed] for seed in range(seeds)]
            row["equal_time"] = {"passes": passes, "test": equal}
        row["ratio"] = statistics.fmean(row["test"]["ours"]) / statistics.fmean(row["test"]["baseline"])
        found["rows"].append(row)
        print(
            f"| {work.name} | {sparsity:.0%} | {spread(row['test']['baseline'])} | {spread(row['test']['ours'])} | "
            f"{row['ratio']:.3f} | {row['seconds']['baseline']:.1f} / {row['seconds']['ours']:.1f} s |"
            + (f" {spread(row['equal_time']['test'])} in {passes} passes |" if "equal_time" in row else " |"),
            flush=True,
        )
    requested = {path: ("benchmark", value) for path, value in (work.flags | work.final).items()}
    dataset = prepare(resolve(requested), NEVER).dataset
    found["pca"] = pca(dataset, work.code, work.metric) - (flip_rate(dataset) if work.name == "clusters" else 0.0)
    print(f"| {work.name} | PCA {work.code} | {found['pca']:.5f} | | | |", flush=True)
    return found


def hypervolume(points: list[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Area between the staircase of ``points`` (non-zeros, loss) and the reference point, both axes log10."""
    area, best = 0.0, math.inf
    ordered = sorted(point for point in points if point[0] <= reference[0])
    edges = [math.log10(n) for n, _ in ordered] + [math.log10(reference[0])]
    for at, (_, loss) in enumerate(ordered):
        best = min(best, loss)
        area += (edges[at + 1] - edges[at]) * max(0.0, math.log10(reference[1]) - math.log10(best))
    return area


def front(mnist: str, epochs: int, seeds: int) -> dict[str, Any]:
    """One ring of eight cells against eight separate runs of the same recipe, in half and in all of their time.

    The learning rate of a separate run is the one with the lowest loss on validation rows at its budget; the ring's,
    for each of its lengths, the one with the largest hypervolume there; seed 0.
    """
    shared = works(mnist)[0].flags | {"prune.target_sparsity": 0.9}
    work = works(mnist)[0]._replace(name="front", flags=shared | {"train.epochs": epochs}, rates=FRONT_RATES)
    ring = shared | {"mode": "coevo", "evolve.cells": len(BUDGETS), "evolve.budgets": list(BUDGETS)}
    short, long = (of_ring(ring | work.final | {"train.epochs": passes}, 0)["seconds"] for passes in PROBES)
    each = (long - short) / (PROBES[1] - PROBES[0])
    once = max(short - PROBES[0] * each, 0.0)
    print(f"  front, a ring's pass takes {each:.1f} s, what is done once {once:.1f} s", flush=True)
    held = {budget: tuned(work, budget, {}, ()) for budget in BUDGETS}
    rates = {budget: settings["train.learning_rate"] for budget, (settings, _) in held.items()}
    print(f"  front, separate runs, rates {rates}", flush=True)
    time_of_theirs = sum(one.seconds for _, one in held.values()) / work.tuning["data.split"][0]
    rings = {}
    for name, share, more in (("half", 0.5, {}), ("equal", 1.0, {}), ("alone", 0.5, {"evolve.radius": 0})):
        passes = max(1, math.floor((share * time_of_theirs / MARGIN - once) / each))
        requested = ring | more | {"train.epochs": passes}
        rings[name] = requested | work.final | {"train.learning_rate": best_rate(name, requested | work.tuning)}
    settings: dict[str, Any] = {
        name: [requested["train.learning_rate"], requested["train.epochs"]] for name, requested in rings.items()
    }
    settings["separate"] = [list(rates.values()), epochs]
    found: dict[str, Any] = {"work": "front", "settings": settings, "seeds": []}
    for seed in range(seeds):
        theirs = separate_runs(work.flags | work.final, rates, seed)
        row = {"separate": theirs} | {name: of_ring(requested, seed) for name, requested in rings.items()}
        found["seeds"].append(row)
        for name in rings:
            mine = row[name]
            print(
                f"| front, seed {seed}, {name} | passes {mine['passes']} | {mine['seconds'] / theirs['seconds']:.3f} "
                f"of {theirs['seconds']:.0f} s | hypervolume {mine['hypervolume']:.4f} of {theirs['hypervolume']:.4f} "
                f"= {mine['hypervolume'] / theirs['hypervolume']:.4f} | cells alone "
                f"{mine['cells'] / theirs['hypervolume']:.4f} | {len(mine['points'])} members |",
                flush=True,
            )
    return found


def best_rate(name: str, flags: dict[str, Any]) -> float:
    """The rate whose points have the largest hypervolume on validation rows."""
    found: dict[float, float] = {}

    def loss_at(rate: float) -> float:
        found[rate] = float(of_ring(flags | {"train.learning_rate": rate}, 0)["held"])
        print(f"  front, {name}, rate {rate} validation hypervolume {found[rate]:.4f}", flush=True)
        return -found[rate]

    climbed(FRONT_RATES, loss_at)
    return max(found, key=lambda rate: found[rate])


def separate_runs(flags: dict[str, Any], rates: dict[float, float], seed: int) -> dict[str, Any]:
    """One canonical run per budget, each at its own learning rate."""
    fits = [fit(flags | {"train.learning_rate": rate}, seed, budget) for budget, rate in rates.items()]
    job = prepare(resolve({path: ("benchmark", value) for path, value in (flags | {"seed": seed}).items()}), NEVER)
    reference = (float(job.net.model_size), pca(job.dataset, 1, "mse"))
    points = [(float(one.nonzeros), one.test) for one in fits]
    return {
        "seconds": sum(one.seconds for one in fits),
        "points": points,
        "hypervolume": hypervolume(points, reference),
    }


def of_ring(flags: dict[str, Any], seed: int) -> dict[str, Any]:
    """The archive of one ring, on test rows, and (``held``) on the rows the archive was chosen on."""
    job, population, found, (seconds, _) = evolved(flags, seed)
    reference = (float(job.net.model_size), pca(job.dataset, 1, "mse"))

    def points(nonzeros: list[int], losses: list[float]) -> list[tuple[float, float]]:
        return list(zip(map(float, nonzeros), losses, strict=True))

    kept = (job.net.model_size - layer_zeros(job.net, population.weights).sum(1)).tolist()
    members = points(found.nonzeros, test_losses(job, found.members.weights))
    return {
        "passes": flags["train.epochs"],
        "seconds": seconds,
        "points": members,
        "hypervolume": hypervolume(members, reference),
        "cells": hypervolume(points(kept, test_losses(job, population.weights)), reference),
        "held": hypervolume(points(found.nonzeros, found.losses), reference),
    }


def picture(found: dict[str, Any], path: Path) -> None:
    """The fronts of the first seed: separate runs, and the ring in half and in all of their time."""
    from matplotlib.figure import Figure

    row = found["seeds"][0]
    axes = Figure(figsize=(8, 5), layout="constrained").subplots()
    axes.plot(*zip(*sorted(row["separate"]["points"]), strict=True), "ks", label="eight separate runs")
    for name, colour in (("half", "C0"), ("equal", "C1")):
        share = row[name]["seconds"] / row["separate"]["seconds"]
        axes.step(
            *zip(*sorted(row[name]["points"]), strict=True), colour, where="post", marker="o", markersize=3,
            label=f"one ring, {row[name]['passes']} passes, {share:.0%} of their time",
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="non-zeros", ylabel="test mse", title="MNIST 784-256-64-256-784")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    axes.figure.savefig(path)


def reconstructions(mnist: str, found: dict[str, Any], path: Path) -> None:
    """Some test digits, and what ours and the baseline make of them at every sparsity of ``found``, seed 0."""
    from matplotlib.figure import Figure

    work, shown = works(mnist)[0], slice(0, 200, 20)
    lines: list[tuple[str, np.ndarray]] = []
    for row in found["rows"]:
        for name in ("ours", "baseline") if row["sparsity"] else ("ours",):
            flags = work.flags | work.final | row["settings"][name] | {"train.epochs": work.flags["train.epochs"]}
            flags |= {"mode": "canonical", "prune.target_sparsity": row["sparsity"]}
            flags |= {} if row["sparsity"] else {"prune.operator": "none"}
            job, population, _, _ = evolved(flags, 0)
            rows = torch.from_numpy(job.dataset.test[shown])
            out = forward(job.net.layers, job.net.layout.views(population.weights), rows[None]).out[-1][0].numpy()
            lines = lines or [("test rows", rows.numpy())]
            loss = test_losses(job, population.weights)[0]
            lines.append((f"{name}, {row['sparsity']:.0%} sparsity\nmse {loss:.4f}", out))
    figure = Figure(figsize=(9, 0.85 * len(lines)), layout="constrained")
    charts = figure.subplots(len(lines), len(lines[0][1]))
    for line, (name, images) in zip(charts, lines, strict=True):
        for chart, image in zip(line, images, strict=True):
            chart.imshow(image.reshape(28, 28), cmap="gray", vmin=0, vmax=1)
            chart.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mnist", help="MNIST as .npz with train and test")
    parser.add_argument("--parts", default="mnist8,mnist30,clusters,digits,front")
    parser.add_argument("--sparsity", help="only these sparsities of each work, as 0,0.9")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--front-epochs", type=int, default=30)
    parser.add_argument("--picture", type=Path, help="of the front, .svg or .png")
    parser.add_argument("--reconstructions", type=Path, help="of test digits, .png; needs the part mnist8")
    parser.add_argument("--json", type=Path)
    requested = parser.parse_args()
    parts, results = requested.parts.split(","), []
    print("| work | sparsity | baseline | ours | ratio | seconds, baseline / ours | ours at equal wall clock |")
    print("|---|---|---|---|---|---|---|")
    for work in works(requested.mnist):
        if requested.sparsity:
            work = work._replace(sparsities=tuple(map(float, requested.sparsity.split(","))))
        if work.name in parts:
            results.append(table(work, requested.seeds))
            if work.name == "mnist8" and requested.reconstructions:
                reconstructions(requested.mnist, results[-1], requested.reconstructions)
    if "front" in parts:
        results.append(front(requested.mnist, requested.front_epochs, requested.seeds))
        if requested.picture:
            picture(results[-1], requested.picture)
    if requested.json:
        requested.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
