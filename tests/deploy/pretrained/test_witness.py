"""Batch norms on rows say which reading of a state dict is right, however little its model was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aecompress.deploy import reference
from aecompress.deploy.pretrained.base import Pretrained
from aecompress.deploy.pretrained.bound import bound
from aecompress.deploy.pretrained.norms import norms_of
from aecompress.deploy.pretrained.readings import from_tensors
from aecompress.deploy.pretrained.steps import Step, activation
from aecompress.deploy.pretrained.tried import Requested, Tried, tried

D = 16


def rows_of() -> torch.Tensor:
    """Return standardised rows near a curved surface of three dimensions."""
    random = torch.Generator().manual_seed(0)
    rows = torch.tanh(torch.randn(256, 3, generator=random) @ torch.randn(3, D, generator=random))
    return (rows - rows.mean(0)) / rows.std(0, correction=0)


class Block(nn.Module):
    """A layer with its norm before or after its activation: names do not say which."""

    def __init__(self, before: int, after: int, activation: nn.Module, early: bool) -> None:
        super().__init__()
        self.linear, self.bn, self.dropout = nn.Linear(before, after), nn.BatchNorm1d(after), nn.Dropout(0.2)
        self.order = [self.linear, *([self.bn, activation] if early else [activation, self.bn]), self.dropout]

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        for part in self.order:
            rows = part(rows)
        return rows


def hardly_trained(activation: Callable[[], nn.Module], early: bool) -> nn.Module:
    """Return an autoencoder after eighteen steps: about as good as the mean of the rows."""
    torch.manual_seed(0)
    encoder = nn.Sequential(Block(D, 12, activation(), early), Block(12, 6, activation(), early))
    module = nn.Sequential()
    module.encoder = encoder
    module.decoder = nn.Sequential(Block(6, 12, activation(), early), nn.Linear(12, D))
    optimizer = torch.optim.Adam(module.parameters(), 1e-3, fused=True)
    for _ in range(18):
        optimizer.zero_grad()
        given = rows_of()[torch.randint(256, (32,))]
        nn.functional.mse_loss(module(given), given).backward()
        optimizer.step()
    return module.eval()


def read(module: nn.Module) -> Pretrained:
    return from_tensors(Path("a.pt"), {name: tensor.numpy() for name, tensor in module.state_dict().items()}, (D,))


def found_of(module: nn.Module, rows: torch.Tensor) -> Tried:
    return tried(read(module), rows.numpy(), (D,), Requested())


@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("make", [nn.ReLU, nn.ELU])
def test_a_hardly_trained_model_is_read_as_it_was(make: Callable[[], nn.Module], early: bool) -> None:
    module, rows = hardly_trained(make, early), rows_of()
    own = module(rows).detach().numpy()
    assert float(((own - rows.numpy()) ** 2).mean()) > 0.8  # losses show little: the mean of the rows has 1
    found = found_of(module, rows)
    assert found.sure
    chain = bound(found.model, (D,))
    assert reference.run(chain, found.model.tensors, rows.numpy()) == pytest.approx(own, abs=1e-4)


def test_on_other_rows_norms_say_nothing() -> None:
    module = hardly_trained(nn.ReLU, early=True)
    assert not found_of(module, rows_of() * 3 + 1).sure
    assert not found_of(module, torch.rand(256, D)).sure


def test_an_output_that_rows_leave_open_is_not_sure() -> None:
    torch.manual_seed(0)
    module, rows = hardly_trained(nn.ReLU, early=True), rows_of()
    rows = rows / rows.abs().max()  # outputs of tanh reach such rows, too
    with torch.no_grad():
        module.encoder[0].linear.weight *= float(rows_of().abs().max())
    assert not found_of(module, rows).sure


def test_norms_are_kept_where_layers_have_what_they_were_given() -> None:
    norm = {"running_mean": np.ones(3), "running_var": np.ones(3)}
    weight = {"weight": np.eye(3)}
    steps = [
        Step("in", "batch-norm", norm),
        Step("a", "linear", weight), Step("a.norm", "batch-norm", norm, {"batches": 7.0}), activation("a"),
        Step("b", "linear", weight), activation("b"), Step("b.norm", "batch-norm", norm),
        Step("c", "linear", weight), Step("c.norm", "batch-norm", norm, {"batches": 1.0}),
        Step("d", "linear", weight), Step("d", "activation", weight, {"name": "prelu"}), Step("n", "batch-norm", norm),
    ]  # fmt: skip
    module = nn.Sequential(*(nn.Linear(3, 3) for _ in range(4)))
    tensors = {name: tensor.detach().numpy() for name, tensor in module.named_parameters()}
    model = from_tensors(Path("a.pt"), tensors, (3,))
    kept = norms_of(steps, model)
    assert [(each.layer, each.early, each.batches) for each in kept] == [(0, True, 7.0), (1, False, float("inf"))]
    assert norms_of(steps[:3], model) == ()
    wide = {name: np.ones(6) for name in norm}  # of values that become units at two places
    assert (
        len(norms_of([Step(step.name, step.op, wide if step.op == "batch-norm" else weight) for step in steps], model))
        == 0
    )
