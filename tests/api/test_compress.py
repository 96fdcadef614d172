"""A module in memory, compressed: its weights come in, it stays as it is, and what is wrong has a sentence."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

import aecompress
from aecompress.api.compress import OF_NETWORK, Parameters
from aecompress.errors import InputError

QUICK: dict[str, Any] = {"mode": "canonical", "epochs": 1, "batch": 20}


class Own(nn.Module):
    """A module as a user writes it, with a residual block."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(8, 6), nn.Linear(6, 8)
        self.code, self.out = nn.Linear(8, 3), nn.Linear(3, 8)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.tanh(self.code(x + self.b(F.relu(self.a(self.drop(x))))))
        return self.out(z), z


@pytest.fixture(scope="module")
def rows() -> np.ndarray[Any, np.dtype[np.float64]]:
    """Rows of two directions, which a code of three holds."""
    draws = np.random.default_rng(0)
    return np.asarray(draws.random((80, 2)) @ draws.normal(size=(2, 8)))


@pytest.fixture(scope="module")
def trained(rows: np.ndarray[Any, Any]) -> Iterator[Own]:
    """A module that its user has trained; nothing may change it."""
    torch.manual_seed(0)
    module, given = Own(), torch.from_numpy(rows).float()
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        F.mse_loss(module(given)[0], given).backward()
        optimizer.step()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    yield module
    after = module.state_dict()
    assert module.training and before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def own(module: Own, rows: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What the module gives by itself for rows: reconstructions and codes."""
    module.eval()
    with torch.no_grad():
        found, z = module(torch.from_numpy(rows).float())
    module.train()
    return found.numpy(), z.numpy()


def test_pruned_to_nothing_a_module_gives_what_it_gave(trained: Own, rows: np.ndarray[Any, Any]) -> None:
    ae = aecompress.compress(trained, rows, mode="canonical", epochs=0, target_sparsity=0.0)
    found, z = own(trained, rows)
    assert np.abs(ae.reconstruct(rows) - found).max() < 1e-5 and np.abs(ae.transform(rows) - z).max() < 1e-5
    assert ae.n_features_in_ == 8 and isinstance(ae, aecompress.Autoencoder)


def test_a_module_with_a_residual_block_comes_out_pruned_and_verified(
    trained: Own, rows: np.ndarray[Any, Any], tmp_path: Any
) -> None:
    ae = aecompress.compress(trained, rows, **QUICK, target_sparsity=0.5, scaling="none")
    assert ae.report_["sparsity"] == pytest.approx(0.5, abs=0.01)
    found, _ = own(trained, rows)
    before = ae.report_["before"]
    assert before.keys() <= ae.report_["metrics"].keys()
    weighed = {"train": 64, "validation": 8, "test": 8}
    whole = sum(before[f"{split}_mse"] * count for split, count in weighed.items()) / 80
    assert whole == pytest.approx(float(np.square(found - rows).mean()), rel=1e-4)
    mean = float(np.square(rows - rows.mean(0)).mean())
    assert ae.report_["metrics"]["test_mse"] < mean
    files = ae.export(tmp_path / "model")
    assert np.abs(aecompress.Autoencoder.load(tmp_path / "model").reconstruct(rows) - ae.reconstruct(rows)).max() < 1e-5
    assert files["autoencoder"].exists()


@pytest.mark.slow
def test_rows_of_one_form_are_given_as_the_module_takes_them() -> None:
    images = np.random.default_rng(1).random((40, 1, 1)) * np.random.default_rng(2).random((6, 6))
    module = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(18, 4), nn.Linear(4, 36))
    given, optimizer = torch.from_numpy(images)[:, None].float(), torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        F.mse_loss(module(given), given.flatten(1)).backward()
        optimizer.step()
    ae = aecompress.compress(module, images, mode="canonical", epochs=0, target_sparsity=0.0)
    with torch.no_grad():
        wanted = module(given).numpy()
    assert np.abs(ae.reconstruct(images).reshape(40, -1) - wanted).max() < 1e-5


@pytest.mark.slow
def test_pruned_weights_of_a_module_stay_pruned_while_it_is_trained(rows: np.ndarray[Any, Any]) -> None:
    module = Own()
    prune.random_unstructured(module.a, "weight", 0.5)
    module(torch.from_numpy(rows).float())
    ae = aecompress.compress(module, rows, **QUICK, target_sparsity=0.0, regrowth=0.0)
    weight = ae._trained.model.tensors["encoder.0.weight"][:, :6]
    assert (
        np.array_equal(weight.T == 0, module.a.weight_mask.numpy() == 0)
        and not np.isclose(weight.T, module.a.weight.detach().numpy()).all()
    )


@pytest.mark.parametrize(
    ("make", "parameters", "words"),
    [
        (lambda: Own, {}, r"module: is of type type, not a torch.nn.Module; instantiate the class"),
        (lambda: Own().state_dict(), {}, r"module: is of type OrderedDict, .* settings={'model.init': FILE}"),
        (Own, {"hidden": 4}, "hidden: describes another network than the module; leave it out"),
        (Own, {"epochs": -1}, "epochs"),
        (Own, {"epochs": 0}, "Own: as it is, it reconstructs these rows worse than their mean does"),
        (lambda: nn.Sequential(Own(), nn.Linear(8, 8)), {}, "Sequential: raises TypeError"),
        (lambda: nn.Sequential(nn.Linear(8, 3), nn.LayerNorm(3), nn.Linear(3, 8)), {}, "Sequential: node 'layer_norm'"),
    ],
)
def test_what_cannot_be_compressed_is_an_input_error(
    make: Any, parameters: dict[str, Any], words: str, rows: np.ndarray[Any, Any]
) -> None:
    with pytest.raises(InputError, match=words):
        aecompress.compress(make(), rows, **parameters)


def test_the_parameters_are_those_of_the_estimator_but_for_its_network() -> None:
    known = inspect.signature(aecompress.Autoencoder).parameters
    assert Parameters.__annotations__.keys() == known.keys() - set(OF_NETWORK)
    assert list(Parameters.__annotations__) == [name for name in known if name not in OF_NETWORK]
