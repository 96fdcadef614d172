"""How many bits the weights of each layer take in packed int8 files: fewer where the loss suffers least."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from aecompress.deploy import rounding
from aecompress.deploy.compact import Chain
from aecompress.deploy.grid import WHOLE_BITS
from aecompress.deploy.variants.base import Source, fed, loss_with
from aecompress.polling import Poll

WHOLE = "int7"
"""The grid of int8 files, whose weights take eight bits."""
COARSER = ("whole6", "whole5", "whole4")
"""The others that are tried; with fewer bits, more is lost than any usual limit allows."""
SHARE = 0.03
"""Of all weights, below which a layer keeps eight bits: few bytes are in it."""
ROWS = 2048
"""Rows that losses are compared on."""
Plan = Mapping[str, str]
"""Layer -> the grid of its weights."""


def plan_of(chain: Chain, plan: Plan) -> dict[str, str]:
    """Return the grid of every layer of a chain: what is no product stays in float32, what is not named takes WHOLE."""
    return {layer.name: plan.get(layer.name, WHOLE) if layer.product else "float32" for layer in chain.layers}


def bits_of(grid: str) -> int:
    """Return the bits of a weight on a grid."""
    return WHOLE_BITS.get(grid, 8)


def plans(source: Source, metric: str, poll: Poll) -> list[Plan]:
    """Return plans for the layers of the autoencoder, each with fewer bits than the one before.

    The first has WHOLE everywhere. Each step takes the reduction of a layer that adds least to the loss for the bits it
    saves, with all others in float32; so each plan is near the least loss for its bits, as far as losses add up.
    """
    chain, few = source.chains["autoencoder"], replace(source, rows=source.rows[:ROWS])
    sample = fed(source, "autoencoder")
    sizes = {layer.name: layer.weight.size for layer in chain.layers if layer.product}
    every = [layer.name for layer in chain.layers]
    large = [name for name, size in sizes.items() if size >= SHARE * sum(sizes.values())]

    def loss_alone(name: str, grid: str) -> float:
        poll()
        plan = dict.fromkeys(every, "float32") | {name: grid}
        near, _ = rounding.compensated(chain, sample, plan)
        return loss_with(few, "autoencoder", near, metric)

    losses = {(name, grid): loss_alone(name, grid) for name in large for grid in (WHOLE, *COARSER)}
    found: list[dict[str, str]] = [dict.fromkeys(large, WHOLE)]
    while True:
        last = found[-1]
        steps = {
            (name, grid): max(losses[name, grid] - losses[name, last[name]], 0.0)
            / (sizes[name] * (bits_of(last[name]) - bits_of(grid)))
            for name in large
            for grid in COARSER
            if bits_of(grid) < bits_of(last[name])
        }
        if not steps:
            return list(found)
        name, grid = min(steps, key=lambda step: (steps[step], bits_of(step[1])))
        found.append(last | {name: grid})
