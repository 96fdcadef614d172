from __future__ import annotations

import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import torch
from torch.nn.utils import prune

from aecompress.evolve.evidence import Evidence
from aecompress.evolve.operators import magnitude
from aecompress.evolve.select import (
    hidden_layers,
    keep_units,
    keep_weights,
    kth_lowest,
    lowest,
    most_unit_zeros,
    most_zeros,
    per_unit,
)
from aecompress.nets.shapes import Autoencoder
from aecompress.population.state import new_population
from tests.modules import Plain, mirrored, small_net


@hypothesis.given(
    st.lists(st.integers(0, 4), min_size=1, max_size=40).flatmap(
        lambda scores: st.tuples(st.just(scores), st.integers(0, len(scores)))
    )
)
@hypothesis.settings(deadline=None)
def test_lowest_is_exactly_a_stable_sort(case: tuple[list[int], int]) -> None:
    scores, count = case
    got = lowest(torch.tensor([scores], dtype=torch.float32), [count])[0]
    expected = sorted(range(len(scores)), key=lambda index: (scores[index], index))[:count]
    assert got.nonzero().flatten().tolist() == sorted(expected)


@hypothesis.given(
    st.integers(0, 2**32 - 1),
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=4),
    st.floats(0, 1),
    st.floats(0, 1),
)
@hypothesis.settings(deadline=None, max_examples=30)
def test_the_kth_lowest_of_many_is_that_of_a_sort(seed: int, ties: list[float], share: float, place: float) -> None:
    draws = np.random.default_rng(seed)
    values = (draws.standard_normal(70_001) * np.exp(draws.normal(0, 10, 70_001))).astype(np.float32)
    equal = draws.random(len(values)) < share
    values[equal] = draws.choice(np.array(ties, np.float32), int(equal.sum()))
    k = 1 + int(place * (len(values) - 1))
    assert kth_lowest(values, k) == np.sort(values)[k - 1]


def test_magnitude_zeros_are_those_of_torch_global_unstructured() -> None:
    net = small_net()
    population = new_population(net, 2, 9, 0.01, False, torch.device("cpu"))
    evidence = Evidence(net, population.weights, 9, 0, 0, population.cells)
    count = round(0.7 * net.model_size)
    masks = keep_weights(net, magnitude(evidence), population.masks, [count] * 2)
    for cell in range(2):
        module = Plain(net, population.weights[cell])
        linears = [*module.encoder, *module.decoder]
        parameters = [(linear, name) for linear in linears for name in ("weight", "bias")]
        prune.global_unstructured(parameters, prune.L1Unstructured, amount=count)
        expected = [part for linear in linears for part in (linear.weight_mask.T.reshape(-1), linear.bias_mask)]
        assert torch.equal(masks[cell], torch.cat(expected).bool())


def test_counts_are_exact_and_pruned_weights_stay_pruned() -> None:
    net = small_net()
    population = new_population(net, 3, 9, 0.01, False, torch.device("cpu"))
    masks = population.masks
    for count in (1, 50, 51, 120):
        new = keep_weights(net, torch.rand(3, net.model_size), masks, [count, count, count + 2])
        assert (~new).sum(1).tolist() == [count, count, count + 2]
        assert bool((masks | ~new).all())
        masks = new


def test_no_layer_is_emptied_even_at_the_most_zeros() -> None:
    net = small_net()
    population = new_population(net, 2, 9, 0.01, False, torch.device("cpu"))
    scores = torch.rand(2, net.model_size)
    slot = net.layout.slots["encoder.1.weight"]
    scores[:, slot.offset : slot.offset + slot.size] -= 10
    for count in (60, most_zeros(net)):
        kept = net.layout.views(keep_weights(net, scores, population.masks, [count] * 2))
        for layer in net.layers:
            assert bool(kept[layer.name + ".weight"].flatten(1).any(1).all()), (count, layer.name)


def test_a_score_that_is_not_a_number_goes_last() -> None:
    net = small_net()
    population = new_population(net, 1, 9, 0.01, False, torch.device("cpu"))
    scores = torch.rand(1, net.model_size)
    scores[0, 3] = torch.nan
    masks = keep_weights(net, scores, population.masks, [net.model_size - 20])
    assert bool(masks[0, 3])
    assert int((~masks).sum()) == net.model_size - 20


def slow_units(net: Autoencoder, scores: list[list[float]], count: int) -> list[list[int]]:
    """The units that each layer keeps, one removed at a time."""
    hidden = [layer for layer, _ in hidden_layers(net)]
    kept = [list(range(layer.outputs)) for layer in net.layers]

    def zeros() -> int:
        fed = [net.layers[0].inputs, *(len(units) for units in kept)]
        return net.model_size - sum((before + 1) * after for before, after in itertools.pairwise(fed))

    while zeros() < count:
        index, worst = min(
            ((i, u) for i, layer in enumerate(net.layers) if layer in hidden and len(kept[i]) > 1 for u in kept[i]),
            key=lambda found: scores[found[0]][found[1]],
        )
        kept[index].remove(worst)
    return kept


@hypothesis.given(st.integers(0, 2**32), st.floats(0, 1))
@hypothesis.settings(deadline=None)
def test_units_go_lowest_first_until_there_are_enough_zeros(seed: int, share: float) -> None:
    net = mirrored((9, 6), 3, 12, latent_activation="relu")
    count = round(share * most_unit_zeros(net))
    scores = torch.rand(2, sum(layer.outputs for layer in net.layers), generator=torch.Generator().manual_seed(seed))
    masks = torch.ones(2, net.layout.size, dtype=torch.bool)
    counts = [count, count // 2]
    kept = net.layout.views(keep_units(net, scores, masks, counts))
    split = net.split_units(scores)
    for cell in range(2):
        expected = slow_units(net, [part[cell].tolist() for part in split], counts[cell])
        alive = torch.ones(net.layers[0].inputs, dtype=torch.bool)
        for layer, units in zip(net.layers, expected, strict=True):
            stays = torch.zeros(layer.outputs, dtype=torch.bool)
            stays[units] = True
            assert torch.equal(kept[layer.name + ".bias"][cell, 0], stays)
            assert torch.equal(kept[layer.name + ".weight"][cell], alive[:, None] & stays)
            alive = stays


def test_units_already_removed_stay_removed_and_count() -> None:
    net = small_net()
    masks = torch.ones(2, net.layout.size, dtype=torch.bool)
    scores = torch.rand(2, sum(layer.outputs for layer in net.layers))
    first = keep_units(net, scores, masks, [most_unit_zeros(net) // 2] * 2)
    assert torch.equal(keep_units(net, -scores, first, (~first).sum(1).tolist()), first)
    assert bool((first | ~keep_units(net, -scores, first, [most_unit_zeros(net)] * 2)).all())


def test_a_unit_scores_the_norms_of_its_weights_in_and_out_whatever_its_scale() -> None:
    net = small_net()
    weights = torch.randn(2, net.layout.size, dtype=torch.float64)
    got = net.split_units(per_unit(net, weights[:, : net.model_size].abs()))[0]
    module = Plain(net, weights[1])
    one, two = module.encoder[0].weight, module.encoder[1].weight
    expected = torch.linalg.vector_norm(one, dim=1) * torch.linalg.vector_norm(two, dim=0)
    torch.testing.assert_close(got[1], (expected / expected.mean()).detach())
    views = net.layout.views(weights)
    views["encoder.0.weight"][:, :, 2] *= 2
    views["encoder.1.weight"][:, 2, :] /= 2
    torch.testing.assert_close(net.split_units(per_unit(net, weights[:, : net.model_size].abs()))[0], got)
