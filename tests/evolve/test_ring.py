"""Selection: losses of all pairs in a neighbourhood, fitness and tournaments."""

from __future__ import annotations

import pytest
import torch

from aecompress import rng
from aecompress.evolve.ring import drawn_members, fitness, neighbour_losses, ring_losses, tournament
from aecompress.evolve.topology import TOPOLOGIES
from tests.evolve.plans import SEED, make_plan, make_population, make_rows
from tests.modules import Plain


@torch.no_grad()
@pytest.mark.parametrize("size", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("kind", ["ring", "von-neumann", "moore"])
def test_losses_of_all_pairs_equal_a_loop(size: int, shared: bool, kind: str) -> None:
    plan, topology = make_plan(), TOPOLOGIES[kind](size, 2 if kind == "ring" else 1)
    population, rows = make_population(plan, size), make_rows()
    batches = torch.stack([rows.train[cell : cell + 5] for cell in range(1 if shared else size)])
    got = ring_losses(plan.net, plan.net.layout.views(population.weights), batches, topology, "l1")
    modules = [Plain(plan.net, row) for row in population.weights]
    for cell in range(size):
        x = batches[0 if shared else cell]
        members = topology.neighbours(torch.tensor([cell]))[0].tolist()
        expected = [[(modules[d].decode(modules[e].encode(x)) - x).abs().mean() for d in members] for e in members]
        torch.testing.assert_close(got[cell], torch.tensor(expected, dtype=torch.float64))
        places = torch.tensor([members])
        alone = neighbour_losses(plan.net, population.weights, places, x[None], "l1")[0]
        torch.testing.assert_close(alone, got[cell])


def test_a_pair_with_a_loss_that_is_not_finite_never_wins() -> None:
    losses = torch.full((1, 3, 3), torch.nan)
    losses[0, 2] = torch.tensor([torch.inf, torch.nan, 5.0])
    for concept in ("best", "mean", "worst"):
        assert fitness(losses, concept).tolist() == [[torch.inf, torch.inf, 5.0]]
    one_lost = torch.tensor([[[0.2, 0.3, torch.nan], [0.4, 0.3, torch.nan], [0.1, 0.1, torch.nan]]])
    expected = {"best": [0.2, 0.3], "mean": [0.25, 0.35], "worst": [0.3, 0.4]}
    for concept, scores in expected.items():
        got = fitness(one_lost, concept)[0].tolist()
        assert got[:2] == pytest.approx(scores) and got[2] == torch.inf
    cells = torch.arange(50)
    alone = tournament(fitness(one_lost, "best").expand(50, 3), drawn_members(make_plan(tournament=1), 0, cells))
    assert 2 not in alone.tolist()
    scores = fitness(losses, "best").expand(50, 3)
    assert tournament(scores, drawn_members(make_plan(tournament=64), 0, cells)).tolist() == [2] * 50


def test_a_tie_goes_to_the_later_draw() -> None:
    cells = torch.arange(40)
    drawn = rng.integers(SEED, "tournament", 3, cells, 0, (2,), high=3)
    assert torch.equal(drawn_members(make_plan(tournament=2), 3, cells), drawn)
    assert torch.equal(tournament(torch.ones(40, 3), drawn), drawn[:, 1])
