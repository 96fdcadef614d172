"""What the rest of the package calls: whole passes of training, evaluation, and compiling ahead."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from aecompress.children import isolated
from aecompress.engines import eager, workers
from aecompress.engines.base import Evaluation, Work
from aecompress.engines.numba.activations import L1, LOSSES, MSE, RELU
from aecompress.engines.numba.cache import completion_mark
from aecompress.engines.numba.cell import Batches, Stats, evaluate_cell, train_cell
from aecompress.engines.numba.jit import LINE
from aecompress.engines.numba.layout import Cell, Floats, Ints, aligned, layer_table, load_row
from aecompress.engines.numba.pieces import WHOLE_BATCH, Workspace, train_shared
from aecompress.engines.numba.shuffle import Order, warm_order
from aecompress.engines.numba.steps import (
    add_bias_and_activate,
    hidden_gradient,
    output_gradient,
    rule_of,
    update_cells,
)
from aecompress.engines.numba.unfold import Axis, fold, patches_of, unfold
from aecompress.engines.numba.updates import Rule, Slopes, Weights
from aecompress.engines.training import step_size, steps_per_generation
from aecompress.nets.rows import RowSet, SparseTensor, StoredTensor, chunks
from aecompress.nets.shapes import Autoencoder
from aecompress.polling import Poll
from aecompress.population.state import Population

CALL_FLOP = 500_000_000
"""Floating-point operations of one call into the loop: some tens of milliseconds, after which a stop is obeyed."""
READ_VALUES = 1 << 22
"""Values of rows that are read at once, where they do not fit memory."""
FEWEST_TURNS, MOST_TURNS = 1 << 18, 1 << 24
"""Bounds of the turns that are held over all cells of a block, eight bytes each."""


def table_of(net: Autoencoder) -> tuple[Ints, int]:
    """Return the network's :func:`aecompress.engines.numba.layout.layer_table`."""
    return layer_table([(layer.inputs, layer.outputs, layer.activation) for layer in net.layers])


