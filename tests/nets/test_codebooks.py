"""Codebooks against loops and exhaustive search, and rounding that touches nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from aecompress.nets.autoencoder import Autoencoder
from aecompress.nets.codebooks import codebooks, distinct, kept_weights, rounded
from tests.modules import mirrored, small_net

NET = small_net()
BITS = (1, 2, 3, 2)


def individuals(net: Autoencoder = NET, count: int = 3) -> Tensor:
    """Weights [P, n] of different sizes, 40 % of them zero."""
    draws = torch.Generator().manual_seed(1)
    weights = torch.randn(count, net.layout.size, generator=draws) * torch.tensor([[1e-4], [1.0], [300.0]])[:count]
    return weights * (torch.rand(weights.shape, generator=draws) > 0.4)


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
    got = rounded(NET, weights, (2, 2, 2, 2))[0, slot.offset : slot.offset + 16].double()
    ordered = np.sort(given.double().numpy())
    parts = (np.split(ordered, cuts) for cuts in itertools.combinations(range(1, 16), 3))
    best = min(sum(((part - part.mean()) ** 2).sum() for part in some) for some in parts)
    assert float((got - given.double()).square().sum()) == pytest.approx(best, rel=1e-5)


def test_the_values_are_those_of_lloyds_method_in_a_loop() -> None:
    weights = individuals()
    kept = kept_weights(NET, weights, weights != 0, BITS)
    values = codebooks(kept, weights) * kept.reach[:, None]
    for cell, own in enumerate(matrices(NET, weights)):
        for number, (flat, bits) in enumerate(zip(own, BITS, strict=True)):
            ordered = np.sort(flat[flat != 0].double().numpy())
            book = np.array([ordered[int((i + 0.5) / 2**bits * len(ordered))] for i in range(2**bits)])
            for _ in range(40):
                nearest = np.abs(ordered[:, None] - book).argmin(1)
                book = np.array(
                    [ordered[nearest == i].mean() if (nearest == i).any() else book[i] for i in range(2**bits)]
                )
            np.testing.assert_allclose(values[cell * 4 + number, : 2**bits].numpy(), book, rtol=1e-9)


def test_rounding_leaves_zeros_takes_few_values_and_is_the_same_a_second_time() -> None:
    net = mirrored((7,), 3, 12, variational=True)
    weights = individuals(net)
    near = rounded(net, weights, BITS)
    assert torch.equal(near == 0, weights == 0)
    for own, exact in zip(matrices(net, near), matrices(net, weights), strict=True):
        for flat, before, bits in zip(own, exact, BITS, strict=True):
            assert len(flat[flat != 0].unique()) == 2**bits < len(before.unique())
    for layer in net.layers:
        slot = net.layout.slots[layer.name + ".bias"]
        here = slice(slot.offset, slot.offset + slot.size)
        assert torch.equal(near[:, here], weights[:, here].half().float())
    assert torch.equal(near[:, net.model_size :], weights[:, net.model_size :])
    assert torch.equal(rounded(net, near, BITS), near)
    kept = kept_weights(net, near, near != 0, BITS)
    assert torch.equal(distinct(kept, near), torch.tensor([2, 4, 8, 4] * 3))


def test_an_individual_is_rounded_as_alone_whatever_becomes_of_others() -> None:
    weights = individuals()
    alone = torch.cat([rounded(NET, weights[cell : cell + 1], BITS) for cell in range(3)])
    assert torch.equal(rounded(NET, weights, BITS), alone)
    weights[1] = torch.nan
    assert torch.equal(rounded(NET, weights, BITS)[::2], alone[::2])
    assert bool(rounded(NET, weights, BITS)[1, :10].isnan().any())
    assert torch.equal(rounded(NET, torch.zeros_like(weights), BITS), torch.zeros_like(weights))
