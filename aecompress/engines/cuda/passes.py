"""Whole passes of narrow plain networks: which kernel trains them, in what shape, and its launch."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aecompress import rng
from aecompress.engines.base import Work
from aecompress.engines.cuda.records import ACTIVATIONS, Batches, Cells, Net, home_of, rule_of
from aecompress.engines.cuda.tables import step_tables
from aecompress.engines.training import Training, steps_per_generation
from aecompress.nets.shapes import Autoencoder
from aecompress.population.stats import ActivationStats

WIDEST, LARGEST_BATCH, MOST_PARTS = 64, 64, 64
"""Units of a layer between the ends, rows of a batch, blocks of a cell."""
STRETCH = 64
"""Inputs of a block, or of one turn of a block."""
PLAIN, SHORT = "ieee", "tf32x3"
"""Products of float32 numbers one by one, and as three of shorter numbers."""
ROWS, MIXED, FEW_ROWS = "rows", "mixed", 8
"""Products of few rows: as sums over tiles; only gradients as such sums; and up to how many rows they are few."""
FEW = ROWS, MIXED
PLAIN_PRODUCTS = 16_384
"""Multiply-adds of a product up to which a warp makes them one by one."""
SAFE_ROWS = 16
"""Rows of a tile above which products of shorter numbers are not trusted: of 64 rows they become Hopper's warp-group
products, with which a kernel read memory that was not there (triton-lang/triton#11366)."""
SAFE_WIDTH = 32
"""Columns of a tile, likewise."""
MULTIPROCESSORS, MANY_BLOCKS = 132, 528
"""Of one card; blocks that are many: four a multiprocessor."""
ROWS_WARPS = 2
"""Of a block whose products are sums over a tile of 32 units; more warps probably collide in shared memory."""
REGISTERS, SHARED_BYTES, MOST_BLOCKS = 65_536, 98_304, 16
"""Of a multiprocessor, on every card: registers; bytes of shared memory, at least; blocks at once, at least."""
PATIENCE = 200_000
"""Looks at a counter, some 200 ms, before a block gives up waiting for the others."""


def unfit(net: Autoencoder, batch: int) -> str:
    """Return why whole passes cannot train this network, as a clause for the user; "" where they can."""
    why = not_narrow(net, batch)
    form = form_of(net, batch, False)
    if not why and form.batch_tile > SAFE_ROWS and (form.parts > 1 or form.product == SHORT):
        inputs, hidden = net.layers[0].inputs, max(layer.outputs for layer in net.layers[:-1])
        return (
            f"whole passes on a GPU have at most {SAFE_ROWS} rows per step of a network of this size, not {batch}: "
            f"{inputs} inputs, {hidden} units"
        )
    return why


def not_narrow(net: Autoencoder, batch: int) -> str:
    """Return why the kernels' tiles do not hold this network and its batches, as a clause; "" where they do."""
    hidden = max(layer.outputs for layer in net.layers[:-1])
    other = sorted({layer.activation for layer in net.layers} - set(ACTIVATIONS))
    kinds = sorted({layer.kind for layer in net.layers} - {"dense"})
    if kinds:
        return f"layers of kind {kinds[0]!r} are not trained in whole passes on a GPU"
    if any(layer.units != layer.outputs for layer in net.layers):
        return "dense layers with places are not trained in whole passes on a GPU"
    if hidden > WIDEST:
        return f"whole passes on a GPU have layers of at most {WIDEST} units between the ends, not {hidden}"
    if batch > LARGEST_BATCH:
        return f"whole passes on a GPU have at most {LARGEST_BATCH} rows per step, not {batch}"
    return f"whole passes on a GPU have no activation {other[0]!r}" if other else ""


def power_of_two(size: int, least: int = 16) -> int:
    """Return the power of two that is at least ``size``, and ``least``."""
    return max(1 << max(size - 1, 0).bit_length(), least)


class Form(NamedTuple):
    """The compile-time sizes of the kernels for a network and a batch."""

    width: int
    """W: columns of the tiles between the ends."""
    batch: int
    """B."""
    batch_tile: int
    """BP."""
    stretch: int
    """C."""
    parts: int
    """S."""
    warps: int
    product: str
    """How exact the split kernel's products are: plain float32 where tiles are small, and faster so."""


def form_of(net: Autoencoder, batch: int, one_block: bool) -> Form:
    """Return the sizes; with ``one_block`` a block takes all inputs, for Triton's interpreter."""
    inputs, width = net.layers[0].inputs, power_of_two(max(layer.outputs for layer in net.layers[:-1]))
    stretch = power_of_two(inputs) if one_block else min(power_of_two(inputs), STRETCH)
    few = batch <= FEW_ROWS
    tile = power_of_two(batch, 4 if few else 16)
    warps = 8 if tile * width > 1024 else 4
    plain = PLAIN if tile * width * stretch <= PLAIN_PRODUCTS * warps else SHORT
    return Form(
        width=width,
        batch=batch,
        batch_tile=tile,
        stretch=stretch,
        parts=-(-inputs // stretch),
        warps=warps,
        product=MIXED if few else plain,
    )


def whole_form(net: Autoencoder, batch: int, cells: int) -> Form:
    """Return the sizes of the kernel of one block a cell; of few cells a block has a multiprocessor to itself."""
    form = form_of(net, batch, False)
    warps, stretch = (8, 128) if cells <= MULTIPROCESSORS else (form.warps, STRETCH)
    stretch = min(power_of_two(net.layers[0].inputs), stretch)
    tile = max(form.batch_tile, 16)
    return form._replace(stretch=stretch, parts=1, warps=warps, batch_tile=tile, product=SHORT)


def step_form(net: Autoencoder, batch: int, cells: int) -> Form:
    """Return the sizes of the kernels that make one step; of many blocks the products are made in another way.

    Few blocks wait for each product, many for their turn: then what counts is how much a product occupies.
    """
    form = form_of(net, batch, False)
    if cells * form.parts <= MANY_BLOCKS:
        return form
    if form.product in FEW:
        return form._replace(product=ROWS, warps=ROWS_WARPS * max(form.width // 32, 1))
    short = form.batch_tile <= SAFE_ROWS and form.width <= SAFE_WIDTH
    return form._replace(product=SHORT if short else form.product)


class Scratch(NamedTuple):
    """What the blocks of a narrow step leave to each other, and the form of its kernels."""

    form: Form
    tensors: tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
    """How many blocks of a cell have come, int32 ``[P]``, 0 between launches; products up and down ``[P, S, BP, W]``;
    what the first K - 1 layers gave, ``[P, K - 1, BP, W]``; the gradient before the first activation, ``[P, BP, W]``.
    """


def scratch_for(work: Work) -> Scratch | None:
    """Return what the narrow steps of a block need; None where it is not trained in them."""
    if not in_narrow_steps(work):
        return None
    batch = min(work.training.batch, work.rows.shape[0])
    return scratch_of(work, step_form(work.net, batch, len(work.block)))


def scratch_of(work: Work, form: Form) -> Scratch:
    """Return the memory for a form."""
    cells, layers, tile = len(work.block), len(work.net.layers), (form.batch_tile, form.width)
    device = work.rows.device
    products = torch.empty((2, cells, form.parts, *tile), device=device)
    outs, delta = (torch.empty(shape, device=device) for shape in ((cells, layers - 1, *tile), (cells, *tile)))
    arrived = torch.zeros(cells, dtype=torch.int32, device=device)
    return Scratch(form, (arrived, products[0], products[1], outs, delta))


def in_narrow_steps(work: Work) -> bool:
    """Return whether a step of this training is made in two launches."""
    training = work.training
    plain = training.noise == "none" and training.products is None and not training.code_l1
    plain = plain and isinstance(work.rows, Tensor)
    return plain and has_narrow_steps(work.net, min(training.batch, work.rows.shape[0]))


def has_narrow_steps(net: Autoencoder, batch: int) -> bool:
    """Return whether the kernels of narrow steps hold this network and its batches."""
    return not not_narrow(net, batch) and form_of(net, batch, False).product != SHORT


@functools.lru_cache(maxsize=64)
def chain_of(net: Autoencoder) -> tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]]:
    """Return the sizes, offsets and activations of :class:`aecompress.engines.cuda.records.Net`."""
    layers, slots = net.layers, net.layout.slots
    sizes = (layers[0].inputs, *(layer.outputs for layer in layers))
    offsets = tuple(slots[f"{layer.name}.{kind}"].offset for layer in layers for kind in ("weight", "bias"))
    return sizes, offsets, tuple(layer.activation for layer in layers)


def resident(registers: int, shared: int, warps: int, device: torch.device) -> int:
    """Return how many blocks of a kernel the device holds at once.

    Args:
        registers: of a thread.
        shared: bytes of shared memory of a block.
    """
    card, threads = torch.cuda.get_device_properties(device), 32 * warps
    of_registers = REGISTERS // (-(-registers // 8) * 8 * threads)
    of_memory = getattr(card, "shared_memory_per_multiprocessor", SHARED_BYTES) // (shared + 1024)
    of_threads = card.max_threads_per_multi_processor // threads
    return int(card.multi_processor_count * min(of_registers, of_memory, of_threads, MOST_BLOCKS))


def net_of(net: Autoencoder, form: Form, training: Training, loss: str, stats: ActivationStats | None) -> Net:
    """Return what is fixed when a kernel is compiled."""
    sizes, offsets, acts = chain_of(net)
    return Net(
        sizes=sizes,
        offsets=offsets,
        acts=acts,
        rule=rule_of(training),
        loss=loss,
        batch=form.batch,
        tile=form.batch_tile,
        width=form.width,
        stretch=form.stretch,
        parts=form.parts,
        precision=form.product,
        end_precision=form.product,
        stats_batch=stats.total.shape[1] if stats else 0,
        units=stats.total.shape[2] if stats else 0,
    )


class Launch(NamedTuple):
    """What both kernels take."""

    cells: Cells
    data: Batches
    place: int
    """Of the block's first cell among ``cells``."""
    net: Net
    warps: int


def launch_of(work: Work, form: Form) -> Launch:
    """Return the kernels' arguments for some steps of a pass."""
    block, training, rows = work.block, work.training, work.rows
    assert isinstance(rows, Tensor)
    count, of = rows.shape[0], steps_per_generation(rows.shape[0], training.batch)
    order = rng.permutation(training.seed, "batches", block.generation, work.cells, 0, count)
    tables = step_tables(training, block.generation, of, work.steps, block.weights)
    cells, place = home_of(block)
    net = net_of(work.net, form, training, training.loss(block.generation), block.stats)
    data = Batches(rows=rows, order=order, row_count=count, tables=tables, between=())
    return Launch(cells=cells, data=data, place=place, net=net, warps=form.warps)


def train(work: Work) -> None:
    """Train every cell of a block on some batches of its own shuffled pass, in one launch.

    Updates the block's weights, moments and activation statistics in place.
    """
    work.poll()
    if not work.steps:
        return
    batch = min(work.training.batch, work.rows.shape[0])
    on_cpu = work.block.weights.device.type == "cpu"
    form = form_of(work.net, batch, on_cpu)
    launch = launch_of(work, form)
    if not split(work, launch):
        form = whole_form(work.net, batch, len(work.block))
        net = net_of(work.net, form, work.training, launch.net.loss, work.block.stats)
        whole(work, launch._replace(net=net, warps=form.warps))


def whole(work: Work, launch: Launch) -> None:
    """Launch one block a cell."""
    from aecompress.engines.cuda.pass_kernels import whole_kernel

    steps = work.steps
    whole_kernel[(len(work.block),)](
        launch.cells, launch.data, launch.place, steps.start, len(steps), NET=launch.net, num_warps=launch.warps
    )


def split(work: Work, launch: Launch) -> bool:
    """Launch S blocks a cell, if they are all resident at once; return whether they are."""
    from aecompress.engines.cuda.pass_kernels import split_kernel

    net, cells, device = launch.net, len(work.block), work.block.weights.device
    if net.parts > MOST_PARTS:
        return False
    products = torch.empty((2, cells, net.parts, net.tile, net.width), device=device)
    counters = torch.zeros(cells, dtype=torch.int32, device=device)
    between = products[0], products[1], counters, fault_flag(device), PATIENCE
    launch = launch._replace(data=launch.data._replace(between=between))
    blocks = cells * net.parts
    if net.parts > 1 and blocks > at_once(work, launch):
        return False
    arguments = launch.cells, launch.data, launch.place, work.steps.start, len(work.steps)
    split_kernel[(blocks,)](*arguments, NET=net, num_warps=launch.warps)
    return True


_at_once: dict[tuple[Any, ...], int] = {}


def at_once(work: Work, launch: Launch) -> int:
    """Return how many blocks of the split kernel the device holds at once; compiles it for this launch."""
    from aecompress.engines.cuda.pass_kernels import split_kernel

    device, numbers = work.block.weights.device, (launch.cells.n, launch.data.row_count)
    tensors = [each for each in (*launch.cells, *launch.data) if isinstance(each, Tensor)]
    key = (device, *[(each.dtype, each.data_ptr() % 16) for each in tensors], *numbers, launch.net, launch.warps)
    if key not in _at_once:
        arguments = launch.cells, launch.data, launch.place, work.steps.start, len(work.steps)
        compiled = split_kernel.warmup(*arguments, grid=(launch.net.parts,), NET=launch.net, num_warps=launch.warps)
        assert compiled.run is not None  # which loads it, and so learns how many registers it takes
        _at_once[key] = resident(compiled.n_regs, compiled.metadata.shared, launch.warps, device)
    return _at_once[key]


@functools.cache
def fault_flag(device: torch.device) -> Tensor:
    """Return the device's fault flag, int32 ``[1]``: 1 once the blocks of a cell have not met."""
    return torch.zeros(1, dtype=torch.int32, device=device)


def taken_fault(device: torch.device) -> Tensor:
    """Return the fault flag of all that was trained until now, int32 ``[1]`` on the device; it is 0 again then."""
    flag = fault_flag(device)
    taken = flag.clone()
    flag.zero_()
    return taken
