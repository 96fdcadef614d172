"""Individuals of a run as models that the deploy side knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from aecompress.deploy.checkpoint import Model
from aecompress.engines.eager import evaluate
from aecompress.evolve.archive import Archive
from aecompress.nets.autoencoder import tensors_of
from aecompress.plan.rows import on_device
from aecompress.runs.job import Job


def model_of(job: Job, row: torch.Tensor, about: dict[str, Any]) -> Model:
    """The individual with the parameters ``row`` ``[n]`` as the deploy side knows it."""
    return Model(
        job.net.encoder,
        job.net.decoder,
        {name: tensor.to("cpu", torch.float32).numpy().copy() for name, tensor in tensors_of(job.net, row).items()},
        asdict(job.dataset.scaling),
        {"name": job.dataset.name, "spec_hash": job.spec.hash, "metric": job.plan.metric} | about,
    )


def front_models(job: Job, found: Archive, poll: Callable[[], None]) -> list[Model]:
    """The archive's pairs with their losses on validation and test rows."""
    losses = {"validation" if "validation" in job.dataset.splits else "train": found.losses}
    if "test" in job.dataset.splits:
        test = on_device(job.dataset.test, job.device, found.members.weights.dtype)
        losses["test"] = evaluate(job.net, found.members.weights, [test], job.plan.metric, poll).losses[0].tolist()
    return [
        model_of(job, row, {"losses": {split: values[at] for split, values in losses.items()}})
        for at, row in enumerate(found.members.weights)
    ]
