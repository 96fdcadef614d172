from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from aecompress.data.pca import principal_components
from aecompress.errors import SpecError
from aecompress.nets.layers import forward
from aecompress.plan.first import first_population
from aecompress.plan.linear_start import FLATTEST, MARGIN, PRUNED_MARGIN, RAREST, linear_start, varimax
from aecompress.runs.job import Job, prepare
from aecompress.spec.resolve import resolve


def job_of(tmp_path: Path, **fields: Any) -> Job:
    flags = {"device": "cpu", "model.initial": "pca", **fields}
    return prepare(resolve({path: ("test", value) for path, value in flags.items()}), tmp_path / "run")


@pytest.fixture
def few_rows(tmp_path: Path) -> str:
    """Rows that lie near a plane of 3 dimensions, beside a column that does not vary."""
    draws = np.random.default_rng(3)
    rows = draws.standard_t(3, (60, 3)) @ draws.normal(size=(3, 12)) + 0.1 * draws.normal(size=(60, 12))
    rows[:, 5] = 2.0
    np.save(tmp_path / "rows.npy", rows.astype(np.float32))
    return str(tmp_path / "rows.npy")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"model.hidden": [9, 5], "model.latent": 4, "precision": "float64"},
        {"model.hidden": [4], "model.latent": 4, "model.activation": "leaky-relu:0.2"},
        {"model.hidden": [], "model.latent": 3},
        {"data.scaling": "standard", "mode": "canonical", "model.activation": "elu", "model.hidden": [5, 6]},
    ],
    ids=str,
)
def test_a_network_begins_as_the_principal_components_of_its_training_rows(
    few_rows: str, tmp_path: Path, fields: dict[str, Any]
) -> None:
    job = job_of(tmp_path, **{"data.source": few_rows, **fields})
    population = first_population(job.first, job.net, job.dataset, job.device)
    rows = torch.from_numpy(np.concatenate([job.dataset.train, job.dataset.validation])).to(population.weights)
    trace = forward(job.net.layers, job.net.layout.views(population.weights), rows.expand(len(population), -1, -1))
    theirs = PCA(job.net.latent, svd_solver="full").fit(job.dataset.train.astype(float))
    expected = theirs.inverse_transform(theirs.transform(rows.numpy().astype(float)))
    for found in trace.out[-1]:
        np.testing.assert_allclose(found.numpy(), expected, atol=2e-5)
    code = trace.out[len(job.net.encoder) - 1][0]
    np.testing.assert_allclose(code.norm(dim=1), np.linalg.norm(theirs.transform(rows), axis=1), rtol=1e-3, atol=1e-4)
    if len(population) > 1 and job.net.encoder[0].outputs > job.net.latent:
        assert not torch.equal(population.weights[0], population.weights[1])  # the other units are drawn


def test_under_a_sigmoid_it_begins_as_its_tangent_at_the_mean_row(few_rows: str, tmp_path: Path) -> None:
    job = job_of(tmp_path, **{"data.source": few_rows, "model.output": "sigmoid"})
    population = first_population(job.first, job.net, job.dataset, job.device)
    mean = job.dataset.train.mean(0, dtype=np.float64)
    theirs = PCA(job.net.latent, svd_solver="full").fit(job.dataset.train.astype(float))
    small = 1e-2 * (job.dataset.train - mean) + mean  # where a tangent is the curve
    expected = theirs.inverse_transform(theirs.transform(small))
    steep = mean * (1 - mean) > FLATTEST
    assert 0 < steep.sum() < len(mean)  # the column that does not vary is 0 everywhere
    views = job.net.layout.views(population.weights)
    found = forward(job.net.layers, views, torch.from_numpy(small).float().expand(len(population), -1, -1)).out[-1]
    assert np.abs(expected - mean)[:, steep].max() > 1e-3
    for each in found.double().numpy():
        np.testing.assert_allclose(each[:, steep], expected[:, steep], atol=5e-5)
        np.testing.assert_allclose(
            each[:, ~steep], np.clip(mean[~steep], RAREST, 1)[None].repeat(len(small), 0), atol=5e-3
        )


def test_components_are_turned_so_that_few_inputs_matter_to_each() -> None:
    blocks = np.kron(np.eye(3), np.ones((4, 1))) / 2  # 12 inputs in three groups
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    found = np.abs(blocks @ turn @ varimax(blocks @ turn))
    np.testing.assert_allclose(np.sort(found.sum(1)), np.full(12, 0.5), atol=1e-4)
    assert np.allclose(varimax(blocks) @ varimax(blocks).T, np.eye(3))


@pytest.mark.parametrize("margin", [MARGIN, PRUNED_MARGIN])
def test_offsets_keep_components_above_zero_a_margin_beyond_the_training_rows(margin: float) -> None:
    rows = (np.random.default_rng(1).gumbel(size=(300, 6)) ** 3).astype(np.float32)
    start = linear_start(rows, principal_components(rows, 2), margin)
    code = (rows - start.mean) @ start.directions
    np.testing.assert_allclose((code + start.offsets).min(0), margin * np.ptp(code, axis=0), rtol=1e-3)
    assert (-code.min(0) <= code.max(0)).all()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"model.hidden": [6], "model.latent": 8}, "fewer units"),
        ({"model.family": "variational"}, "variational"),
        ({"model.latent_activation": "relu"}, "code is not identity"),
        ({"model.output": "tanh"}, "neither that nor sigmoid"),
        ({"model.activation": "tanh"}, "above 0"),
        ({"model.network": "conv"}, "not all dense"),
    ],
    ids=str,
)
def test_a_network_that_cannot_hold_components_is_refused(tmp_path: Path, fields: dict[str, Any], why: str) -> None:
    with pytest.raises(SpecError, match=rf"model.initial = 'pca'.*{why}"):
        job_of(tmp_path, **fields)
