"""Blocks to be trained, and what they are compared with."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterable
from typing import Any

import pytest
import torch

from aecompress.engines import eager
from aecompress.engines.base import Work
from aecompress.engines.training import Training
from aecompress.layers.dense import Dense
from aecompress.nets.rows import RowSet, SparseTensor
from aecompress.nets.shapes import build
from aecompress.population.state import Population, new_population

CPU = torch.device("cpu")
RELU = ("relu", "relu", "relu", "sigmoid")

needs_interpreter = pytest.mark.skipif(
    torch.cuda.is_available() or importlib.util.find_spec("triton") is None,
    reason="Triton's interpreter needs triton, and a machine without a GPU (benchmarks/gpu_engines.py is for one with)",
)


def mostly_slow(names: Iterable[str], *quick: str) -> list[Any]:
    """Every name as a parameter; all but the ``quick`` slow, because a kernel's blocks are interpreted one by one."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


@dataclasses.dataclass(frozen=True)
class Case:
    """A block to be trained for a pass."""

    sizes: tuple[int, ...] = (20, 9, 3, 9, 20)
    acts: tuple[str, ...] = RELU
    cells: int = 3
    batch: int = 6
    rows: int = 23
    loss: str = "mse"
    optimizer: str = "adam"
    masked: bool = False
    stats: bool = False
    noise: str = "none"
    dtype: torch.dtype = torch.float32
    half: bool = False


PLAIN: dict[str, Case] = {
    "adam": Case(),
    "fresh": Case(loss="l1", optimizer="fresh-adam", stats=True),
    "masks": Case(masked=True, stats=True),
    "one cell": Case(cells=1, loss="huber", acts=("sigmoid", "tanh", "leaky-relu", "identity")),
    "two layers": Case(sizes=(20, 4, 20), acts=("tanh", "sigmoid"), loss="bce"),
    "six layers": Case(sizes=(20, 12, 9, 3, 9, 12, 20), acts=("relu", "relu6", "softplus", "elu", "selu", "softsign")),
    "fewer rows than a batch": Case(rows=5, batch=8),
    "a whole number of batches": Case(rows=18, masked=True),
}
OTHER: dict[str, Case] = {
    "denoising": Case(noise="input", stats=True),
    "variational": Case(noise="latent", loss="bce", masked=True),
    "gelu": Case(acts=("gelu", "silu", "mish", "hard-swish")),
    "double": Case(dtype=torch.float64, noise="input"),
    "bf16": Case(half=True, masked=True),
}


def work_of(case: Case) -> Work:
    """A pass over random rows for a fresh block."""
    inner = case.sizes.index(min(case.sizes))
    layers = [Dense(f"layer.{k}", case.sizes[k + 1], act) for k, act in enumerate(case.acts)]
    net = build(layers[:inner], layers[inner:], case.sizes[:1], case.noise == "latent")
    draws = torch.Generator().manual_seed(1)
    training = Training(
        seed=1,
        generations=4,
        batch=case.batch,
        loss=lambda generation: case.loss,
        optimizer=case.optimizer,
        betas=(0.8, 0.99),
        rate=lambda progress: 1 - progress,
        persistent_masks=case.masked,
        noise=case.noise,
        noise_level=0.3,
        products=torch.bfloat16 if case.half else None,
    )
    block = new_population(
        net,
        case.cells,
        1,
        1e-3,
        case.optimizer == "adam",
        CPU,
        dtype=case.dtype,
        stats_batch=case.batch if case.stats else 0,
    )
    if case.masked:
        block.masks[:] = torch.rand(block.masks.shape, generator=draws) > 0.3
        block.weights.mul_(block.masks)
    rows = (torch.rand(case.rows, case.sizes[0], generator=draws) > 0.4).to(case.dtype)
    steps = range(-(-case.rows // case.batch))
    return Work(net=net, training=training, block=block, rows=rows, steps=steps, poll=lambda: None)


def sparse(rows: RowSet) -> SparseTensor:
    """The places of the ones of dense rows."""
    assert isinstance(rows, torch.Tensor)
    counts, places = rows.count_nonzero(1), rows.nonzero()[:, 1]
    starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    return SparseTensor(starts, places.to(torch.int32), rows.shape[1], rows.dtype, int(counts.max()))


def trained(train: object, work: Work) -> Population:
    """A copy of the block after the pass, which a prune cuts in two."""
    assert callable(train)
    block, stop = work.block.copy(), work.steps.stop
    for steps in (range(stop // 3), range(stop // 3, stop)):
        train(dataclasses.replace(work, block=block, steps=steps))
    return block


def assert_equal(got: Population, wanted: Population) -> None:
    for name, tensor in wanted.tensors().items():
        assert torch.equal(got.tensors()[name], tensor), name


def assert_close(got: Population, wanted: Population, tolerance: float = 1e-5) -> None:
    for name, tensor in wanted.tensors().items():
        torch.testing.assert_close(got.tensors()[name], tensor, rtol=tolerance, atol=tolerance, msg=name)


def eagerly(work: Work) -> Population:
    """What the eager engine makes of it."""
    return trained(eager.train, work)
