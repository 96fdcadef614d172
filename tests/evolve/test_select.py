from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import torch
from torch.nn.utils import prune

from aecompress.evolve.operators import Evidence, magnitude
from aecompress.evolve.population import new_population
from aecompress.evolve.select import keep_weights, lowest, most_zeros
from tests.modules import Plain, small_net


@hypothesis.given(
    st.lists(st.integers(0, 4), min_size=1, max_size=40).flatmap(
        lambda scores: st.tuples(st.just(scores), st.integers(0, len(scores)))
    )
)
@hypothesis.settings(deadline=None)
def test_lowest_is_exactly_a_stable_sort(case: tuple[list[int], int]) -> None:
    scores, count = case
    got = lowest(torch.tensor([scores], dtype=torch.float32), count)[0]
    expected = sorted(range(len(scores)), key=lambda index: (scores[index], index))[:count]
    assert got.nonzero().flatten().tolist() == sorted(expected)


def test_magnitude_zeros_are_those_of_torch_global_unstructured() -> None:
    net = small_net()
    population = new_population(net, 2, 9, 0.01, False, torch.device("cpu"))
    evidence = Evidence(net, population.weights, 9, 0, 0, population.cells)
    count = round(0.7 * net.model_size)
    masks = keep_weights(net, magnitude(evidence), population.masks, count)
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
        new = keep_weights(net, torch.rand(3, net.model_size), masks, count)
        assert (~new).sum(1).tolist() == [count] * 3
        assert bool((masks | ~new).all())
        masks = new


def test_no_layer_is_emptied_even_at_the_most_zeros() -> None:
    net = small_net()
    population = new_population(net, 2, 9, 0.01, False, torch.device("cpu"))
    scores = torch.rand(2, net.model_size)
    slot = net.layout.slots["encoder.1.weight"]
    scores[:, slot.offset : slot.offset + slot.size] -= 10
    for count in (60, most_zeros(net)):
        kept = net.layout.views(keep_weights(net, scores, population.masks, count))
        for layer in net.layers:
            assert bool(kept[layer.name + ".weight"].flatten(1).any(1).all()), (count, layer.name)


def test_a_score_that_is_not_a_number_goes_last() -> None:
    net = small_net()
    population = new_population(net, 1, 9, 0.01, False, torch.device("cpu"))
    scores = torch.rand(1, net.model_size)
    scores[0, 3] = torch.nan
    masks = keep_weights(net, scores, population.masks, net.model_size - 20)
    assert bool(masks[0, 3])
    assert int((~masks).sum()) == net.model_size - 20
