"""The NumPy reference against torch, in float64: the same model written by other people."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from aecompress.deploy import reference
from aecompress.layers.activations import ACTIVATIONS, activation_of
from aecompress.layers.names import NAMES, SLOPED_EXAMPLE
from aecompress.nets import losses
from aecompress.spec.fields import MetricName
from tests.deploy.models import tiny_model, tiny_rows
from tests.modules import MODULES

LOSSES = {
    "l1": functional.l1_loss,
    "mse": functional.mse_loss,
    "bce": functional.binary_cross_entropy,
    "huber": functional.huber_loss,
}
PLACES = np.concatenate([np.linspace(-12, 12, 481), [-1e3, -40, -1e-9, -0.0, 1e-9, 40, 1e3]])


def test_every_activation_and_measure_of_the_spec_has_a_reference() -> None:
    assert {*NAMES, SLOPED_EXAMPLE} == {*ACTIVATIONS, SLOPED_EXAMPLE} == set(MODULES)
    assert set(reference.LOSSES) == set(get_args(MetricName)) == set(LOSSES)


@pytest.mark.parametrize("name", MODULES)
def test_an_activation_equals_torchs(name: str) -> None:
    expected = MODULES[name]()(torch.from_numpy(PLACES)).numpy()
    exact = 3e-9 if name == "softplus" else 1e-15  # torch's leaves values above 20 as they are
    assert activation_of(name).value(PLACES) == pytest.approx(expected, rel=1e-12, abs=exact)


@pytest.mark.parametrize("name", reference.LOSSES)
def test_a_loss_equals_torchs(name: str) -> None:
    random = np.random.default_rng(0)
    target = random.random((30, 8))
    target[:10] = np.round(target[:10])
    for spread in (1, 5) if name != "bce" else (1,):
        out = random.random((30, 8)) * spread
        out[::7, ::3] = np.round(out[::7, ::3])  # exact zeros, ones and differences of 1
        if name == "bce":
            out = out.clip(1e-6, 1 - 1e-6)
        expected = LOSSES[name](torch.from_numpy(out), torch.from_numpy(target), reduction="none").numpy()
        assert reference.LOSSES[name](out, target) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_cross_entropy_is_held_where_rounding_would_decide_it_as_in_training() -> None:
    out, rows = np.array([[0.0, 1.0, 0.0, 1.0]]), np.array([[1.0, 0.0, 0.0, 1.0]])
    held = torch.tensor([[1e-6, 1 - 1e-6, 1e-6, 1 - 1e-6]], dtype=torch.float64)
    expected = functional.binary_cross_entropy(held, torch.from_numpy(rows), reduction="none").numpy()
    assert reference.LOSSES["bce"](out, rows) == pytest.approx(expected, rel=1e-9)
    trained = losses.LOSSES["bce"].value(torch.from_numpy(out), torch.from_numpy(rows)).numpy()
    assert trained == pytest.approx(expected, rel=1e-9)
    assert reference.SATURATED == losses.SATURATED


@given(
    out=st.floats(-1e6, 1e6),
    row=st.floats(-1e6, 1e6),
    name=st.sampled_from([name for name in reference.LOSSES if name != "bce"]),
)
@settings(deadline=None, max_examples=50)
def test_losses_are_never_negative_and_zero_only_for_the_row_itself(out: float, row: float, name: str) -> None:
    value = reference.LOSSES[name](np.array([out]), np.array([row]))[0]
    assert value >= 0
    assert reference.LOSSES[name](np.array([row]), np.array([row]))[0] == 0
    assert value > 0 or abs(out - row) < 1e-150


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_model_equals_torchs_sequential(name: str) -> None:
    model, rows = tiny_model(name), tiny_rows()

    def sequential(layers: tuple) -> nn.Sequential:
        modules: list[nn.Module] = []
        for layer in layers:
            linear = nn.Linear(layer.inputs, layer.outputs)
            for kind in ("weight", "bias"):
                getattr(linear, kind).data = torch.from_numpy(model.tensors[f"{layer.name}.{kind}"].T.copy())
            modules += [linear, MODULES[name]()]
        return nn.Sequential(*modules).double()

    with torch.no_grad():
        latent = sequential(model.encoder)(torch.from_numpy(rows).double())
        reconstruction = sequential(model.decoder)(latent)
    got = reference.reconstruct(model, rows)
    assert [values.dtype for values in got] == [np.float64, np.float64]
    assert got[0] == pytest.approx(latent.numpy(), rel=1e-12, abs=1e-14)
    assert got[1] == pytest.approx(reconstruction.numpy(), rel=1e-12, abs=1e-14)
    assert reference.run(model.layers, model.tensors, rows) == pytest.approx(got[1], rel=1e-12)


def test_rows_are_computed_one_by_one() -> None:
    model, rows = tiny_model(), tiny_rows()
    together = reference.run(model.layers, model.tensors, rows)
    alone = [reference.run(model.layers, model.tensors, rows[index : index + 1])[0] for index in range(len(rows))]
    assert np.stack(alone) == pytest.approx(together, rel=1e-12)
