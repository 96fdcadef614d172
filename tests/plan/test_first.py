from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from aecompress.nets.autoencoder import reconstruction_loss
from aecompress.plan.first import first_population
from aecompress.runs.job import prepare
from aecompress.spec.resolve import resolve


def test_a_scaled_model_begins_at_the_mean_row_and_tensors_replace_drawn_weights(tmp_path: Path) -> None:
    job = prepare(resolve({"device": ("test", "cpu"), "model.initial": ("test", "scaled")}), tmp_path / "run")
    drawn = first_population(job.first, job.net, job.dataset, job.device)
    last = job.net.decoder[-1].name
    bias = job.net.layout.views(drawn.weights)[last + ".bias"]
    mean = torch.from_numpy(job.dataset.train.mean(0)).clamp(1e-3, 1 - 1e-3)
    torch.testing.assert_close(torch.sigmoid(bias[0, 0]), mean)
    tensor = np.arange(64 * 32, dtype=np.float32).reshape(32, 64)
    given = first_population(
        dataclasses.replace(job.first, tensors={last + ".weight": tensor}), job.net, job.dataset, job.device
    )
    views = job.net.layout.views(given.weights)
    assert all(torch.equal(weight, torch.from_numpy(tensor)) for weight in views[last + ".weight"])
    rows = torch.from_numpy(job.dataset.validation)
    views[last + ".weight"].zero_()
    loss = reconstruction_loss(job.net, views, rows, "mse")
    assert float(loss[0]) == pytest.approx(float(((rows - mean) ** 2).mean()), rel=1e-4)
