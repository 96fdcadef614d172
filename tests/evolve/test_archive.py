"""The archive: what it holds is beaten by nothing, and what it makes lies between what was there."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
import torch

from aecompress.engines.cuda import passes
from aecompress.engines.cuda_passes import CudaPasses
from aecompress.errors import DeviceError
from aecompress.evolve import archive as module
from aecompress.evolve.archive import INTERPOLATED, archive, concatenate, fine_tune, interpolate
from aecompress.evolve.base import Plan
from aecompress.evolve.generation import generation
from aecompress.population.state import Population
from tests.evolve.plans import make_plan, make_population, make_rows
from tests.modules import Plain

NOTHING = lambda: None  # noqa: E731
BUDGETS = (0.0, 0.4, 0.7, 0.85)


def evolved(**changes: Any) -> tuple[Plan, Population]:
    plan = make_plan(
        **({"operator": "magnitude", "targets": BUDGETS, "persistent": True, "optimizer": "adam", "loss": "mse",
            "rule": "dominance", "generations": 6, "walk": 0.0} | changes)
    )  # fmt: skip
    population = make_population(plan)
    for _ in range(6):
        population, _ = generation(plan, population, make_rows(), NOTHING)
    return plan, population


@pytest.mark.parametrize("granularity", ["weight", "unit"])
@pytest.mark.parametrize("optimizer", ["adam", "fresh-adam"])
def test_the_archive_holds_exactly_what_nothing_beats(granularity: str, optimizer: str) -> None:
    plan, population = evolved(granularity=granularity, optimizer=optimizer)
    rows = make_rows()
    found = archive(plan, population, rows, NOTHING)
    interpolated = interpolate(plan, population, rows, NOTHING)
    assert interpolated is not None
    candidates = torch.cat([population.weights, interpolated.weights])
    points = []
    for row in candidates:
        out = Plain(plan.net, row)(rows.validation).detach()
        points.append((int((row != 0).sum()), float(torch.nn.functional.mse_loss(out, rows.validation))))
    expected = sorted({p for p in points if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)})
    assert found.nonzeros == [n for n, _ in expected]
    assert found.losses == pytest.approx([loss for _, loss in expected])
    assert sorted(found.losses, reverse=True) == found.losses
    for at, cell in enumerate(found.cells):
        pool = population.weights[cell : cell + 1] if cell != INTERPOLATED else interpolated.weights
        assert bool((pool == found.members.weights[at]).all(1).any())


def test_what_is_interpolated_lies_between_two_budgets_and_loses_nothing_it_was_pruned_of() -> None:
    plan, population = evolved()
    interpolated = interpolate(plan, population, make_rows(), NOTHING)
    assert interpolated is not None
    nonzeros = sorted((population.weights != 0).sum(1).tolist(), reverse=True)
    kept = interpolated.masks.sum(1).tolist()
    assert len(kept) == 2 * 3
    for (high, low), pair in zip(itertools.pairwise(nonzeros), zip(kept[::2], kept[1::2], strict=True), strict=True):
        assert high > pair[0] > pair[1] > low
    assert bool((interpolated.weights[~interpolated.masks] == 0).all())
    again = interpolate(plan, population, make_rows(), NOTHING)
    assert again is not None and torch.equal(again.weights, interpolated.weights)


def test_fine_tuning_learns_with_a_rate_that_falls_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plan, population = evolved(generations=60)
    rates: list[float] = []

    def noted(changed: Plan, block: Population, cells: Any, rows: Any, poll: Any) -> list[bool]:
        rates.extend(
            changed.training.rate((block.generation + part) / changed.training.generations) for part in (0, 0.5)
        )
        assert changed.pruning is None
        return []

    monkeypatch.setattr(module, "visit_all", noted)
    fine_tune(plan, population, make_rows(), NOTHING)
    assert rates[0] == pytest.approx(module.FINE_TUNE_RATE)
    assert rates == sorted(rates, reverse=True) and len(rates) == 4
    assert rates[-1] == pytest.approx(module.FINE_TUNE_RATE * (1 - 2**-0.5) / 2)


def test_concatenating_keeps_both_whole() -> None:
    _, population = evolved()
    more = population.pick(torch.tensor([3, 1, 0, 0, 2]))
    whole = concatenate(population, more)
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, torch.cat([population.tensors()[name], more.tensors()[name]])), name


def test_models_of_passes_that_went_wrong_are_refused() -> None:
    plan = dataclasses.replace(make_plan(), engine=CudaPasses())
    population, rows = make_population(plan, 4), make_rows()
    assert len(module.candidates(plan, population, [0, 1, 2, 3], rows, NOTHING)) == 4
    passes.fault_flag(torch.device("cpu")).fill_(1)
    with pytest.raises(DeviceError, match="did not meet while it was trained"):
        module.candidates(plan, population, [0, 1, 2, 3], rows, NOTHING)
