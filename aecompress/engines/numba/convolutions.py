"""Steps of networks with convolutions: torch's products of patches, and compiled loops for all between them.

Each individual goes through some rows at a time, forward and backward, so that what a step reads lies in the cache of
the core that wrote it. Cores take individuals and halves of their batches; what a half is does not depend on who takes
it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aecompress.engines import workers
from aecompress.engines.compiling import PERMUTED
from aecompress.engines.numba.activations import BY_INPUT, LOSSES
from aecompress.engines.numba.links import Chain, Link, chain_of
from aecompress.engines.numba.steps import WORKSPACE, add_bias_and_activate, hidden_gradient, output_gradient
from aecompress.engines.numba.unfold import fold, unfold
from aecompress.layers.base import Shape
from aecompress.layers.reshape import Permute
from aecompress.nets.layers import Trace
from aecompress.nets.shapes import Autoencoder

TOGETHER = 32
"""Rows that go through the network together: their values stay in a core's cache."""
UNDIVIDED = 32
"""Rows of a batch that is not halved: a half has a gradient of its own, and adding the two up takes time."""


class Level(NamedTuple):
    """A link's values before and after its activation, ``[B, gives]``; one memory where its gradient needs no more."""

    pre: Tensor
    out: Tensor


class Turn(NamedTuple):
    """A link's memory while some rows go through it, and the matrices that its products read and write there.

    Views are made once, because making one costs as much as a small product. ``to`` and ``down`` are None where no
    gradient below is wanted.
    """

    below: NDArray[np.float32]
    """``[B, takes]``: what it is given."""
    pre: NDArray[np.float32]
    """``[B, gives]``: before its activation."""
    out: NDArray[np.float32]
    """``[B, gives]``: after it; the same memory where its gradient needs no more."""
    delta: NDArray[np.float32]
    """``[B, gives]``: the gradient before it."""
    to: NDArray[np.float32] | None
    """``[B, takes]``: the gradient at what it is given."""
    patches: NDArray[np.float32]
    """``[B, unfolded]``: of what it is given; the backward pass reads them again."""
    scratch: NDArray[np.float32]
    """``[B, unfolded]``: other patches, in memory that all links share."""
    left: Tensor
    """``[B x places, fan_in]``: what its weight is multiplied by."""
    made: Tensor
    """``[B x places, columns]``: their product."""
    here: Tensor
    """``[B x places, columns]``: the gradient at the product."""
    down: Tensor | None
    """``[B x places, fan_in]``: the gradient at ``left``."""


class Memory(NamedTuple):
    """The tensors that :class:`Turn` shows, ``[B, .]`` each."""

    below: Tensor
    pre: Tensor
    out: Tensor
    delta: Tensor
    to: Tensor | None
    patches: Tensor
    scratch: Tensor


def turn_of(link: Link, memory: Memory) -> Turn:
    """Return a link's memory as its products and loops see it."""
    below, pre, out, delta, to, patches, scratch = memory
    left, made, here, down = below, pre, delta, to
    if link.product == "patches":
        left, down = patches, None if to is None else scratch
    elif link.product == "folded":
        made = here = scratch
    return Turn(
        below=below.numpy(),
        pre=pre.numpy(),
        out=out.numpy(),
        delta=delta.numpy(),
        to=None if to is None else to.numpy(),
        patches=patches.numpy(),
        scratch=scratch.numpy(),
        left=left.view(-1, link.fan_in),
        made=made.view(-1, link.columns),
        here=here.view(-1, link.columns),
        down=None if down is None else down.view(-1, link.fan_in),
    )


