"""Whole passes of narrow plain networks: which kernel trains them, in what shape, and its launch."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aecompress import rng
from aecompress.engines.base import Work
from aecompress.engines.cuda.tables import step_tables
from aecompress.engines.training import steps_per_generation
from aecompress.errors import DeviceError
from aecompress.nets.autoencoder import Autoencoder

WIDEST, LARGEST_BATCH, MOST_PARTS = 64, 64, 64
"""Units of a layer between the ends, rows of a batch, blocks of a cell."""
ACTIVATIONS = ("identity", "leaky-relu", "relu", "sigmoid", "tanh")
STRETCH = 64
"""Inputs of a block, or of one turn of a block."""
PLAIN, SHORT = "ieee", "tf32x3"
"""Products of float32 numbers one by one, and as three of shorter numbers."""
PLAIN_PRODUCTS = 16_384
"""Multiply-adds of a product up to which a warp makes them one by one."""
SAFE_ROWS = 16
"""Rows of a tile above which products of shorter numbers are not trusted: of 64 rows they become Hopper's warp-group
products, with which a kernel read memory that was not there (triton-lang/triton#11366)."""
SAFE_WIDTH = 32
"""Columns of a tile, likewise."""
MANY_BLOCKS = 528
"""Four a multiprocessor."""
REGISTERS, SHARED_BYTES, MOST_BLOCKS = 65_536, 98_304, 16
"""Of a multiprocessor, on every card: registers; bytes of shared memory, at least; blocks at once, at least."""
PATIENCE = 200_000
"""Looks at a counter, some 200 ms, before a block gives up waiting for the others."""


def unfit(net: Autoencoder, batch: int) -> str:
    """Return why whole passes cannot train this network, as a clause for the user; "" where they can."""
    why = not_narrow(net, batch)
    form = form_of(net, batch, False)
    if not why and form.batch_tile > SAFE_ROWS and (form.parts > 1 or form.product != PLAIN):
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
    tile = power_of_two(batch)
    warps = 8 if tile * width >= 1024 else 4
    product = PLAIN if tile * width * stretch <= PLAIN_PRODUCTS * warps else SHORT
    return Form(width, batch, tile, stretch, -(-inputs // stretch), warps, product)


def step_form(net: Autoencoder, batch: int, cells: int) -> Form:
    """Return the sizes of the kernels that make one step; of many blocks the products are of shorter numbers.

    Few blocks wait for each product, many for their turn: then what counts is how much a product occupies.
    """
    form = form_of(net, batch, False)
    short = cells * form.parts > MANY_BLOCKS and form.batch_tile <= SAFE_ROWS and form.width <= SAFE_WIDTH
    return form._replace(product=SHORT if short else form.product)


def in_narrow_steps(work: Work) -> bool:
    """Return whether a step of this training can be made in three launches."""
    training, net = work.training, work.net
    batch = min(training.batch, work.rows.shape[0])
    if training.noise != "none" or training.products is not None or not_narrow(net, batch):
        return False
    return form_of(net, batch, False).product == PLAIN


@functools.lru_cache(maxsize=64)
def chain_of(net: Autoencoder) -> tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]]:
    """Return SIZES, OFFSETS and ACTS of the kernels."""
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


class Launch(NamedTuple):
    """What both kernels take."""

    tensors: tuple[Tensor, ...]
    """Weights, first and second moment, masks; rows, order; rates, tables; the statistics' total, square and count."""
    numbers: tuple[int, int, int, int]
    """Parameters of a cell, rows, first step, steps."""
    constants: dict[str, Any]


def launch_of(work: Work, form: Form) -> Launch:
    """Return the kernels' arguments for some steps of a pass."""
    block, training, rows = work.block, work.training, work.rows
    assert isinstance(rows, Tensor)
    count, weights = rows.shape[0], block.weights
    of = steps_per_generation(count, training.batch)
    order = rng.permutation(training.seed, "batches", block.generation, work.cells, 0, count)
    tables = step_tables(training, block.generation, of, work.steps, weights)
    first, second = block.moments or (weights, weights)
    stats = block.stats
    adam = training.optimizer == "adam"
    counted = (stats.total, stats.square, stats.count) if stats else (weights, weights, weights)
    return Launch(
        tensors=(
            *(weights, first, second, block.masks.view(torch.uint8)),
            *(rows, order, block.learning_rate, tables, *counted),
        ),
        numbers=(weights.shape[1], count, work.steps.start, len(work.steps)),
        constants={
            "RULE": (*training.betas, adam, training.persistent_masks),
            "LOSS": training.loss(block.generation),
            "BS": stats.total.shape[1] if stats else 0,
            "U": stats.total.shape[2] if stats else 0,
            "B": form.batch,
            "BP": form.batch_tile,
            "C": form.stretch,
            "num_warps": form.warps,
        },
    )


def train(work: Work) -> None:
    """Train every cell of a block on some batches of its own shuffled pass, in one launch.

    Updates the block's weights, moments and activation statistics in place.
    """
    work.poll()
    if not work.steps:
        return
    on_cpu = work.block.weights.device.type == "cpu"
    form = form_of(work.net, min(work.training.batch, work.rows.shape[0]), one_block=on_cpu)
    launch = launch_of(work, form)
    if not split(work, form, launch):
        whole(work, form, launch)


def whole(work: Work, form: Form, launch: Launch) -> None:
    """Launch one block a cell."""
    from aecompress.engines.cuda.pass_kernels import whole_kernel

    sizes, offsets, acts = chain_of(work.net)
    net = (sizes, offsets, form.width, len(acts), SHORT, *acts)
    whole_kernel[(len(work.block),)](*launch.tensors, *launch.numbers, NET=net, **launch.constants)


def split(work: Work, form: Form, launch: Launch) -> bool:
    """Launch S blocks a cell, if they are all resident at once; return whether they are."""
    from aecompress.engines.cuda.pass_kernels import split_kernel

    if form.parts > MOST_PARTS:
        return False
    cells, device = len(work.block), work.block.weights.device
    sizes, offsets, acts = chain_of(work.net)
    net = (sizes, offsets, form.width, len(acts), form.product, *acts)
    products = torch.empty((2, cells, form.parts, form.batch_tile, form.width), device=device)
    scratch = (products[0], products[1], torch.zeros(cells, dtype=torch.int32, device=device), fault_flag(device))
    arguments = (*launch.tensors, *launch.numbers, scratch, PATIENCE)
    constants = {"NET": net, "S": form.parts, **launch.constants}
    grid = (cells * form.parts,)
    if form.parts > 1 and grid[0] > at_once(arguments, constants, form, device):
        return False
    split_kernel[grid](*arguments, **constants)
    return True


_at_once: dict[tuple[Any, ...], int] = {}


def at_once(arguments: tuple[Any, ...], constants: dict[str, Any], form: Form, device: torch.device) -> int:
    """Return how many blocks of the split kernel the device holds at once; compiles it for these arguments."""
    from aecompress.engines.cuda.pass_kernels import split_kernel

    kinds = [(each.dtype, each.data_ptr() % 16) for each in arguments[:11]]
    key = (device, *kinds, *arguments[11:13], *constants.values())
    if key not in _at_once:
        compiled = split_kernel.warmup(*arguments, grid=(form.parts,), **constants)
        assert compiled.run is not None  # which loads it, and so learns how many registers it takes
        _at_once[key] = resident(compiled.n_regs, compiled.metadata.shared, form.warps, device)
    return _at_once[key]


@functools.cache
def fault_flag(device: torch.device) -> Tensor:
    """Return the device's fault flag, int32 ``[1]``: 1 once the blocks of a cell have not met."""
    return torch.zeros(1, dtype=torch.int32, device=device)


def check(device: torch.device) -> None:
    """Wait for the device, and refuse what was trained if the blocks of a cell have not met.

    Raises:
        DeviceError: they have not; the state of the run is lost, its checkpoints are not.
    """
    flag = fault_flag(device)
    if int(flag):
        flag.zero_()
        raise DeviceError(
            f"{device}: the blocks of a cell did not meet while it was trained, as if another program held the device; "
            "resume the run, with --compile off if it happens again"
        )
