"""The experiment behind the default recipe: one field of the spec varied at a time, validation loss, mean of the seeds.

    python benchmarks/recipe.py [--seeds 3] [--mnist FILE.npz] > table.md

Every run is a normal run of the package; the validation rows decide, the test rows are only reported.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch

from aecompress.events import Finished
from aecompress.spec import resolve
from aecompress.trip import prepare, run

VARIATIONS: dict[str, list[Any]] = {
    "model.latent_activation": ["relu"],
    "train.learning_rate": [0.002, 0.004, 0.016],
    "train.batch": [0.5, 2.0],
    "train.warmup": [0.0, 0.3],
    "train.bce_share": [0.3, 0.7],
    "train.betas": [(0.9, 0.999)],
    "model.initial": ["torch", "scaled"],
    "prune.regrowth": [0.0, 0.2],
    "prune.end": [0.2, 0.4, 0.6, 0.75, 0.9],
    "prune.start": [0.2],
    "prune.per_generation": [1],
}


def final(work: dict[str, Any], changes: dict[str, Any], seed: int) -> tuple[float, float]:
    """Validation and test loss of one run, in its own measure."""
    with tempfile.TemporaryDirectory() as folder:
        flags = {
            path: ("benchmark", value) for path, value in {"mode": "canonical", **work, **changes, "seed": seed}.items()
        }
        factor = flags.pop("train.batch", ("", 1.0))[1]
        job = prepare(resolve(flags), Path(folder) / "run")
        if factor != 1:
            flags["train.batch"] = ("benchmark", int(job.spec.train.batch * factor))
            job = prepare(resolve(flags), Path(folder) / "run")
        measure = "l1" if job.spec.train.loss == "bce-then-l1" else "mse"
        end = next(event for event in run(job) if isinstance(event, Finished))
        shift = [job.dataset.notes.get(f"{split}_flip_rate", 0.0) for split in ("validation", "test")]
        return (
            end.metrics[f"validation_{measure}"] - shift[0],
            end.metrics[f"test_{measure}"] - shift[1],
        )


def main() -> None:
    """Print one Markdown table per data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--mnist", help="mnist.npz with arrays train and test")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    works: dict[str, dict[str, Any]] = {
        "digits, 80 % zeros, mse": {"data.source": "digits"},
        "binary-clusters:10x100x1000, 1000-30-10-30-1000, 100 passes, 80 % zeros, l1 above the flip rate": {
            "data.source": "binary-clusters:10x100x1000",
            "model.hidden": [30],
            "model.latent": 10,
            "train.epochs": 100,
        },
    }
    if arguments.mnist:
        works["MNIST, 784-256-64-256-784, 8 passes, 90 % zeros, mse"] = {
            "data.source": arguments.mnist,
            "data.key": "train",
            "data.split": [0.9, 0.1, 0.0],
            "data.test": arguments.mnist + ":test",
            "model.hidden": [256],
            "model.latent": 64,
            "train.epochs": 8,
            "prune.target_sparsity": 0.9,
        }
    for title, work in works.items():
        seeds = range(1 if "MNIST" in title else arguments.seeds)
        print(f"\n### {title}\n\n| field | value | validation | test |\n|---|---|---|---|", flush=True)
        cases = [("(the recipe)", None)] + [(path, value) for path, values in VARIATIONS.items() for value in values]
        for path, value in cases:
            if path == "train.bce_share" and "binary" not in title:
                continue
            results = [final(work, {} if value is None else {path: value}, seed) for seed in seeds]
            validation, test = (sum(column) / len(results) for column in zip(*results, strict=True))
            shown = "" if value is None else f"{value:g} x" if path == "train.batch" else value
            print(f"| {path} | {shown} | {validation:.5f} | {test:.5f} |", flush=True)


if __name__ == "__main__":
    main()
