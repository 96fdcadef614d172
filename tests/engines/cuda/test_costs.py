"""What is expected of the engines on a CUDA device, beside what one H200 took (docs/gpu.md)."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from aecompress.engines.base import Workload
from aecompress.engines.cuda import costs
from tests.engines.cuda.cases import Case, work_of


def load_of(sizes: tuple[int, ...], cells: int, batch: int, optimizer: str, precision: str = "float32") -> Workload:
    return Workload(
        net=work_of(Case(sizes=sizes)).net,
        device=torch.device("cuda:0"),
        precision=precision,  # type: ignore[arg-type]
        family="plain",
        optimizer=optimizer,
        batch=batch,
        cells=cells,
        steps=1_000_000,
    )


PAPER, MIDDLE, LARGE = (1000, 30, 10, 30, 1000), (784, 256, 64, 256, 784), (784, 1024, 256, 1024, 784)


@pytest.mark.parametrize(
    ("load", "eager", "graph"),
    [
        (load_of(PAPER, 10, 5, "fresh-adam"), 0.50, 0.021),
        (load_of(PAPER, 100, 5, "fresh-adam"), 0.65, 0.0867),
        (load_of(PAPER, 1000, 5, "fresh-adam"), 1.43, 0.408),
        (load_of(MIDDLE, 10, 64, "adam"), 0.66, 0.252),
        (load_of(LARGE, 10, 256, "adam"), 1.65, 1.17),
        (load_of(LARGE, 10, 256, "adam", "bf16"), 1.0, 0.414),
    ],
)
def test_expected_steps_are_those_that_were_measured(load: Workload, eager: float, graph: float) -> None:
    """In milliseconds, within half as much again."""
    assert 2 / 3 < costs.eager_seconds(load) / (load.steps * eager * 1e-3) < 1.5
    assert 2 / 3 < costs.graph_seconds(load) / (load.steps * graph * 1e-3) < 1.7


@pytest.mark.parametrize(("cells", "took"), [(10, 0.0140), (100, 0.0871), (1000, 0.510)])
def test_expected_passes_are_those_that_were_measured(cells: int, took: float) -> None:
    load = load_of(PAPER, cells, 5, "fresh-adam")
    assert 2 / 3 < costs.pass_seconds(load) / (load.steps * took * 1e-3) < 1.7
    assert costs.pass_seconds(dataclasses.replace(load, steps=0)) > costs.COMPILE_SECONDS
