"""One contract table over every operator, then the published forms against slow loops."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import nn

from aecompress.engines.base import Work
from aecompress.engines.training import row_order
from aecompress.evolve import evidence as evidence_module
from aecompress.evolve.evidence import GUIDING_ROWS, Evidence
from aecompress.evolve.generation import generation
from aecompress.evolve.operators import operator_of
from aecompress.evolve.pruning import evidence_of, prune_published, triggered
from aecompress.evolve.select import keep_weights
from aecompress.evolve.visit import visit_all
from aecompress.nets.layers import forward
from aecompress.registry import OPERATORS
from tests.evolve import reference
from tests.evolve.plans import SEED, make_plan, make_population, make_rows
from tests.modules import Plain, row_of

NOTHING = lambda: None  # noqa: E731
PUBLISHED = [name for name, operator in OPERATORS.items() if operator.published]


def evidence(name: str, cells: list[int], generation: int = 3, order: str = "high") -> tuple[Any, Any, Evidence]:
    """A population of four, trained a little, seen as the operator sees cells ``cells`` of it."""
    plan = make_plan(operator=name, order=order)
    population = make_population(plan)
    population.generation = generation
    rows = make_rows()
    if population.stats is not None:
        for first in range(0, 20, 5):
            batch = rows.train[first : first + 5].expand(4, -1, -1)
            trace = forward(plan.net.layers, plan.net.layout.views(population.weights), batch)
            population.stats.add(plan.net, trace)
    chosen = population.pick(torch.tensor(cells))
    assert plan.pruning is not None
    return (
        plan,
        chosen,
        evidence_of(plan.net, plan.pruning, plan.training, chosen, (rows.train, rows.guide), 0),
    )


@pytest.mark.parametrize("name", OPERATORS)
def test_a_score_is_finite_of_its_level_and_the_same_for_a_cell_alone(name: str) -> None:
    plan, _, seen = evidence(name, [0, 1, 2, 3])
    scores = operator_of(name).score(seen)
    width = plan.net.model_size if operator_of(name).level == "weight" else sum(x.outputs for x in plan.net.layers)
    assert scores.shape == (4, width)
    assert bool(scores.isfinite().all())
    assert torch.equal(operator_of(name).score(seen), scores)
    alone = operator_of(name).score(evidence(name, [2])[2])
    torch.testing.assert_close(alone[0], scores[2])


@pytest.mark.parametrize("granularity", ["weight", "unit"])
@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("ring", [True, False])
@pytest.mark.parametrize("regrowth", [0.0, 0.5])
def test_target_driven_pruning_ends_at_the_exact_count_and_never_empties_a_layer(
    name: str, granularity: str, ring: bool, regrowth: float
) -> None:
    plan = make_plan(
        operator=name, granularity=granularity, target=0.7, persistent=True, optimizer="adam",
        rule="pair" if ring else "alone", per_generation=2, regrowth=regrowth, cells=3,
    )  # fmt: skip
    returned = 0
    population, rows = make_population(plan, 3 if ring else 1), make_rows()
    for _ in range(4):
        before = ~population.masks
        population, report = generation(plan, population, rows, NOTHING)
        if not ring:
            returned += int((before & population.masks).sum())
    assert ring or regrowth or not returned
    zeros, cut = report.layer_zeros.sum(1), (~population.masks).sum(1)
    wanted = round(0.7 * plan.net.model_size)
    if granularity == "weight":
        assert cut.tolist() == [wanted] * len(zeros)
    else:
        assert bool((cut >= wanted).all()) and bool((cut < wanted + 40).all())
    # A weight that came back from 0 stays there where its unit is never active again.
    assert torch.equal(zeros, cut) if not regrowth else bool((zeros >= cut).all())
    assert population.moments is not None
    for tensor in (population.weights, *population.moments):
        assert bool((tensor[~population.masks] == 0).all())
    for layer in plan.net.layers:
        assert bool(plan.net.layout.views(population.masks)[layer.name + ".weight"].any(1).any(1).all())
    if not regrowth:
        torch.testing.assert_close(population.capacity, 1 - zeros.double() / plan.net.model_size)


@pytest.mark.parametrize("name", OPERATORS)
def test_unit_granularity_removes_whole_hidden_units_and_keeps_latent_and_output(name: str) -> None:
    plan = make_plan(operator=name, granularity="unit", target=0.7, persistent=True, generations=1)
    population = make_population(plan)
    visit_all(plan, population, [0, 1, 2, 3], make_rows(), NOTHING)
    views = plan.net.layout.views(population.masks)
    removed = 0
    for layer, reader in zip(plan.net.layers, [*plan.net.layers[1:], None], strict=True):
        dead = ~views[layer.name + ".bias"][:, 0]
        if reader is None or layer is plan.net.encoder[-1]:
            assert not bool(dead.any())
            continue
        removed += int(dead.sum())
        assert torch.equal(dead, ~views[layer.name + ".weight"].any(1))
        assert not bool(views[reader.name + ".weight"][dead].any())
    assert removed


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_masks_of_a_block_equal_those_of_single_cells(name: str) -> None:
    keep = operator_of(name).published(evidence(name, [0, 1, 2, 3])[2])  # type: ignore[misc]
    for cell in range(4):
        assert torch.equal(operator_of(name).published(evidence(name, [cell])[2])[0], keep[cell])  # type: ignore[misc]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_forms_equal_slow_loops(name: str) -> None:
    plan, population, seen = evidence(name, [0, 1, 2, 3])
    modules = [Plain(plan.net, row) for row in population.weights]
    rows = make_rows()
    prune_published(plan.net, plan.pruning, population, seen)
    for cell in range(4):
        if name == "random":
            reference.random_prune(modules[cell], SEED, 3, cell)
        elif name == "variance":
            stored = [reference.hooked(modules[cell], rows.train[first : first + 5]) for first in range(0, 20, 5)]
            reference.variance_prune(modules[cell], stored, SEED, 3, cell)
        else:
            with torch.no_grad():
                reference.conjunctive_prune(modules[cell], rows.guide, SEED, 3, cell)
    for cell in range(4):
        assert torch.equal(population.weights[cell], row_of(modules[cell])), cell
    assert float((population.weights == 0).double().mean()) > 0.01
    torch.testing.assert_close(population.capacity, (population.weights != 0).double().mean(1))


@pytest.mark.parametrize(("operator", "power"), [("obd", 1 / 2), ("obd-root", 1 / 4)])
def test_obd_is_magnitude_times_a_root_of_the_mean_square_that_torch_s_adam_has(operator: str, power: float) -> None:
    plan = make_plan(operator=operator, rule="alone", generations=2, walk=0.0, persistent=True)
    start, rows = make_population(plan), make_rows()
    trained = start.copy()
    assert plan.pruning is not None
    for step in range(3):
        work = Work(plan.net, plan.training, trained, rows.train, range(step, step + 1), NOTHING)
        plan.engine.train(work)
    seen = evidence_of(plan.net, plan.pruning, plan.training, trained, (rows.train, rows.guide), 0)
    scores, order = operator_of(operator).score(seen), row_order(plan.training, 0, start.cells, rows.train)
    for cell in range(4):
        module = Plain(plan.net, start.weights[cell])
        adam = torch.optim.Adam(module.parameters(), 0.01, betas=plan.training.betas)
        for step in range(3):
            batch = rows.train[order[cell, 5 * step : 5 * step + 5]]
            adam.zero_grad()
            (module(batch) - batch).abs().mean().backward()
            adam.step()
        for parameter in module.parameters():
            parameter.data = parameter.data.abs() * adam.state[parameter]["exp_avg_sq"] ** power
        torch.testing.assert_close(scores[cell], row_of(module)[: plan.net.model_size])


@pytest.mark.parametrize("loss", ["l1", "mse", "bce"])
@pytest.mark.parametrize("many", [False, True], ids=["all rows", "drawn rows"])
@pytest.mark.parametrize("together", [1, 3, 4])
def test_scores_of_training_rows_equal_those_of_single_modules(
    loss: str, many: bool, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, population, seen = evidence("taylor", [0, 1, 2, 3])
    monkeypatch.setattr(evidence_module, "GRADIENT_VALUES", together * GUIDING_ROWS * 12)
    there = make_rows().train
    if many:
        there = there[torch.randint(len(there), (GUIDING_ROWS + 1,), generator=torch.Generator().manual_seed(4))]
    seen = dataclasses.replace(seen, loss=loss, rows=there)
    gradients, tests = seen.gradients(), operator_of("taylor").score(seen)
    inputs = operator_of("wanda").score(seen)
    rows = seen.batch()
    if many:
        assert rows.shape == (4, GUIDING_ROWS, 12)
        assert bool((rows[0, :, None] == there[None]).all(2).any(1).all())
        assert not torch.equal(rows[0], rows[1])
    else:
        assert torch.equal(rows, there.expand(4, -1, -1))
    for cell in range(4):
        module = Plain(plan.net, population.weights[cell])
        out = module(rows[cell])
        value = {"l1": nn.functional.l1_loss, "mse": nn.functional.mse_loss, "bce": nn.functional.binary_cross_entropy}
        value[loss](out, rows[cell]).backward()
        expected = row_of(module, grad=True)
        torch.testing.assert_close(gradients[cell], expected)
        torch.testing.assert_close(tests[cell], (expected * population.weights[cell]).abs())
        stored = [rows[cell], *reference.hooked(module, rows[cell])]
        parts = []
        for linear, below in zip([*module.encoder, *module.decoder], stored, strict=False):
            norm = torch.linalg.vector_norm(below, dim=0) / len(below) ** 0.5
            layer = torch.cat([(linear.weight.abs() * norm).T.reshape(-1), linear.bias.abs()])
            parts.append(layer / layer[layer > 0].mean())
        torch.testing.assert_close(inputs[cell], torch.cat(parts).detach())


def test_magnitude_layer_takes_the_smallest_half_of_every_layer() -> None:
    plan, population, seen = evidence("magnitude-layer", [0, 1])
    half = plan.net.model_size // 2
    keep = keep_weights(plan.net, operator_of("magnitude-layer").score(seen), population.masks, [half] * 2)
    for layer, size in zip(plan.net.layers, plan.net.layer_sizes, strict=True):
        slot = plan.net.layout.slots[layer.name + ".weight"]
        place = slice(slot.offset, slot.offset + size)
        gone = population.weights[:, place].abs().argsort(dim=1)[:, : size // 2]
        assert (~keep[:, place]).sum(1).sub(size / 2).abs().max() <= 1
        assert int((~keep[:, place]).gather(1, gone).sum(1).min()) >= size // 2 - 1


def test_only_cells_whose_draw_fires_are_pruned() -> None:
    plan = make_plan(operator="random", p=0.5, rule="alone")
    population, rows = make_population(plan), make_rows()
    hits = triggered(plan.pruning, SEED, 0, [0, 1, 2, 3])
    assert 0 < sum(hits) < 4
    assert triggered(plan.pruning, SEED, 0, [2]) == hits[2:3]
    assert visit_all(plan, population, [0, 1, 2, 3], rows, NOTHING) == hits
    assert (population.capacity < 1).tolist() == hits


def test_random_published_counts_round_half_to_even_per_tensor_zeros_included() -> None:
    plan, population, seen = evidence("random", [0])
    gone = ~operator_of("random").published(seen)  # type: ignore[misc]
    counts = [int(gone[0, slot.offset : slot.offset + slot.size].sum()) for slot in plan.net.layout.slots.values()]
    sizes = [slot.size for slot in plan.net.layout.slots.values()]
    assert counts == [round(0.1 * size) for size in sizes]
    assert (sizes[3], counts[3]) == (3, 0)
    population.weights.zero_()
    assert torch.equal(~operator_of("random").published(seen), gone)  # type: ignore[misc]


def test_variance_keeps_all_of_the_least_and_cuts_all_of_the_most_variable_unit() -> None:
    plan, _, seen = evidence("variance", [0])
    keep = plan.net.layout.views(torch.cat([operator_of("variance").published(seen)], 1))  # type: ignore[misc]
    assert seen.stats is not None
    for layer, score in zip(plan.net.layers, plan.net.split_units(seen.stats.scores()), strict=True):
        weight, bias = keep[layer.name + ".weight"][0], keep[layer.name + ".bias"][0, 0]
        least, most = int(score.argmin()), int(score.argmax())
        assert bool(weight[:, least].all()) and bool(bias[least])
        assert not bool(weight[:, most].any()) and not bool(bias[most])


def test_variance_order_low_is_the_reverse() -> None:
    high = operator_of("variance").score(evidence("variance", [0, 1])[2])
    low = operator_of("variance").score(evidence("variance", [0, 1], order="low")[2])
    torch.testing.assert_close(low, 1 - high)


def test_weight_granularity_of_a_unit_score_breaks_ties_by_magnitude() -> None:
    plan = make_plan(operator="conjunctive", target=0.3, persistent=True, generations=1)
    population = make_population(plan)
    scores = torch.ones(4, sum(layer.outputs for layer in plan.net.layers), dtype=torch.float64)
    from aecompress.evolve.evidence import incoming
    from aecompress.evolve.select import lowest

    size = population.weights.abs()
    keep = keep_weights(plan.net, incoming(plan.net, scores), population.masks, [80] * len(scores), ties=size)
    assert torch.equal(keep, ~lowest(size, [80] * len(size)))


def test_a_conjunctive_cut_gives_a_constant_unit_with_exactly_zero_gradient() -> None:
    from aecompress.nets.autoencoder import gradient

    plan = make_plan(operator="conjunctive")
    population, rows = make_population(plan), make_rows()
    weights = plan.net.layout.views(population.weights)
    weights["encoder.0.weight"][:, :, 2] = 0
    weights["encoder.0.bias"][:, :, 2] = 0
    grad = torch.empty_like(population.weights)
    gradients = plan.net.layout.views(grad)
    gradient(plan.net, weights, gradients, rows.train[:5].expand(4, -1, -1), None, 0.0, loss="l1")
    assert not bool(gradients["encoder.0.weight"][:, :, 2].any())
    assert not bool(gradients["encoder.0.bias"][:, :, 2].any())


def test_canonical_spread_is_kept_until_a_prune_and_then_forgotten() -> None:
    plan = make_plan(operator="variance", rule="alone", schedule="prune_after", generations=3, optimizer="adam", p=1.0)
    population, rows = make_population(plan, 1), make_rows()
    for number in range(1, 4):
        population, report = generation(plan, population, rows, NOTHING)
        assert report.pruned == [False]
        assert population.stats is not None
        assert population.stats.count[0].tolist() == [5.0 * number] * 3 + [4.0 * number] * 2
    plan = make_plan(operator="variance", rule="alone", schedule="fixed", generations=3, optimizer="adam", p=1.0)
    population, report = generation(plan, population, rows, NOTHING)
    assert report.pruned == [True]
    assert population.stats is not None and not bool(population.stats.count.any())
