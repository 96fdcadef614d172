"""What folds into the steps beside it leaves the function as it was: torch's own modules are the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aecompress.deploy.pretrained.steps import Step, activation, folded
from aecompress.errors import DataError
from tests.deploy.pretrained.modules import run_steps, steps_of

PATH = Path("a.pt")
RELU = nn.ReLU()


def drawn(*modules: nn.Module) -> nn.Sequential:
    """Return modules in sequence, with batch norms that have seen rows."""
    torch.manual_seed(0)
    for module in modules:
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var, module.bias.data, module.running_mean):
                tensor.copy_(torch.rand_like(tensor) * 2 - (0.5 if tensor is module.bias.data else -0.1))
    return nn.Sequential(*modules).eval()


@pytest.mark.parametrize(
    ("modules", "shape", "left"),
    [
        ([nn.Linear(6, 4), nn.BatchNorm1d(4), RELU, nn.Linear(4, 6)], (6,), 0),
        ([nn.Linear(6, 4), RELU, nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 6, bias=False)], (6,), 0),
        ([nn.BatchNorm1d(6), nn.Linear(6, 4), nn.Identity(), nn.Linear(4, 6)], (6,), 0),
        ([nn.Linear(6, 4), nn.Linear(4, 6), RELU, nn.BatchNorm1d(6)], (6,), 1),
        ([nn.Conv2d(2, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), RELU], (2, 6, 6), 0),
        ([nn.Conv2d(2, 4, 3, 2, 1), RELU, nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, groups=2)], (2, 6, 6), 0),
        ([nn.Conv2d(2, 4, 3, 2, 1), RELU, nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)], (2, 6, 6), 1),
        ([nn.Conv1d(2, 4, 3), RELU, nn.BatchNorm1d(4), nn.Flatten(), nn.Linear(16, 3)], (2, 6), 0),
        ([nn.Linear(6, 8), nn.Unflatten(1, (2, 4)), nn.BatchNorm1d(2), RELU], (6,), 0),
        ([nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), nn.BatchNorm2d(6), RELU], (4, 3, 3), 0),
        ([nn.ConvTranspose1d(2, 3, 3), RELU, nn.BatchNorm1d(3), nn.ConvTranspose1d(3, 1, 2)], (2, 4), 1),
        ([nn.Conv1d(2, 4, 3), RELU, nn.MaxPool1d(2), nn.BatchNorm1d(4), nn.Upsample(scale_factor=2)], (2, 6), 1),
        ([nn.Conv1d(2, 4, 3), nn.MaxPool1d(2), nn.BatchNorm1d(4)], (2, 6), 0),
    ],
    ids=lambda value: "-".join(type(each).__name__ for each in value) if isinstance(value, list) else None,
)
def test_batch_norms_fold_exactly(modules: list[nn.Module], shape: tuple[int, ...], left: int) -> None:
    module = drawn(*modules)
    rows = torch.randn(5, *shape, dtype=torch.float64)
    chain = folded(PATH, steps_of(module))
    assert sum(step.op == "affine" for step in chain) == left
    assert not {"batch-norm", "dropout", "identity"} & {step.op for step in chain}
    with torch.no_grad():
        assert run_steps(chain, rows) == pytest.approx(module.double()(rows).numpy(), abs=1e-9)


def test_affine_maps_of_one_value_pass_through_whatever_only_shapes() -> None:
    weight, bias = np.array([0.5]), np.array(-1.0)
    linear = Step("b", "linear", {"weight": np.ones((3, 8)), "bias": np.zeros(3)})
    scale = Step("a", "affine", {"weight": weight, "bias": bias})
    chain = folded(PATH, [scale, Step("f", "flatten"), linear, scale])
    assert [step.op for step in chain] == ["flatten", "linear"]
    rows = torch.randn(4, 2, 4, dtype=torch.float64)
    expected = ((rows * 0.5 - 1).flatten(1).sum(1, keepdim=True) * 0.5 - 1).expand(-1, 3)
    assert run_steps(chain, rows) == pytest.approx(expected.numpy(), abs=1e-9)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Step("a.0", "layer-norm"), "a.0 is 'layer-norm', which no layer here is"),
        (Step("a.0", "batch-norm", {"running_mean": np.ones(2)}), "a.0 (batch-norm) has no running_var"),
        (
            Step("a.0", "batch-norm", {"running_mean": np.ones(2), "running_var": -np.ones(2)}),
            "a.0 (batch norm) has variances that are negative",
        ),
        (
            Step("a.0", "batch-norm", {"running_mean": np.ones(2), "running_var": np.ones(3)}),
            "tensors of different shapes",
        ),
        (Step("a.0", "affine", {"weight": np.ones(3), "bias": np.ones(3)}), "a.0 has 3 values, b beside it 2 units"),
    ],
)
def test_a_step_that_does_not_fit_is_named(step: Step, message: str) -> None:
    linear = Step("b", "linear", {"weight": np.ones((2, 4))})
    with pytest.raises(DataError, match="^a.pt: ") as caught:
        folded(PATH, [linear, activation("c", "identity"), step])
    assert message in str(caught.value)
