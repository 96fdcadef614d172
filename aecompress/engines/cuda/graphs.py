"""Training steps captured once as CUDA graphs and replayed for every batch."""

from __future__ import annotations

import functools
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from aecompress.engines import eager
from aecompress.engines.base import Work
from aecompress.engines.cuda.available import kernels_on
from aecompress.engines.cuda.passes import in_narrow_steps
from aecompress.engines.cuda.records import ACTIVATIONS
from aecompress.engines.cuda.steps import Buffers, Pieces, Update, empty, fill, new_buffers, step, torch_gradient
from aecompress.population.state import Population

HELD = 12
"""Blocks whose graphs are held: as many sizes as the waves of an asynchronous ring have, and more."""
HELD_BYTES = 1 << 30
"""Of buffers, above which only one block's are held."""


@dataclass(frozen=True)
class Graphs:
    """The buffers of a block and the replays of its steps, by loss and rows of a batch."""

    buffers: Buffers
    replays: dict[tuple[str, int], Callable[[], None]] = field(default_factory=dict)

    def serves(self, work: Work) -> bool:
        """Return whether it was made for this training, these rows and blocks of this size."""
        mine = self.buffers
        return mine.net is work.net and mine.training is work.training and mine.rows is work.rows


_held: OrderedDict[tuple[int, int, int, int, bool], Graphs] = OrderedDict()
_lock = threading.Lock()


def graphs_for(work: Work) -> Graphs:
    """Return the graphs for a block, new or from an earlier call; the least used are let go of.

    They hold what they were captured with, so no key can be that of another object.
    """
    block = work.block
    key = (id(work.net), id(work.training), id(work.rows), len(block), block.stats is not None)
    with _lock:
        if key not in _held or not _held[key].serves(work):
            for other in [other for other, graphs in _held.items() if graphs.buffers.rows is not work.rows]:
                del _held[other]  # of another run, which has ended
            make_place(block_bytes(block))
            _held[key] = Graphs(new_buffers(work))
        _held.move_to_end(key)
        return _held[key]


def make_place(needed: int) -> None:
    """Let go of the least used graphs, so that those of a block of ``needed`` bytes can be held too."""
    while _held and (len(_held) >= HELD or needed + sum(held_bytes()) > HELD_BYTES):
        _held.popitem(last=False)


def held_bytes() -> list[int]:
    """Return the bytes of the blocks in the buffers that are held."""
    return [block_bytes(graphs.buffers.block) for graphs in _held.values()]


def block_bytes(block: Population) -> int:
    """Return the bytes of a block's tensors, and of a gradient and masks as numbers."""
    return sum(tensor.nbytes for tensor in block.tensors().values()) + 2 * block.weights.nbytes


TORCH = Pieces(torch_gradient, cast(Update, eager.masked_update))  # whose numbers may be tensors
"""A step of torch's operations."""


def in_kernels(work: Work) -> bool:
    """Return whether kernels can make the steps: in float32, with triton and a GPU."""
    return work.block.weights.dtype == torch.float32 and kernels_on(work.block.weights.device)


def pieces_for(work: Work) -> Pieces:
    """Return what a step is made of: few kernels where there is triton and a GPU, else torch's operations."""
    if not in_kernels(work):
        return TORCH
    from aecompress.engines.cuda.step_kernels import fused_gradient
    from aecompress.engines.cuda.update_kernel import fused_update

    layers = work.net.layers
    flat = all(layer.kind == "dense" and layer.units == layer.outputs for layer in layers)
    plain = work.net.log_variance is None and not work.training.code_l1 and flat
    dense = isinstance(work.rows, Tensor)
    fused = plain and dense and all(layer.activation in ACTIVATIONS for layer in layers)
    return Pieces(fused_gradient if fused else torch_gradient, fused_update)


def captured(body: Callable[[], None], rewind: Callable[[], None]) -> Callable[[], None]:
    """Return the replay of ``body`` as a CUDA graph, after two calls of it, which compile and allocate.

    Who calls it keeps alive all that ``body`` reads.

    Args:
        rewind: called before each call of ``body``, which must not run past the pass.
    """
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            rewind()
            body()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        body()
    return graph.replay


def body_of(buffers: Buffers, work: Work, loss: str, batch: int) -> Callable[[], None]:
    """Return the step at the buffers' counter, with ``batch`` rows."""
    if narrow(work):
        from aecompress.engines.cuda.narrow_kernels import narrow_step

        return functools.partial(narrow_step, buffers, loss)
    return functools.partial(step, buffers, loss, batch, pieces_for(work))


def narrow(work: Work) -> bool:
    """Return whether a step is made in three launches, of as many rows as are left."""
    return in_kernels(work) and in_narrow_steps(work)


def replay_of(graphs: Graphs, work: Work, batch: int) -> Callable[[], None]:
    """Return the replay of a step with ``batch`` rows; captured where it is the first, after which buffers are stale.

    On a CPU it is the step itself.
    """
    loss, buffers = work.training.loss(work.block.generation), graphs.buffers
    key = loss, 0 if narrow(work) else batch
    if key not in graphs.replays:
        body = body_of(buffers, work, loss, batch)
        graphs.replays[key] = captured(body, buffers.rewind) if buffers.rows.device.type == "cuda" else body
    return graphs.replays[key]


def train(work: Work) -> None:
    """Train every cell of a block on some batches of its own shuffled pass over the rows.

    Updates the block's weights, moments and activation statistics in place.
    """
    count, batch = work.rows.shape[0], work.training.batch
    graphs = graphs_for(work)
    sizes = [min(batch, count - number * batch) for number in work.steps]
    replays = {size: replay_of(graphs, work, size) for size in sorted(set(sizes))}
    fill(graphs.buffers, work)
    if sizes and narrow(work):
        from aecompress.engines.cuda.narrow_kernels import begin

        begin(graphs.buffers)
    for size in sizes:
        work.poll()
        replays[size]()
    if sizes:
        empty(graphs.buffers, work)
