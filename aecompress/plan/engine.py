"""Which engine trains a run."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch

from aecompress.data.sources.registry import kind_of
from aecompress.engines.base import Engine, Workload
from aecompress.engines.registry import ENGINES
from aecompress.errors import DeviceError
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.counts import cells_of
from aecompress.spec.fields import RunSpec, rule_facts, rule_of


class Choice(NamedTuple):
    """An engine, and why it was taken."""

    engine: Engine
    compile: str
    """What the field ``compile`` becomes: "on" or "off"."""
    why: str
    """Its source: one clause for the user."""


def workload_of(spec: RunSpec, net: Autoencoder, device: torch.device, rows: int) -> Workload:
    """Return what an engine is chosen by, of a spec that is complete but for ``compile``.

    Args:
        rows: training rows.
    """
    return Workload(
        net=net,
        device=device,
        precision=spec.precision,
        family=spec.model.family,
        optimizer=spec.train.optimizer,
        batch=int(spec.train.batch),
        cells=cells_of(spec),
        steps=int(spec.train.epochs) * -(-rows // int(spec.train.batch)),
        changes_partners=rule_facts(rule_of(spec)).changes_partners,
        code_l1=spec.train.code_l1,
        sparse_rows=kind_of(spec.data.source).sparse,
    )


def choose_engine(load: Workload, compile: str) -> Choice:
    """Return the engine with the lowest expected seconds of those that can do the work.

    The choice depends on the facts alone, not on what was compiled before, so that a run has the same bits whenever it
    is repeated on a machine. Whether an engine can is looked at only when its turn comes: the answer may import numba.

    Args:
        compile: "auto", or "on" or "off", which leave only the engines that compile or that do not.

    Raises:
        DeviceError: none of those left can.
    """
    check_precision(load)
    return cheapest(load, compile)


def engine_to_resume(load: Workload, compile: str) -> Engine:
    """Return the engine that resumes a run: of those that its spec leaves, or, where none can do the work here, of all.

    A run that was begun with products in bfloat16 keeps them, however slow they are here.
    """
    try:
        return cheapest(load, compile).engine
    except DeviceError:
        return cheapest(load, "auto").engine


def cheapest(load: Workload, compile: str) -> Choice:
    """Return the engine with the lowest expected seconds of those that can do the work, as :func:`choose_engine`.

    Raises:
        DeviceError: none of those that ``compile`` leaves can.
    """
    served = [each for each in ENGINES.values() if not each.devices or load.device.type in each.devices]
    allowed = [each for each in served if compile == "auto" or each.compiled == (compile == "on")]
    seconds = {each.name: each.seconds(load) for each in allowed}
    refused: list[str] = []
    for engine in sorted(allowed, key=lambda each: seconds[each.name]):
        why = engine.why_not(load)
        if not why:
            others = [each for each in served if each.compiled != engine.compiled]
            reason = compared(load, engine, others, refused)
            return Choice(engine, "on" if engine.compiled else "off", f"auto: {reason}")
        refused.append(why)
    why = refused[0] if refused else none_compiled(load)
    raise DeviceError(f"compile = {compile!r}: {why}; set it to auto or off")


def none_compiled(load: Workload) -> str:
    """Return in one clause that no engine compiles for a device."""
    return f"there is no compiled training on {load.device}"


def cheapest_device(loads: Sequence[Workload], compile: str) -> torch.device:
    """Return the device of the workload with the lowest expected seconds, of one run on several devices.

    The first of them, where engines on none can do the work.
    """
    seconds: dict[torch.device, float] = {}
    for load in loads:
        try:
            seconds[load.device] = choose_engine(load, compile).engine.seconds(load)
        except DeviceError:  # raised again, if the run comes to this device
            seconds[load.device] = math.inf
    return min(seconds, key=lambda device: seconds[device])


def compared(load: Workload, engine: Engine, others: list[Engine], refused: list[str]) -> str:
    """Return in one clause why ``engine`` was taken before ``others``.

    Args:
        refused: why those that came before it cannot.
    """
    if refused:
        return refused[0]
    rival = min(others, key=lambda each: each.seconds(load), default=None)
    if rival is None:
        return none_compiled(load)
    if math.isinf(rival.seconds(load)):
        return rival.why_not(load)
    return f"about {engine.seconds(load):.0f} s of training, {rival.name} about {rival.seconds(load):.0f} s"


@functools.cache
def half_gain() -> float:
    """Time how many times as fast as in float32 a product is in bfloat16 on this processor; takes some 20 ms.

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


def check_precision(load: Workload) -> None:
    """Refuse products in bfloat16 or TF32 where the device has none, or is slower with them, whatever the engine.

    Raises:
        DeviceError: it would not be faster than float32.
    """
    device = load.device
    if load.precision == "tf32" and not (device.type == "cuda" and torch.cuda.is_tf32_supported()):
        raise DeviceError(
            f"precision = 'tf32': {device} computes no products in TF32, as NVIDIA's cards do since Ampere; "
            "choose float32"
        )
    if load.precision != "bf16":
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
