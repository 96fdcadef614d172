"""Codebooks against loops and exhaustive search, and rounding that touches nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from aecompress.nets.codebooks import BIAS_VALUES, LARGE_LAYER, codebooks, distinct, kept_tensors, nearest, rounded
from aecompress.nets.shapes import Autoencoder
from tests.modules import mirrored, small_net

NET = small_net()
VALUES = (2, 4, 8, 4)


def individuals(net: Autoencoder = NET, count: int = 3) -> Tensor:
    """Weights [P, n] of different sizes, 40 % of them zero."""
    draws = torch.Generator().manual_seed(1)
    weights = torch.randn(count, net.layout.size, generator=draws) * torch.tensor([[1e-4], [1.0], [300.0]])[:count]
    return weights * (torch.rand(weights.shape, generator=draws) > 0.4)


def fitted(net: Autoencoder, weights: Tensor, values: tuple[int, ...] = VALUES) -> Tensor:
    """The codebooks [P, layers, width] of the weights."""
    kept = kept_tensors(net, weights != 0, values)
    return codebooks(kept, kept.of(weights)).view(len(weights), len(values), -1)


def matrices(net: Autoencoder, weights: Tensor) -> list[list[Tensor]]:
    """The matrices of each individual, flat."""
    views = net.layout.views(weights)
    return [[views[layer.name + ".weight"][cell].reshape(-1) for layer in net.layers] for cell in range(len(weights))]


def test_the_values_are_the_best_there_are_where_weights_lie_in_clumps() -> None:
    clumps = torch.tensor([-1.0, -0.3, 0.2, 0.9])
    draws = torch.Generator().manual_seed(2)
    weights = torch.zeros(1, NET.layout.size)
    slot = NET.layout.slots["encoder.0.weight"]
    given = (clumps.repeat_interleave(4) + 0.02 * torch.randn(16, generator=draws))[torch.randperm(16, generator=draws)]
    weights[0, slot.offset : slot.offset + 16] = given
    near = rounded(NET, weights, fitted(NET, weights, (4,) * 4), (4,) * 4)
    got = near[0, slot.offset : slot.offset + 16].double()
    ordered = np.sort(given.double().numpy())
    parts = (np.split(ordered, cuts) for cuts in itertools.combinations(range(1, 16), 3))
    best = min(sum(((part - part.mean()) ** 2).sum() for part in some) for some in parts)
    assert float((got - given.double()).square().sum()) == pytest.approx(best, rel=1e-2)


def test_the_values_are_those_of_lloyds_method_in_a_loop() -> None:
    weights = individuals()
    levels = fitted(NET, weights)
    kept = kept_tensors(NET, weights != 0, VALUES)
    codes = iter(nearest(kept, levels.flatten(0, 1), kept.of(weights)).tolist())
    for cell, own in enumerate(matrices(NET, weights)):
        for number, (flat, count) in enumerate(zip(own, VALUES, strict=True)):
            found = flat[flat != 0].double().numpy()
            ordered = np.sort(found)
            book = np.array([ordered[int((i + 0.5) / count * len(ordered))] for i in range(count)])
            for _ in range(40):
                near = np.abs(ordered[:, None] - book).argmin(1)
                book = np.array([ordered[near == i].mean() if (near == i).any() else book[i] for i in range(count)])
            np.testing.assert_allclose(levels[cell, number, :count].numpy(), book, rtol=2**-11)
            first = (cell * 4 + number) * max(VALUES)
            expected = first + np.abs(found[:, None] - levels[cell, number, :count].double().numpy()).argmin(1)
            assert [next(codes) for _ in found] == expected.tolist()


def test_rounding_leaves_zeros_takes_few_values_and_is_the_same_a_second_time() -> None:
    net = mirrored((7,), 3, 12, variational=True)
    weights = individuals(net)
    levels = fitted(net, weights)
    near = rounded(net, weights, levels, VALUES)
    assert torch.equal(near == 0, weights == 0)
    for own, exact in zip(matrices(net, near), matrices(net, weights), strict=True):
        for flat, before, count in zip(own, exact, VALUES, strict=True):
            assert len(flat[flat != 0].unique()) == count < len(before.unique())
    for layer in net.layers:
        slot = net.layout.slots[layer.name + ".bias"]
        here = slice(slot.offset, slot.offset + slot.size)
        assert torch.equal(near[:, here], weights[:, here].half().float())
    assert torch.equal(near[:, net.model_size :], weights[:, net.model_size :])
    assert torch.equal(rounded(net, near, levels, VALUES), near)


def test_biases_of_a_large_layer_take_few_values_too() -> None:
    net = mirrored((3,), 2, LARGE_LAYER)
    weights = individuals(net, 2)
    levels = fitted(net, weights)
    near = rounded(net, weights, levels, VALUES)
    biases = net.layout.views(near)["decoder.1.bias"].flatten(1)
    exact = net.layout.views(weights)["decoder.1.bias"].flatten(1)
    for cell in range(2):
        assert len(biases[cell].unique()) <= BIAS_VALUES + 1 < len(exact[cell].unique())
    assert float(((biases - exact).norm(dim=1) / exact.norm(dim=1)).max()) < 0.04
    assert torch.equal(rounded(net, near, levels, VALUES), near)
    kept = kept_tensors(net, near != 0, (0, 0, 0, BIAS_VALUES), "bias")
    assert int(distinct(kept, kept.of(near)).max()) <= BIAS_VALUES


def test_an_individual_is_rounded_as_alone_whatever_becomes_of_others() -> None:
    weights = individuals()

    def near(some: Tensor) -> Tensor:
        return rounded(NET, some, fitted(NET, some), VALUES)

    alone = torch.cat([near(weights[cell : cell + 1]) for cell in range(3)])
    assert torch.equal(near(weights), alone)
    for lost in (torch.nan, torch.inf):
        weights[1, ::2] = lost
        assert torch.equal(near(weights)[::2], alone[::2])
        assert not bool(near(weights)[1].isfinite().all())
    assert torch.equal(near(torch.zeros_like(weights)), torch.zeros_like(weights))
