"""Steps of networks with convolutions: torch's products of patches, and compiled loops for all between them.

Each individual goes through some rows at a time, forward and backward, so that what a step reads lies in the cache of
the core that wrote it. Cores take individuals and halves of their batches; what a half is does not depend on who takes
it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aecompress.engines import workers
from aecompress.engines.numba.activations import GELU, LOSSES
from aecompress.engines.numba.links import Chain, Link, chain_of
from aecompress.engines.numba.steps import WORKSPACE, add_bias_and_activate, hidden_gradient, output_gradient
from aecompress.engines.numba.unfold import fold, unfold
from aecompress.nets import autoencoder
from aecompress.nets.layers import Trace
from aecompress.nets.shapes import Autoencoder

TOGETHER = 16
"""Rows that go through the network together: their values stay in a core's cache."""
UNDIVIDED = 8
"""Rows of a batch that is not halved: a half has a gradient of its own, and adding the two up takes time."""


class Values(NamedTuple):
    """The same memory, as both libraries see it."""

    torch: Tensor
    numpy: NDArray[np.float32]


def seen(memory: Tensor) -> Values:
    """Return memory as both libraries see it."""
    return Values(memory, memory.numpy())


class Level(NamedTuple):
    """A link's values before and after its activation, ``[B, gives]``: one memory where it is not gelu."""

    pre: Values
    out: Values


class Turn(NamedTuple):
    """A link's memory while some rows go through it."""

    level: Level
    patches: Values
    """``[B, unfolded]``: of what it is given, which its backward pass reads again."""
    scratch: Values
    """``[B, unfolded]``, which all links share."""
    delta: Values
    """``[B, gives]``: the gradient before its activation; the link above the next has the same memory."""


class Space:
    """What a thread keeps in memory for its next step, as new memory costs a fault per page: for some rows of a chain.

    Nothing in it outlives a call.
    """

    def __init__(self, chain: Chain, rows: int) -> None:
        unfolded = max(link.unfolded for link in chain.links)
        scratch, deltas = torch.empty(rows * unfolded), torch.empty(2, rows * max(link.gives for link in chain.links))
        self.turns = [
            Turn(
                level=level_of(link, torch.empty(2, rows, link.gives)),
                patches=seen(torch.empty(rows, link.unfolded if link.product == "patches" else 0)),
                scratch=seen(scratch[: rows * link.unfolded].view(rows, -1)),
                delta=seen(deltas[at % 2, : rows * link.gives].view(rows, -1)),
            )
            for at, link in enumerate(chain.links)
        ]


def level_of(link: Link, memory: Tensor) -> Level:
    """Return memory ``[2, B, gives]`` as a link's level."""
    pre = seen(memory[0])
    return Level(pre, seen(memory[1]) if link.activation == GELU else pre)


class Spaces(threading.local):
    """The spaces of a thread, of one chain, by their rows."""

    def __init__(self) -> None:
        self._chain: Chain | None = None
        self._kept: dict[int, Space] = {}

    def take(self, chain: Chain, rows: int) -> Space:
        """Return the thread's space for ``rows`` rows; what was in it is overwritten."""
        if self._chain is not chain:
            self._chain, self._kept = chain, {}
        if rows not in self._kept:
            self._kept[rows] = Space(chain, rows)
        return self._kept[rows]


SPACES = Spaces()


class Numbers(NamedTuple):
    """The weights of a link of one individual, and where its gradient goes, as its product and loops read them."""

    weight: Tensor
    """``[fan_in, columns]``; of a product whose patches are folded ``[below, taps x units]``."""
    bias: NDArray[np.float32]
    """``[1, gives]``."""
    slope: Tensor
    """The gradient, like ``weight``."""
    bias_slopes: NDArray[np.float32]
    """``[pieces, 1, gives]``: of each piece of the batch."""


