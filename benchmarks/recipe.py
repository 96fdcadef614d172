"""The experiment behind the default recipe: one field of the spec varied at a time, mean of the seeds.

    python benchmarks/recipe.py [--works digits,clusters,mnist,kernels] [--seeds 3] [--mnist FILE.npz] > table.md

The validation rows decide; the test rows are only reported. Rows in brackets are no fields of the spec: what was tried
beside it and left out.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from typing import Any

import torch
from conv import DECODER, ENCODER
from quality import NEVER

from aecompress.engines.workers import no_denormals
from aecompress.evolve.base import Plan
from aecompress.evolve.generation import generation
from aecompress.nets.autoencoder import reconstruction_loss
from aecompress.plan.first import first_population
from aecompress.plan.rows import rows_of
from aecompress.runs.job import Job, prepare
from aecompress.spec.resolve import resolve

VARIATIONS: dict[str, list[Any]] = {
    "model.latent_activation": ["relu"],
    "model.initial": ["torch", "scaled"],
    "train.learning_rate": [0.002, 0.004, 0.016],
    "train.batch": [0.5, 2.0],
    "train.warmup": [0.0, 0.3],
    "train.bce_share": [0.3, 0.7],
    "train.betas": [(0.9, 0.999)],
    "prune.operator": ["magnitude", "magnitude-layer", "wanda", "taylor", "obd"],
    "prune.regrowth": [0.0, 0.2],
    "prune.end": [0.2, 0.4, 0.6, 0.75, 0.9],
    "prune.start": [0.2],
    "prune.per_generation": [1],
    "(rate raised again after the last exchange)": [0.1, 0.3],
    "(weights averaged over the last)": [0.1, 0.25],
}


def raised(plan: Plan, share: float) -> Plan:
    """The plan with the rate's cosine ended at the last exchange, and begun again there at ``share`` of its peak."""
    training = plan.training
    assert plan.pruning is not None
    end = plan.pruning.regrowth_end if plan.pruning.regrowth else 0.75

    def rate(progress: float) -> float:
        if progress < end:
            return training.rate(progress / end)
        return share * (1 + math.cos(math.pi * (progress - end) / (1 - end))) / 2

    return dataclasses.replace(plan, training=dataclasses.replace(training, rate=rate))


def trained(job: Job, plan: Plan, averaged: float) -> torch.Tensor:
    """Parameters ``[1, n]`` after a run without files; the mean of those of its last generations, cut as the last one.

    Args:
        averaged: share of the generations that the mean is of; 0: the last one alone.
    """
    rows = rows_of(job.sampling, job.dataset, job.device)
    population = first_population(job.first, job.net, job.dataset, job.device)
    plan.engine.prepare(lambda: None)
    torch.set_num_threads(plan.blocks.threads or torch.get_num_threads())
    generations, kept = plan.training.generations, []
    with no_denormals():
        while population.generation < generations:
            population, _ = generation(plan, population, rows, lambda: None)
            if population.generation > (1 - averaged) * generations or population.generation == generations:
                kept.append(population.weights)
    return torch.stack(kept).mean(0) * population.masks


def losses(work: dict[str, Any], path: str, value: Any, seed: int) -> tuple[float, float]:
    """Validation and test loss of one run, in its own metric."""
    fields = {"mode": "canonical", **work, "seed": seed} | ({} if path.startswith("(") else {path: value})
    flags = {path: ("benchmark", value) for path, value in fields.items()}
    factor = flags.pop("train.batch", ("", 1.0))[1]
    job = prepare(resolve(flags), NEVER)
    if factor != 1:
        flags["train.batch"] = ("benchmark", int(job.plan.training.batch * factor))
        job = prepare(resolve(flags), NEVER)
    plan = raised(job.plan, value) if path.startswith("(rate") else job.plan
    weights = trained(job, plan, value if path.startswith("(weights") else 0.0)
    views, found = job.net.layout.views(weights), []
    for split, part in (("validation", job.dataset.validation), ("test", job.dataset.test)):
        loss = float(reconstruction_loss(job.net, views, torch.from_numpy(part), plan.metric)[0])
        found.append(loss - job.dataset.notes.get(f"{split}_flip_rate", 0.0))
    return found[0], found[1]


def works(mnist: str | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """Title and fields of each work."""
    found: dict[str, tuple[str, dict[str, Any]]] = {
        "digits": ("digits, 80 % sparsity, mse", {"data.source": "digits"}),
        "clusters": (
            "binary-clusters:10x100x1000, 1000-30-10-30-1000, 100 passes, 90 % sparsity, l1 above the flip rate",
            {
                "data.source": "binary-clusters:10x100x1000",
                "model.hidden": [30],
                "model.latent": 10,
                "train.epochs": 100,
                "prune.target_sparsity": 0.9,
            },
        ),
    }
    if mnist:
        found["mnist"] = (
            "MNIST, 784-256-64-256-784, 8 passes, 90 % sparsity, mse",
            {
                "data.source": mnist,
                "data.key": "train",
                "data.split": [0.9, 0.1, 0.0],
                "data.test": mnist + ":test",
                "model.hidden": [256],
                "model.latent": 64,
                "train.epochs": 8,
                "prune.target_sparsity": 0.9,
            },
        )
        found["kernels"] = (
            "MNIST, convolutions of 16-32-64 channels, stride 2, code of 64, 12,000 rows, 6 passes, 90 % sparsity, mse",
            {
                "data.source": mnist,
                "data.key": "train",
                "data.split": [0.2, 0.8, 0.0],
                "data.test": mnist + ":test",
                "model.encoder": ENCODER,
                "model.decoder": DECODER,
                "train.batch": 0.25,
                "train.epochs": 6,
                "prune.target_sparsity": 0.9,
            },
        )
    return found


def main() -> None:
    """Print one Markdown table per work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--works", default="digits,clusters,mnist,kernels")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--mnist", help="mnist.npz with arrays train and test")
    asked = parser.parse_args()
    for name, (title, work) in works(asked.mnist).items():
        if name not in asked.works.split(","):
            continue
        seeds = range(1 if name in ("mnist", "kernels") else asked.seeds)
        print(f"\n### {title}\n\n| field | value | validation | test |\n|---|---|---|---|", flush=True)
        cases = [("seed", None)] + [(path, value) for path, values in VARIATIONS.items() for value in values]
        for path, value in cases:
            if path == "train.bce_share" and name != "clusters":
                continue
            results = [losses(work, path, seed if value is None else value, seed) for seed in seeds]
            validation, test = (sum(column) / len(results) for column in zip(*results, strict=True))
            label = "(the recipe)" if value is None else path
            shown = "" if value is None else f"{value:g} x" if path == "train.batch" else value
            print(f"| {label} | {shown} | {validation:.5f} | {test:.5f} |", flush=True)


if __name__ == "__main__":
    main()
