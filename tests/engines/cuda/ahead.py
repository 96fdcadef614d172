"""Compiles every kernel for an H100, by the calls that train, draw and select, on a machine that may have no GPU.

A process of its own, because Triton decides when it is imported whether kernels are interpreted. Prints a line of JSON
for each compiled kernel: its name, registers of a thread, spilled bytes, bytes of shared memory, loads of 16 bytes, and
products of warp groups.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
import triton.backends.nvidia
from triton.backends.compiler import GPUTarget
from triton.runtime import JITFunction, driver

from aecompress.engines.cuda import draw_kernels, narrow_kernels, passes, select_kernels, steps
from aecompress.engines.cuda.step_kernels import fused_gradient
from aecompress.engines.cuda.update_kernel import fused_update
from tests.engines.cuda.cases import Case, work_of

PAPER = Case(sizes=(1000, 30, 10, 30, 1000), cells=40, batch=5, rows=23, loss="l1", optimizer="fresh-adam")
CASES = {
    "paper": PAPER,
    "adam": dataclasses.replace(PAPER, cells=3, optimizer="adam", masked=True, stats=True),
    "rows of whole 16-byte words": Case(sizes=(64, 32, 16, 32, 64), batch=16, rows=64),
    "two layers": Case(sizes=(30, 16, 30), acts=("relu", "sigmoid"), cells=3, batch=64, rows=64),
}
PTXAS = Path(triton.backends.nvidia.__file__).parent / "bin" / "ptxas"


class Driver:
    """An H100 that only compiles."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compiled_only(kernel: JITFunction, *arguments: Any, grid: Any, warmup: bool, **constants: Any) -> Any:
    """Compile a kernel for its arguments, and do not launch it."""
    return run(kernel, *arguments, grid=grid, warmup=True, **constants)


run, JITFunction.run = JITFunction.run, compiled_only


def resources(ptx: str) -> dict[str, int]:
    """What the assembler allots."""
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        command = [PTXAS, "-v", "--gpu-name=sm_90a", file.name, "-o", os.devnull]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    patterns = {"registers": r"Used (\d+) registers", "spilled": r"(\d+) bytes spill stores"}
    figures = {name: int(match[1]) for name, pattern in patterns.items() if (match := re.search(pattern, found))}
    return figures | {"wide_loads": ptx.count("ld.global.v4"), "group_products": ptx.count("wgmma.mma_async")}


def call(case: Case) -> None:
    """Make a step of each kind, and launch passes of waves that begin at any cell."""
    work = work_of(case)
    buffers = steps.new_buffers(work)
    steps.fill(buffers, work)
    narrow_kernels.begin(buffers)
    narrow_kernels.narrow_step(buffers, case.loss)
    steps.step(buffers, case.loss, case.batch, steps.Pieces(fused_gradient, fused_update))
    form = passes.form_of(work.net, case.batch, False)
    for first in range(len(work.block) - 1):
        part = dataclasses.replace(
            work, block=work.block.part(first, first + 1), steps=range(buffers.of - 1, buffers.of)
        )
        passes.split(part, passes.launch_of(part, form))
    if form.batch_tile <= passes.SAFE_ROWS:
        passes.whole(work, passes.launch_of(work, passes.whole_form(work.net, case.batch, 1000)))


def main() -> None:
    """Make the calls, then report."""
    driver.set_active(Driver())
    passes.at_once = lambda *arguments: 10_000
    for case in CASES.values():
        call(case)
    for kind in (torch.int64, torch.float32):
        draw_kernels.drawn(-1 << 62, torch.arange(3), 1000, kind)
        draw_kernels.drawn(7, torch.arange(3), 1001, kind)
    select_kernels.lowest_of_parts(torch.rand(3, 700), (300, 400), [[3, 4]] * 3)
    modules = [module for name, module in sys.modules.items() if name.startswith("aecompress.engines.cuda.")]
    kernels = {kernel for module in modules for kernel in vars(module).values() if isinstance(kernel, JITFunction)}
    for kernel in sorted(kernels, key=lambda kernel: str(kernel.__name__)):
        for cache in kernel.device_caches.values():
            for one in cache[0].values():
                found = {"kernel": kernel.__name__, "shared": one.metadata.shared, **resources(one.asm["ptx"])}
                print(json.dumps(found))


if __name__ == "__main__":
    main()