def train(work: Work) -> None:
    """Train as :func:`aecompress.engines.eager.train` does, plain autoencoders in float32 on a CPU, a cell per core.

    The same batches and formulas; results agree to rounding, and a cell's do not depend on the block it is in.
    """
    training, steps = work.training, work.steps
    batch, large = training.batch, training.batch > WHOLE_BATCH
    layers, floats = table_of(work.net)
    cells, stats, rule = cells_of(work.block), stats_of(work.block), rule_of(training, training.persistent_masks)
    source = work.rows
    assert not isinstance(source, SparseTensor)  # which are trained uncompiled
    loss = LOSSES.index(training.loss(work.block.generation))
    order = Order(training.seed, work.block.generation, work.cells, len(source))
    sizes, epsilons = step_sizes(work)
    stride = stride_of(work)
    window = max(1, held_turns(work) // (stride * batch)) * stride
    # Where there are fewer cells than cores, those without one help with another's, whose buffers they share.
    shared = [aligned(6, floats) for _ in cells] if large and len(cells) < workers.cores() else []
    own = threading.local()  # each core keeps its buffers from cell to cell: new memory costs a fault per page
    for first in range(steps.start, steps.stop, stride):
        work.poll()
        last = min(first + stride, steps.stop)
        if (first - steps.start) % window == 0:
            begin, end = first * batch, min(first + window, steps.stop) * batch
            turns = order.part(begin, min(end, len(source)))
        part, taken = slice(first - steps.start, last - steps.start), slice(first * batch - begin, last * batch - begin)
        both = [given(source, turns[cell][taken]) for cell in range(len(cells))] if shared else []
        gates = np.zeros((len(cells), LINE), np.int64)  # no two on one cache line

        def one(
            job: int,
            part: slice = part,
            taken: slice = taken,
            turns: list[Ints] = turns,
            both: list[tuple[Floats, Ints]] = both,
            gates: Ints = gates,
        ) -> None:
            cell = job % len(cells)
            rows, order = both[cell] if shared else given(source, turns[cell][taken])
            if not shared and not hasattr(own, "buffers"):
                own.buffers = aligned(6 if large else 4, floats)
            buffers = shared[cell] if shared else own.buffers
            batches = Batches(
                rows=rows,
                order=order,
                size=batch,
                steps=sizes[part],
                epsilons=epsilons[part],
                loss=loss,
            )
            if large:
                workspace = Workspace(buffers[:4], buffers[4:], gates[cell])
                train_shared(layers, workspace, cells[cell], batches, rule, stats[cell])
            else:
                train_cell(layers, buffers, cells[cell], batches, rule, stats[cell])

        workers.each(one, range(len(cells) * (2 if shared else 1)))


def stride_of(work: Work) -> int:
    """Return the steps of a call into the loop: few enough for a stop, and for the memory of rows that are read."""
    batch, flop = work.training.batch, 6 * work.net.layout.size
    many = CALL_FLOP // (flop * batch)
    if isinstance(work.rows, StoredTensor):
        many = min(many, READ_VALUES // (batch * work.rows.shape[1]))
    return max(1, many)


def held_turns(work: Work) -> int:
    """Return how many turns of each cell's order are held: such that all take a small part of what the rows take."""
    count, inputs = work.rows.shape
    return min(max(count * inputs // 32, FEWEST_TURNS), MOST_TURNS) // len(work.cells)


def given(rows: Tensor | StoredTensor, turns: Ints) -> tuple[Floats, Ints]:
    """Return rows ``[N, D]`` and which of them a part of a pass takes: all rows, or those alone, read now."""
    if isinstance(rows, Tensor):
        return rows.numpy(), turns
    return rows.source.take(turns), np.arange(len(turns))


def cells_of(block: Population) -> list[Cell]:
    """Return the rows of every cell of a block; training writes through them."""
    weights, masks, rates = block.weights.numpy(), block.masks.numpy(), block.learning_rate.numpy()
    none = np.zeros((len(weights), 1), np.float32)
    first, second = (none, none) if block.moments is None else (moment.numpy() for moment in block.moments)
    return [
        Cell(weights=row, mask=mask, first=one, second=two, rate=rate)
        for row, mask, one, two, rate in zip(weights, masks, first, second, rates, strict=True)
    ]


def stats_of(block: Population) -> list[Stats]:
    """Return the sums of activations of every cell of a block; training adds to them."""
    stats = block.stats
    if stats is None:
        return [Stats(False, np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1))] * len(block.weights)
    sums = (stats.total.numpy(), stats.square.numpy(), stats.count.numpy())
    return [Stats(True, *rows) for rows in zip(*sums, strict=True)]


def step_sizes(work: Work) -> tuple[Floats, Floats]:
    """Return step size, as a share of a cell's rate, and epsilon of every step, float32 ``[steps]`` each."""
    count = steps_per_generation(work.rows.shape[0], work.training.batch)
    first, all_steps = work.block.generation * count, work.training.generations * count
    pairs = [step_size(work.training, first + step, all_steps) for step in work.steps]
    sizes, epsilons = np.array(pairs, np.float32).reshape(-1, 2).T.copy()
    return sizes, epsilons


def evaluate(net: Autoencoder, weights: Tensor, parts: Sequence[RowSet], metric: str, poll: Poll) -> Evaluation:
    """Compute what :func:`aecompress.engines.eager.evaluate` does, a cell per core."""
    if metric == "bce":
        return eager.evaluate(net, weights, parts, metric, poll)
    layers, floats = table_of(net)
    own, loss = weights.numpy(), LOSSES.index(metric)
    ends, totals = np.cumsum(net.layer_sizes), np.zeros((len(own), len(parts)))

    def zeros_of(cell: int) -> list[int]:
        row = own[cell, : net.model_size]
        return [part.size - int(np.count_nonzero(part)) for part in np.split(row, ends[:-1])]

    for pieces in pieces_of(parts):

        def one(cell: int, pieces: Pieces = pieces) -> None:
            buffer = aligned(1, floats)[0]
            load_row(layers, own[cell], buffer)
            for at, rows in pieces:
                totals[cell, at] = evaluate_cell(layers, buffer, rows, loss, totals[cell, at])

        cells = max(1, CALL_FLOP // (2 * net.layout.size * sum(len(rows) for _, rows in pieces)))
        for first in range(0, len(own), cells):
            poll()
            workers.each(one, range(first, min(first + cells, len(own))))
    losses = torch.tensor(totals / [part.shape[0] * part.shape[1] for part in parts], dtype=weights.dtype)
    zeros = workers.each(zeros_of, range(len(own)))
    return Evaluation(list(losses.T), torch.tensor(zeros, dtype=torch.int32))


Pieces = list[tuple[int, Floats]]
"""Rows with the number of the part they are of."""


def pieces_of(parts: Sequence[RowSet]) -> Iterator[Pieces]:
    """Yield what cells are evaluated on: first all rows in memory, then stretches of those that are read."""
    if held := [(at, part.numpy()) for at, part in enumerate(parts) if isinstance(part, Tensor)]:
        yield held
    for at, part in enumerate(parts):
        if isinstance(part, StoredTensor):
            for rows in chunks(part, max(1, READ_VALUES // part.shape[1])):
                yield [(at, rows.numpy())]


def warm() -> None:
    """Compile every loop that is called from outside, or load it from the cache of an earlier process."""
    layers, floats = layer_table([(2, 1, "relu"), (1, 2, "sigmoid")])
    row, rows, mask, one = np.zeros(7, np.float32), np.zeros((1, 2), np.float32), np.ones(7, np.bool_), np.float32(0.5)
    steps, order = np.ones(1, np.float32), np.zeros(1, np.int64)
    rule = Rule(fresh=True, persistent=False, rest1=one, beta2=one, rest2=one)
    work = (
        Cell(weights=row, mask=mask, first=row, second=row, rate=one),
        Batches(rows=rows, order=order, size=1, steps=steps, epsilons=steps, loss=L1),
        rule,
        Stats(False, np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1)),
    )
    train_cell(layers, aligned(4, floats), *work)
    train_shared(layers, Workspace(aligned(4, floats), aligned(2, floats), np.zeros(2, np.int64)), *work)
    evaluate_cell(layers, aligned(1, floats)[0], rows, L1, np.float64(0))
    warm_order()
    load_row(layers, row, aligned(1, floats)[0])
    block = np.zeros((1, 7), np.float32)
    for line, coded in ((block, rows), (np.zeros((1, 7), np.int16), np.zeros((1, 2), np.int16))):
        update_cells(Weights(block, mask[None], block, block), Slopes(line, line), rule, steps, one)
        add_bias_and_activate(RELU, coded, coded, coded)
        output_gradient(RELU, (MSE, one), (coded, rows, coded, coded, coded))
        hidden_gradient(RELU, coded, coded, coded, coded)
    for units in (1, 8):
        tables = patches_of([Axis(size=1, places=1, kernel=1, stride=1, padding=0, dilation=1)], units)
        values = np.zeros((1, units), np.float32)
        unfold(tables, values, values.copy())
        fold(tables, values, values.copy())


def prepare(poll: Poll) -> None:
    """Have a child process compile all loops into the cache, because a compilation here could not be stopped.

    Does nothing where that was done before for this machine, nor where nothing can be kept."""
    directory = train_cell.stats.cache_path
    if directory is None:
        return
    mark = completion_mark(Path(directory))
    if mark.exists():
        return
    command = isolated(f"from {__name__} import warm; warm()")
    child = subprocess.Popen(command, start_new_session=True)
    try:
        while child.poll() is None:
            poll()
            time.sleep(0.05)
    except BaseException:
        child.kill()
        child.wait()
        raise
    if child.returncode == 0:
        with contextlib.suppress(OSError):
            mark.touch()
