"""Which engine trains a run, in which blocks, on how many threads."""

from __future__ import annotations

import functools
import importlib
import math
import time
from collections.abc import Callable
from typing import Any

import torch

from aecompress.data.interactions import PREFIX
from aecompress.engines import workers
from aecompress.engines.base import Engine, Work
from aecompress.engines.eager import EAGER, evaluate, train, train_together
from aecompress.errors import DeviceError
from aecompress.evolve.base import Plan
from aecompress.nets.autoencoder import Autoencoder
from aecompress.plan.counts import cells_of
from aecompress.spec.fields import RunSpec
from aecompress.spec.resolve import Resolved, override

BLOCK_BYTES = 2_600_000
"""Weights of the cells that are trained together on a CPU: with gradients and moments they should stay in its cache."""


PASS_BYTES = 16_000_000
"""Weights of the cells that are copied out for compiled passes."""


REPAID_SECONDS = 30.0
"""Training that repays the compiler's twenty seconds, which are paid once on a machine."""


ONE_THREAD_FLOP = 10_000_000
"""Floating-point operations of a training step below which a second thread costs more than it brings."""


def threads_for(plan: Plan, cells: int, device: torch.device) -> int:
    """Threads inside one of torch's operations.

    One for small steps, where a busy second core would slow them many times, and where the cores take cells or blocks.
    """
    small = 6 * plan.net.layout.size * plan.training.batch * min(plan.block, cells) < ONE_THREAD_FLOP
    alone = small or plan.apart or plan.engine.whole_passes
    return 1 if alone and device.type == "cpu" else torch.get_num_threads()


def engine_of(spec: RunSpec, net: Autoencoder, device: torch.device) -> Engine:
    """How blocks are trained and measured; ``compile`` is settled.

    Raises:
        DeviceError: compiled training is asked for where it cannot be.
    """
    if spec.compile != "on":
        return EAGER
    if device.type != "cpu":
        raise DeviceError(f"compile = 'on': compiled training is for CPUs, not {device}; set it to auto or off")
    fault = uncompilable()
    if fault:
        raise DeviceError(f"compile = 'on': {fault}; set it to auto or off")
    from aecompress.engines.numba import engine, steps

    if spec.model.family == "plain" and spec.precision == "float32" and int(spec.train.batch) <= pass_rows(net):
        return Engine(
            "compiled passes",
            lambda *work: engine.train(Work(*work)),
            engine.evaluate,
            train_together,
            whole_passes=True,
            compiled=True,
        )
    train_steps = functools.partial(train, update=steps.masked_update, gradient=steps.gradient)
    return Engine("compiled steps", train_steps, evaluate, train_together, compiled=True)


def pass_rows(net: Autoencoder) -> float:
    """Rows per step up to which whole compiled passes beat a library's matrix products, as measured."""
    narrow = max(min(layer.inputs, layer.outputs) for layer in net.layers)
    if narrow <= 64 and net.layout.size <= 200_000:  # what a core's cache holds
        return math.inf
    return 32 if narrow <= 128 else 16


def make_ready(plan: Plan, poll: Callable[[], None]) -> None:
    """Compile what the plan's engine needs; takes some twenty seconds the first time on a machine."""
    if plan.engine.compiled:
        from aecompress.engines.numba.engine import prepare

        prepare(poll)


def resolve_compile(resolved: Resolved, net: Autoencoder, device: torch.device, rows: int) -> Resolved:
    """Turn ``compile = "auto"`` into on or off: on where a CPU would train long enough without it.

    The choice depends on the spec and the rows alone, not on what was compiled before, so that a run has the same bits
    whenever it is repeated on a machine.
    """
    spec = resolved.spec
    if spec.compile != "auto":
        return resolved
    if device.type != "cpu" or spec.precision == "float64":
        return override(resolved, "compile", "off", f"auto: training is not in float32 on a CPU ({device})")
    if spec.mode == "coevo" and spec.evolve.rule in ("opponents", "panmictic"):
        return override(resolved, "compile", "off", f"auto: networks change partners under {spec.evolve.rule!r}")
    if spec.data.source.startswith(PREFIX):
        return override(resolved, "compile", "off", "auto: rows of interactions are trained uncompiled")
    seconds = eager_seconds(spec, net, rows)
    if seconds < REPAID_SECONDS:
        return override(resolved, "compile", "off", f"auto: about {seconds:.0f} s of training would not repay it")
    fault = uncompilable()
    if fault:
        return override(resolved, "compile", "off", f"auto: {fault}")
    return override(resolved, "compile", "on", f"auto: about {seconds:.0f} s of training without it")


def eager_seconds(spec: RunSpec, net: Autoencoder, rows: int) -> float:
    """Roughly, the time of the training steps without a compiler: operations started, weights updated, products."""
    steps = int(spec.train.epochs) * -(-rows // int(spec.train.batch))
    values = cells_of(spec) * net.layout.size
    update = 1.2e-9 if spec.train.optimizer == "fresh-adam" else 2.5e-9
    return steps * (3e-4 + values * (update + int(spec.train.batch) * 6 / 1e11))


@functools.cache
def uncompilable() -> str:
    """Why nothing can be compiled here, in words; empty where it can."""
    try:
        importlib.import_module("numba")
    except ImportError as fault:
        return f"numba cannot be imported ({fault})"
    return ""


@functools.cache
def half_gain() -> float:
    """How many times as fast as in float32 a product is in bfloat16 on this processor; measured, some 20 ms.

    A processor may have the instructions and still be slower with them, as those with AVX-512 and no AMX.
    """
    best = {}
    for kind in (torch.float32, torch.bfloat16):
        matrix = torch.ones((512, 512), dtype=kind)
        times = []
        for _ in range(6):
            start = time.perf_counter()
            torch.mm(matrix, matrix)
            times.append(time.perf_counter() - start)
        best[kind] = min(times)
    return best[torch.float32] / best[torch.bfloat16]


def check_half(spec: RunSpec, device: torch.device) -> None:
    """Refuse products in bfloat16 where the device has none, or is slower with them.

    Raises:
        DeviceError: it would be slower than float32.
    """
    if spec.precision != "bf16":
        return
    cpu = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    has = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu if device.type == "cpu" else False
    if not has:
        raise DeviceError(f"precision = 'bf16': {device} computes no products in bfloat16; choose float32")
    if device.type == "cpu" and half_gain() < 1:
        raise DeviceError(
            f"precision = 'bf16': on this processor a product in bfloat16 takes {1 / half_gain():.1f} times as long as "
            "in float32; choose float32"
        )


def untrained(*arguments: Any) -> None:
    """Leave the weights as they are."""


def blocks_of(net: Autoencoder, cells: int, batch: int, engine: Engine, device: torch.device) -> tuple[int, bool]:
    """Cells of a block, and whether blocks are trained apart, each by a core of its own.

    A GPU takes the whole ring at once. Compiled passes share a block's cells among the cores themselves, so that blocks
    only bound memory. Otherwise a block's weights fit a core's cache; where steps are large enough to keep a core busy
    between two calls from Python, each core trains blocks of its own, which needs no waiting inside an operation.
    """
    if device.type != "cpu":
        return cells, False
    individual = 4 * net.layout.size
    if engine.whole_passes:
        turns = max(PASS_BYTES // individual // workers.cores(), 1)
        return turns * workers.cores(), False  # so that no core waits at the end of a block
    block = max(1, BLOCK_BYTES // individual)
    apart = cells > 1 and 6 * net.layout.size * batch * min(block, cells) >= ONE_THREAD_FLOP
    return (min(block, -(-cells // workers.cores())), True) if apart else (block, False)
