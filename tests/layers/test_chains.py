"""Every kind at every place of a chain, in every family: trained, saved, loaded, verified, begun from."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aecompress.api.load import load
from aecompress.deploy import verify
from aecompress.deploy.checkpoint import load_model, save_model
from aecompress.deploy.reference import reconstruct
from aecompress.errors import SpecError
from aecompress.evolve.generation import generation
from aecompress.layers import kinds
from aecompress.nets import layers as nets
from aecompress.nets.autoencoder import gradient
from aecompress.nets.layers import initial
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.first import first_population
from aecompress.plan.rows import rows_of
from aecompress.runs.job import Job, prepare
from aecompress.runs.model import model_of
from aecompress.spec.resolve import resolve
from tests.deploy.models import write_onnx
from tests.layers.nets import SHAPED

SHAPE, LATENT = (3, 4), 3
INPUTS = 12
FAMILIES = ("plain", "denoising", "variational")
APPLY = {"relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "identity": lambda values: values}
Written = tuple[list[dict[str, Any]], list[dict[str, Any]]]


def layer(kind: str, out: int, activation: str = "tanh") -> dict[str, Any]:
    return {"kind": kind, "out": out, "activation": activation}


def written(kind: str, place: str) -> Written:
    """A chain with one layer of the kind at a place, dense ones elsewhere; the code of a shaped kind has its places."""
    if kind == "pointwise":
        return [layer(kind, 5), layer(kind, 2, "identity")], [layer(kind, 5, "relu"), layer(kind, 4, "sigmoid")]
    encoder, decoder = [layer("dense", LATENT, "identity")], [layer("dense", INPUTS, "sigmoid")]
    if place == "first":
        encoder = [layer(kind, INPUTS), *encoder]
    if place == "latent":
        encoder = [layer("dense", LATENT), layer(kind, LATENT, "identity")]
    if place == "last":
        decoder = [layer("dense", INPUTS, "relu"), layer(kind, INPUTS, "sigmoid")]
    return encoder, decoder


PLACES = ("first", "latent", "last")
CASES = [
    *product(("dense", "gain", "maxout"), PLACES, FAMILIES),
    *product(["prelu"], PLACES[1:], FAMILIES),
    *product(["pointwise"], ["every"], FAMILIES),
]
TABLE = pytest.mark.parametrize(("kind", "place", "family"), CASES)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.npy"
    np.save(path, np.random.default_rng(0).random((60, *SHAPE), dtype=np.float32))
    return path


def job_of(source: Path, **changes: Any) -> Job:
    fields = {"data.source": str(source), "train.epochs": 2, "train.batch": 20, "evolve.cells": 2}
    spec = fields | {path.replace("__", "."): value for path, value in changes.items()}
    return prepare(resolve({path: ("test", value) for path, value in spec.items()}))


def refused(kind: str, place: str, family: str) -> bool:
    """Whether the second head of the variational family has no place beside the latent layer."""
    return family == "variational" and kind != "dense" and place in ("latent", "every")


def autograd_loss(net: Autoencoder, weights: dict[str, torch.Tensor], rows: torch.Tensor, noise: Any) -> torch.Tensor:
    """The squared error of training by autograd: of the variational family where the net has its second head."""

    def run(part: Any, values: torch.Tensor) -> torch.Tensor:
        values = values.reshape(*values.shape[:2], *part[0].given)
        for one in part:
            named = (weights[f"{one.name}.{tensor}"] for tensor in ("weight", "bias"))
            values = APPLY[one.activation](nets.KINDS[one.kind].forward(one, *named, values).clone())
        return values.flatten(2)

    if net.log_variance is None:
        out = run(net.decoder, run(net.encoder, rows if noise is None else rows + 0.4 * noise))
        return (out - rows).square().mean((1, 2)).sum()
    below = run(net.encoder[:-1], rows) if len(net.encoder) > 1 else rows
    mean, log_variance = run(net.encoder[-1:], below), run((net.log_variance,), below)
    out = run(net.decoder, mean + noise * torch.exp(0.5 * log_variance))
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(2)
    return ((out - rows).square().sum(2) + divergence).mean(1).sum()


def test_the_table_has_every_kind() -> None:
    assert {kind for kind, _, _ in CASES} | SHAPED == set(kinds.KINDS)  # on rows with places: tests/layers/test_shaped


@TABLE
def test_its_gradient_equals_autograd(source: Path, kind: str, place: str, family: str) -> None:
    encoder, decoder = written(kind, place)
    changes = {"model__encoder": encoder, "model__decoder": decoder, "model__family": family}
    if refused(kind, place, family):
        with pytest.raises(SpecError, match=f"its latent layer is dense, not {kind}; write it as one"):
            job_of(source, **changes)
        return
    net = job_of(source, **changes).net
    heads = () if net.log_variance is None else (net.log_variance,)
    flat = initial((*net.layers, *heads), net.layout, 3, torch.arange(2)).double()
    rows, grad = torch.rand(2, 6, INPUTS).double(), torch.full_like(flat, torch.nan)
    width = {"plain": 0, "denoising": INPUTS, "variational": net.latent}[family]
    noise = torch.randn(2, 6, width).double() if width else None
    gradient(net, net.layout.views(flat), net.layout.views(grad), rows, noise, 0.4, loss="mse")
    leaf = flat.clone().requires_grad_()
    autograd_loss(net, net.layout.views(leaf), rows, noise).backward()
    torch.testing.assert_close(grad, leaf.grad)


@TABLE
def test_it_trains_and_its_model_is_saved_loaded_verified_and_begun_from(
    source: Path, tmp_path: Path, kind: str, place: str, family: str
) -> None:
    if refused(kind, place, family):
        return
    encoder, decoder = written(kind, place)
    job = job_of(source, model__encoder=encoder, model__decoder=decoder, model__family=family)
    first = first_population(job.first, job.net, job.dataset, job.device)
    population, report = generation(job.plan, first, rows_of(job.sampling, job.dataset, job.device), lambda: None)
    assert bool(report.train_loss.isfinite().all()) and not torch.equal(population.weights, first.weights)

    model = model_of(job, population.weights[1], {})
    save_model(tmp_path, model)
    again = load_model(tmp_path)
    assert (again.layers, again.shape) == (model.layers, job.net.shape)
    assert all(np.array_equal(again.tensors[name], tensor) for name, tensor in model.tensors.items())
    if family == "plain":
        write_onnx(tmp_path, again)
        rows = job.dataset.test.reshape(-1, *again.shape)
        verification = verify.verify_set(tmp_path, again, rows, 1e-5, {}, 1e-5)
        assert verification.passed, verification.first_failure
        module, flat = load(tmp_path), rows.reshape(len(rows), -1)
        right = reconstruct(again, rows)[1].reshape(flat.shape)
        np.testing.assert_allclose(module(torch.from_numpy(flat)).detach(), right, rtol=1e-4, atol=1e-5)

    begun = {"model__init": str(tmp_path / "model.safetensors"), "train__epochs": 0, "model__family": family}
    if family == "variational":
        with pytest.raises(SpecError, match=r"model.init: brings no variance head"):
            job_of(source, **begun)
        return
    new = job_of(source, **begun)
    assert new.net.layers == job.net.layers
    started = first_population(new.first, new.net, new.dataset, new.device)
    for cell in started.weights:
        assert torch.equal(cell, population.weights[1][: job.net.model_size])