class Space:
    """What a thread keeps in memory for its next step, as new memory costs a fault per page: for some rows of a chain.

    Nothing in it outlives a call.
    """

    def __init__(self, chain: Chain, rows: int) -> None:
        self.rows = rows
        self.shared = torch.empty(rows * max(link.unfolded for link in chain.links))
        self.deltas = torch.empty(2, rows * max(link.gives for link in chain.links))
        self.patches = [torch.empty(rows, link.unfolded if link.product == "patches" else 0) for link in chain.links]
        self.levels = [level_of(link, torch.empty(2, rows, link.gives)) for link in chain.links]
        self.inputs = torch.empty(rows, chain.links[0].takes)
        self.turns = self.turns_on(chain, self.inputs, self.levels)

    def turns_on(self, chain: Chain, inputs: Tensor, levels: Sequence[Level]) -> list[Turn]:
        """Return the memory of all links, with these ``inputs`` ``[B, D]`` and levels."""
        deltas = [
            self.deltas[at % 2, : self.rows * link.gives].view(self.rows, -1) for at, link in enumerate(chain.links)
        ]
        found = []
        for at, link in enumerate(chain.links):
            memory = Memory(
                below=levels[at - 1].out if at else inputs,
                pre=levels[at].pre,
                out=levels[at].out,
                delta=deltas[at],
                to=deltas[at - 1] if at else None,
                patches=self.patches[at],
                scratch=self.shared[: self.rows * link.unfolded].view(self.rows, -1),
            )
            found.append(turn_of(link, memory))
        return found


def level_of(link: Link, memory: Tensor) -> Level:
    """Return memory ``[2, B, gives]`` as a link's level."""
    return Level(memory[0], memory[1] if link.activation in BY_INPUT else memory[0])


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
    """``[fan_in, columns]`` of its product: of a product whose patches are folded ``[below, taps x units]``."""
    turned: Tensor
    """The same, ``[columns, fan_in]``."""
    bias: NDArray[np.float32]
    """``[1, gives]``."""
    slope: Tensor
    """The gradient, like ``weight``."""
    bias_slopes: NDArray[np.float32]
    """``[pieces, 1, gives]``: of each piece of the batch."""


def numbers_of(link: Link, weight: Tensor, bias: Tensor, slope: Tensor, pieces: int) -> Numbers:
    """Return a link's weight ``[fan_in, columns]``, bias ``[1, columns]`` and gradient as :class:`Numbers`."""
    if link.product == "folded":
        weight = weight.view(link.taps, link.fan_in, -1).transpose(0, 1).reshape(link.fan_in, -1)
        slope = torch.empty_like(weight)
    each = np.empty((1, link.gives), np.float32)
    each.reshape(-1, link.units)[:] = bias.numpy()
    return Numbers(weight, weight.t(), each, slope, np.empty((pieces, 1, link.gives), np.float32))


def put_slopes(link: Link, own: Numbers, slope: Tensor, bias_slope: Tensor) -> None:
    """Write the whole gradient where the population has it: ``[fan_in, columns]`` and ``[1, columns]``."""
    if link.product == "folded":
        slope.view(link.taps, link.fan_in, -1).copy_(own.slope.view(link.fan_in, link.taps, -1).transpose(0, 1))
    torch.sum(torch.from_numpy(own.bias_slopes).view(-1, link.units), 0, out=bias_slope[0])


def forward(link: Link, own: Numbers, turn: Turn) -> None:
    """Compute what a link gives before its activation, without its bias, in ``turn.pre``."""
    if link.patches is not None and link.product == "patches":
        unfold(link.patches, turn.below, turn.patches)
    torch.mm(turn.left, own.weight, out=turn.made)
    if link.patches is not None and link.product == "folded":
        fold(link.patches, turn.scratch, turn.pre)


