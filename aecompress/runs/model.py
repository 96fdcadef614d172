"""Individuals of a run as models that the deploy side knows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch

from aecompress.data.dataset import Dataset
from aecompress.deploy.checkpoint import Model
from aecompress.engines.eager import evaluate
from aecompress.evolve.archive import Archive
from aecompress.nets.autoencoder import tensors_of
from aecompress.plan.rows import on_device
from aecompress.polling import Poll
from aecompress.registry import RULES
from aecompress.runs import front
from aecompress.runs.job import Job


def model_of(job: Job, row: torch.Tensor, about: dict[str, Any]) -> Model:
    """Return the individual with the parameters ``row`` ``[n]`` as the deploy side knows it."""
    return Model(
        encoder=job.net.encoder,
        decoder=job.net.decoder,
        tensors={
            name: tensor.to("cpu", torch.float32).numpy().copy() for name, tensor in tensors_of(job.net, row).items()
        },
        scaling=asdict(job.dataset.scaling),
        about={"name": job.dataset.name, "spec_hash": job.export.spec_hash, "metric": job.plan.metric}
        | rows_about(job.dataset)
        | ({"code": dict(job.code)} if job.code else {})
        | about,
    )


def rows_about(dataset: Dataset) -> dict[str, Any]:
    """Return what ``config.json`` says of how the rows were made: columns, windows, and what was decided."""
    windows = {"window": dataset.window, "stride": dataset.stride, "group": dataset.group} if dataset.window else {}
    columns = {} if dataset.encoding is None else {"columns": dataset.encoding.to_json()}
    return windows | columns | ({"decisions": list(dataset.decisions)} if dataset.decisions else {})


def save_front(job: Job, archive: Archive, poll: Poll) -> None:
    """Write the front's models into the run folder, where the cells have budgets of their own."""
    if RULES[job.plan.rule].own_budgets:
        front.save(job.folder, front_models(job, archive, poll))


def front_models(job: Job, archive: Archive, poll: Poll) -> list[Model]:
    """Return the front's models with their losses on validation and test rows.

    On validation rows they are those that filled the front; on test rows they are the eager engine's, whichever one
    trained.
    """
    losses = {"validation" if "validation" in job.dataset.splits else "train": archive.losses}
    if "test" in job.dataset.splits:
        test = on_device(job.dataset.test, job.device, archive.members.weights.dtype)
        losses["test"] = evaluate(job.net, archive.members.weights, [test], job.plan.metric, poll).losses[0].tolist()
    return [
        model_of(job, row, {"losses": {split: values[at] for split, values in losses.items()}})
        for at, row in enumerate(archive.members.weights)
    ]