def numbers_of(link: Link, weight: Tensor, bias: Tensor, slope: Tensor, pieces: int) -> Numbers:
    """Return a link's weight ``[fan_in, columns]``, bias ``[1, columns]`` and gradient as :class:`Numbers`."""
    if link.product == "folded":
        weight = weight.view(link.taps, link.below, link.units).transpose(0, 1).reshape(link.below, -1)
        slope = torch.empty_like(weight)
    wide = np.tile(bias.numpy(), link.gives // link.units)
    return Numbers(weight, wide, slope, np.empty((pieces, 1, link.gives), np.float32))


def put_slopes(link: Link, own: Numbers, slope: Tensor, bias_slope: Tensor) -> None:
    """Write the whole gradient where the population has it: ``[fan_in, columns]`` and ``[1, columns]``."""
    if link.product == "folded":
        slope.view(link.taps, link.below, -1).copy_(own.slope.view(link.below, link.taps, -1).transpose(0, 1))
    torch.sum(torch.from_numpy(own.bias_slopes).view(-1, link.units), 0, out=bias_slope[0])


def forward(link: Link, own: Numbers, below: Values, turn: Turn) -> None:
    """Compute a link's products from ``below`` ``[B, takes]``, without its bias, in ``turn``."""
    pre = turn.level.pre
    if link.patches is None:
        torch.mm(below.torch, own.weight, out=pre.torch)
    elif link.product == "patches":
        unfold(link.patches, below.numpy, turn.patches.numpy)
        torch.mm(turn.patches.torch.view(-1, own.weight.shape[0]), own.weight, out=pre.torch.view(-1, link.units))
    else:
        torch.mm(below.torch.view(-1, link.below), own.weight, out=turn.scratch.torch.view(-1, own.weight.shape[1]))
        fold(link.patches, turn.scratch.numpy, pre.numpy)


def backward(link: Link, own: Numbers, below: Values, turn: Turn, to: Values | None, first: bool) -> None:
    """Go backward through a link's product from its ``delta``: add to its gradient, and give that below.

    Args:
        to: ``[B, takes]``, where the gradient at what it was given goes; None: nowhere.
        first: whether its gradient is begun, not added to.
    """
    left, right = below.torch, turn.delta.torch
    if link.patches is not None and link.product == "patches":
        left, right = turn.patches.torch.view(-1, own.weight.shape[0]), right.view(-1, link.units)
    elif link.patches is not None:
        unfold(link.patches, turn.delta.numpy, turn.scratch.numpy)
        left, right = left.view(-1, link.below), turn.scratch.torch.view(-1, own.weight.shape[1])
    torch.addmm(own.slope, left.t(), right, beta=0 if first else 1, out=own.slope)
    if to is None:
        return
    if link.patches is not None and link.product == "patches":
        torch.mm(right, own.weight.t(), out=turn.scratch.torch.view_as(left))
        fold(link.patches, turn.scratch.numpy, to.numpy)
    else:
        torch.mm(right, own.weight.t(), out=to.torch.view_as(left))


class Pass(NamedTuple):
    """What rows go through: a chain with the numbers of one individual, and the loss's place and factor."""

    chain: Chain
    numbers: list[Numbers]
    loss: tuple[int, np.float32]


def run(own: Pass, inputs: Tensor, target: Tensor, levels: Sequence[Level] | None, piece: int) -> None:
    """Take some rows ``[B, D]`` forward and backward; adds to the gradients.

    Args:
        levels: where all levels are kept; None: nowhere.
        piece: which piece of the batch they are.
    """
    links, turns = own.chain.links, SPACES.take(own.chain, len(inputs)).turns
    if levels is not None:
        turns = [turn._replace(level=level) for turn, level in zip(turns, levels, strict=True)]
    below = [seen(inputs), *(turn.level.out for turn in turns[:-1])]
    last = len(links) - 1
    for at, (link, numbers, turn) in enumerate(zip(links, own.numbers, turns, strict=True)):
        forward(link, numbers, below[at], turn)
        if at < last:
            add_bias_and_activate(link.activation, turn.level.pre.numpy, turn.level.out.numpy, numbers.bias)
    end = (
        turns[last].level.pre.numpy, target.numpy(), turns[last].delta.numpy,
        own.numbers[last].bias, own.numbers[last].bias_slopes[piece],
    )  # fmt: skip
    output_gradient(links[last].activation, own.loss, end)
    for at in range(last, -1, -1):
        to = turns[at - 1].delta if at else None
        backward(links[at], own.numbers[at], below[at], turns[at], to, piece == 0)
        if to is not None:
            level, slopes = turns[at - 1].level, own.numbers[at - 1].bias_slopes[piece]
            hidden_gradient(links[at - 1].activation, to.numpy, level.pre.numpy, level.out.numpy, slopes)


def halves_of(batch: int) -> list[range]:
    """Return the pieces of each half of a batch, or of all of it, as the places where they begin, and its end."""
    parts = 1 if batch <= UNDIVIDED else 2
    bounds = [round(batch * part / parts) for part in range(parts + 1)]
    return [range(bounds[part], bounds[part + 1]) for part in range(parts)]


def pieces_of(half: range) -> list[slice]:
    """Return which rows go through the network together: pieces of nearly one size."""
    many = -(-len(half) // TOGETHER)
    bounds = [half.start + len(half) * piece // many for piece in range(many + 1)]
    return [slice(bounds[piece], bounds[piece + 1]) for piece in range(many)]


def gradient(
    net: Autoencoder,
    weights: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor],
    rows: Tensor,
    noise: Tensor | None,
    noise_level: float,
    *,
    loss: str,
    traced: bool = True,
) -> Trace:
    """Compute what :func:`aecompress.nets.autoencoder.gradient` does, of plain and denoising networks of links.

    Args:
        traced: whether what the layers give is asked for.

    Returns:
        As that of :mod:`aecompress.engines.numba.steps`; empty where it is not asked for.
    """
    chain, (cells, batch, width) = chain_of(net), rows.shape
    inputs = rows if noise is None else torch.add(rows, noise, alpha=noise_level)
    kept = [WORKSPACE.take(f"level {at}", (2, cells, batch, link.gives), rows) for at, link in enumerate(chain.links) if traced]
    halves = halves_of(batch)
    others = {name: WORKSPACE.take(f"slope {name}", tuple(slope.shape), slope) for name, slope in gradients.items() if len(halves) > 1}
    factor = (LOSSES.index(loss), np.float32(1 / (batch * width)))

    def one(job: int) -> None:
        cell, half = divmod(job, len(halves))
        pieces, slopes = pieces_of(halves[half]), others if half else gradients
        names = [(link, link.name + ".weight", link.name + ".bias") for link in chain.links]
        numbers = [
            numbers_of(link, weights[weight][cell], weights[bias][cell], slopes[weight][cell], len(pieces))
            for link, weight, bias in names
        ]
        for piece, here in enumerate(pieces):
            levels = [level_of(link, memory[:, cell, here]) for link, memory in zip(chain.links, kept, strict=True)] if traced else None
            run(Pass(chain, numbers, factor), inputs[cell, here], rows[cell, here], levels, piece)
        for (link, weight, bias), own in zip(names, numbers, strict=True):
            put_slopes(link, own, slopes[weight][cell], slopes[bias][cell])

    workers.each(one, range(cells * len(halves)))
    for name, slope in others.items():
        gradients[name].add_(slope)
    return trace_of(net, chain, inputs, kept) if traced else Trace([], [])


def trace_of(net: Autoencoder, chain: Chain, inputs: Tensor, kept: Sequence[Tensor]) -> Trace:
    """Return the levels of a chain, ``[2, P, B, gives]`` each, as the forward pass of the network's layers."""
    trace = Trace([], [])
    for layer, maker in zip(net.layers, chain.makers, strict=True):
        if maker < 0:
            trace.pre.append(inputs.unflatten(2, layer.gives))
            trace.out.append(trace.pre[-1])
        else:
            pre, out = kept[maker].unflatten(3, layer.gives)
            trace.pre.append(pre)
            trace.out.append(out if chain.links[maker].activation == GELU else pre)
    return trace