def backward(link: Link, own: Numbers, turn: Turn, first: bool) -> None:
    """Go backward through a link from ``turn.delta``: add to its gradient, and give that below in ``turn.to``.

    Args:
        first: whether its gradient is begun, not added to.
    """
    if link.patches is not None and link.product == "folded":
        unfold(link.patches, turn.delta, turn.scratch)
    torch.addmm(own.slope, turn.left.t(), turn.here, beta=0 if first else 1, out=own.slope)
    if turn.to is None or turn.down is None:
        return
    torch.mm(turn.here, own.turned, out=turn.down)
    if link.patches is not None and link.product == "patches":
        fold(link.patches, turn.scratch, turn.to)


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
    links, space = own.chain.links, SPACES.take(own.chain, len(inputs))
    if levels is None:
        space.inputs.copy_(inputs)
    turns = space.turns if levels is None else space.turns_on(own.chain, inputs, levels)
    last = len(links) - 1
    for at, (link, numbers, turn) in enumerate(zip(links, own.numbers, turns, strict=True)):
        forward(link, numbers, turn)
        if at < last:
            add_bias_and_activate(link.activation, turn.pre, turn.out, numbers.bias)
    end = (turns[last].pre, target.numpy(), turns[last].delta, numbers.bias, numbers.bias_slopes[piece])
    output_gradient(links[last].activation, own.loss, end)
    for at in range(last, -1, -1):
        backward(links[at], own.numbers[at], turns[at], piece == 0)
        if at:
            below, slopes = turns[at - 1], own.numbers[at - 1].bias_slopes[piece]
            hidden_gradient(links[at - 1].activation, below.delta, below.pre, below.out, slopes)


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
    code_l1: float = 0.0,
    traced: bool = True,
) -> Trace:
    """Compute what :func:`aecompress.nets.autoencoder.gradient` does, of plain and denoising networks of links.

    Args:
        code_l1: 0: a penalty on the code is for other engines.
        traced: whether what the layers give is wanted.

    Returns:
        As that of :mod:`aecompress.engines.numba.steps`; empty where it is not wanted.
    """
    assert not code_l1
    chain, (cells, batch, width) = chain_of(net), rows.shape
    inputs = rows if noise is None else torch.add(rows, noise, alpha=noise_level)
    inputs, targets = laid(net, inputs), goals(net, rows)
    kept = [
        WORKSPACE.take(f"level {at}", (2, cells, batch, link.gives), rows)
        for at, link in enumerate(chain.links)
        if traced
    ]
    halves = halves_of(batch)
    others = {
        name: WORKSPACE.take(f"slope {name}", tuple(slope.shape), slope)
        for name, slope in gradients.items()
        if len(halves) > 1
    }
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
            levels = (
                [level_of(link, memory[:, cell, here]) for link, memory in zip(chain.links, kept, strict=True)]
                if traced
                else None
            )
            run(Pass(chain, numbers, factor), inputs[cell, here], targets[cell, here], levels, piece)
        for (link, weight, bias), own in zip(names, numbers, strict=True):
            put_slopes(link, own, slopes[weight][cell], slopes[bias][cell])

    workers.each(one, range(cells * len(halves)))
    for name, slope in others.items():
        gradients[name].add_(slope)
    return trace_of(net, chain, inputs, kept) if traced else Trace([], [], {})


def laid(net: Autoencoder, rows: Tensor) -> Tensor:
    """Return rows ``[P, B, D]`` in the order in which the first layer with weights is given their values."""
    for layer in itertools.takewhile(lambda layer: not layer.weighted, net.layers):
        if layer.kind == PERMUTED:
            rows = moved(rows, layer.given, cast(Permute, layer.layer).axes)
    return rows


def goals(net: Autoencoder, rows: Tensor) -> Tensor:
    """Return rows ``[P, B, D]`` in the order in which the last layer with weights gives their values."""
    for layer in itertools.takewhile(lambda layer: not layer.weighted, reversed(net.layers)):
        if layer.kind == PERMUTED:
            rows = moved(rows, layer.gives, np.argsort(cast(Permute, layer.layer).axes))
    return rows


def moved(rows: Tensor, shape: Shape, axes: Iterable[int]) -> Tensor:
    """Return rows ``[P, B, D]``, values of ``shape``, with its axes in another order, ``[P, B, D]``."""
    values = rows.view(*rows.shape[:2], *shape)
    return values.permute(0, 1, *(2 + int(axis) for axis in axes)).flatten(2)


def trace_of(net: Autoencoder, chain: Chain, inputs: Tensor, kept: Sequence[Tensor]) -> Trace:
    """Return the levels of a chain, ``[2, P, B, gives]`` each, as the forward pass of the network's layers."""
    trace = Trace([], [], {})
    for layer, maker in zip(net.layers, chain.makers, strict=True):
        if maker < 0:
            trace.pre.append(inputs.unflatten(2, layer.gives))
            trace.out.append(trace.pre[-1])
        else:
            pre, out = kept[maker].unflatten(3, layer.gives)
            trace.pre.append(pre)
            trace.out.append(out if chain.links[maker].activation in BY_INPUT else pre)
    return trace
