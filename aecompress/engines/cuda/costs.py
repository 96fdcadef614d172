"""What training costs on a CUDA device, as measured on one H200 (docs/gpu.md); other cards differ by a factor."""

from __future__ import annotations

from aecompress.engines.base import Workload
from aecompress.engines.cuda.passes import has_narrow_steps

VALUE_SECONDS = {"adam": 1.7e-11, "fresh-adam": 1.35e-11}
"""Of updating one weight in a fused kernel."""
EAGER_VALUE_SECONDS = {"adam": 4.4e-11, "fresh-adam": 2.7e-11}
"""Of updating one weight by torch's operations."""
PRODUCT_FLOPS = {"float32": 4.5e13, "float64": 2e13, "bf16": 4e14, "tf32": 2e14}
"""Floating-point operations per second of matrix products."""
REPLAY_SECONDS, LAUNCH_SECONDS = 1.1e-4, 5e-4
"""Of the small kernels of a step, replayed and launched one by one."""
NARROW_SECONDS, NARROW_VALUE_SECONDS = 2.5e-5, {"adam": 1.7e-11, "fresh-adam": 6e-12}
"""Of a narrow step of few cells, and of each weight of many."""
SETTING_UP = 0.5
"""Seconds until a device does its first work."""
COMPILE_SECONDS = 5.0
"""Of compiling the kernels of passes or of narrow steps, once on a machine."""
PASS_STEP, WHOLE_STEP, CELL_STEP = 1.5e-5, 8e-5, 5e-7
"""Seconds of a step of 62,000 weights a cell: in split passes, in whole passes, and of each cell of many."""
SPLIT_BLOCKS = 264
"""Blocks that are resident at once: two a multiprocessor."""


def busy_seconds(load: Workload, value_seconds: float) -> float:
    """Return the seconds that the device works for one step of all cells."""
    flop_seconds = load.batch * 6 / PRODUCT_FLOPS[load.precision]
    return load.cells * load.net.layout.size * (value_seconds + flop_seconds)


def eager_seconds(load: Workload) -> float:
    """Return the expected seconds of a run whose operations are launched one by one."""
    busy = busy_seconds(load, EAGER_VALUE_SECONDS[load.optimizer])
    return SETTING_UP + max(load.steps, 1) * max(LAUNCH_SECONDS, busy)


def graph_seconds(load: Workload) -> float:
    """Return the expected seconds of a run whose steps are replayed."""
    if load.family == "plain" and load.precision == "float32" and has_narrow_steps(load.net, load.batch):
        busy = busy_seconds(load, NARROW_VALUE_SECONDS[load.optimizer])
        return SETTING_UP + COMPILE_SECONDS + max(load.steps, 1) * (NARROW_SECONDS + busy)
    busy = busy_seconds(load, VALUE_SECONDS[load.optimizer])
    return SETTING_UP + max(load.steps, 1) * (REPLAY_SECONDS + busy)


def pass_seconds(load: Workload) -> float:
    """Return the expected seconds of a run in whole passes."""
    parts, share = -(-load.net.layers[0].inputs // 64), load.net.layout.size / 62_000
    if load.cells * parts <= SPLIT_BLOCKS:
        step = PASS_STEP
    else:
        step = max(WHOLE_STEP * max(share, 0.25), load.cells * CELL_STEP * share)
    return SETTING_UP + COMPILE_SECONDS + max(load.steps, 1) * step * max(load.batch / 16, 1)
