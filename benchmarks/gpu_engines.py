"""Whether the CUDA engines compute what the eager one does on this card, and how fast: one command, within 300 s.

    python benchmarks/gpu_engines.py --out engines.jsonl --folder FOLDER                      every step
    python benchmarks/gpu_engines.py --out engines.jsonl --folder FOLDER --only kernels,fast  some of them
    python benchmarks/gpu_engines.py --out engines.jsonl --folder FOLDER --limit 200          while there is time
    python benchmarks/gpu_engines.py --out cpu.jsonl --folder FOLDER --cpu                    tiny, on the CPU

With --cpu the graphs' step runs uncaptured, and the kernels in Triton's interpreter (TRITON_INTERPRET=1), if triton is
here. A step is a process of its own under a deadline. Results are lines of JSON; whole tracebacks are in FOLDER.

kernels   each kernel compiled and run once, small; draws and selection have the bits of torch's operations
ready     what the next steps run, compiled side by side
equal     a table of cases, each engine against the eager one: weights, integers, statistics, the same bits twice
whole     whole runs with each engine, again, and stopped and resumed, to verified ONNX files
trial     a generation's parts, launches and host stops; the seconds of whole trials of the paper's ring
fast      milliseconds of a training step, contenders interleaved
update    the fused update alone, as a share of the copy rate
tune      the kernels of narrow networks with other numbers of warps and inputs, and other products
profile   the device's time in a step, kernel by kernel
"""

from __future__ import annotations

import argparse
import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from gpu import Bench, finish
from gpu_engines_correct import FOLDER, GRAPHS, PASSES, RUNS, equal, failed, kernels, whole
from gpu_engines_speed import fast, profile, ready, trial, tune, update

LIMIT = 300
"""Seconds of the whole on a GPU."""


STEPS: dict[str, tuple[int, int, Callable[[Bench], None]]] = {
    "kernels": (0, 60, kernels),
    **{f"ready:{part}": (0, 60, functools.partial(ready, part=part, of=3)) for part in range(3)},
    **{
        f"equal:{engine} {part}": (1, 70, functools.partial(equal, engine=engine, part=part, of=of))
        for engine, of in ((GRAPHS, 1), (PASSES, 4))
        for part in range(of)
    },
    **{f"warm:{part}": (1, 70, functools.partial(tune, part=part, of=8, repeats=0)) for part in range(8)},
    **{
        f"whole:{spec} {name}": (1, 70, functools.partial(whole, spec=spec, engine=name))
        for spec, names in RUNS.items()
        for name in names
    },
    "trial": (2, 70, trial),
    "fast:narrow": (3, 50, functools.partial(fast, group="narrow")),
    "update": (4, 20, update),
    "tune": (5, 60, tune),
    "profile": (6, 30, profile),
    "fast:wide": (7, 50, functools.partial(fast, group="wide")),
    "fast:many": (8, 60, functools.partial(fast, group="many")),
}
"""Which steps run side by side (those of one number), the seconds that a step may take, and the step."""


def groups(names: list[str]) -> Iterator[list[str]]:
    """Yield the steps that run side by side."""
    for number in sorted({STEPS[name][0] for name in names}):
        yield [name for name in names if STEPS[name][0] == number]


def steps(bench: Bench, names: list[str], arguments: list[str], limit: int) -> int:
    """Do steps in processes of their own, within ``limit`` seconds; return the exit code."""
    patience = 1 if bench.gpu else 5
    end, good = time.monotonic() + limit * patience, True
    for group in groups(names):
        started = time.monotonic()
        until = min(started + STEPS[group[0]][1] * patience, end)
        if until - started < 8:
            bench.emit("fault", step=group, message="no time is left")
            good = False
            continue
        threads = {"OMP_NUM_THREADS": "2"} if len(group) > 1 else {}
        children = {
            name: subprocess.Popen(
                [sys.executable, __file__, "--step", name, *arguments],
                env={**os.environ, **threads}, start_new_session=True,
            )
            for name in group
        }  # fmt: skip
        done = [finish(bench, name, child, until) for name, child in children.items()]
        bench.emit("took", steps=group, seconds=time.monotonic() - started, good=done)
        good = good and all(done)
    return 0 if good else 1


def one_step(bench: Bench, name: str) -> int:
    """Do one step in this process; a fault is a result too."""
    try:
        STEPS[name][2](bench)
    except Exception as fault:
        failed(bench, name, fault)
        return 1
    return 0


def main() -> int:
    """Read the command line; return the exit code: 0, 1 where a step failed, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="file that the results are appended to")
    parser.add_argument("--folder", type=Path, help="folder for whole tracebacks")
    parser.add_argument("--only", default="", help="names of steps such as fast or fast:wide, separated by commas")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"seconds of the whole on a GPU (default {LIMIT})")
    parser.add_argument("--cpu", action="store_true", help="the same steps, tiny, on the CPU")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if not (chosen.cpu or torch.cuda.is_available()):
        print("gpu_engines.py: torch finds no CUDA device here; --cpu runs the same steps, tiny", file=sys.stderr)
        return 2
    bench = Bench(torch.device("cpu") if chosen.cpu else torch.device("cuda", 0), chosen.out)
    if chosen.folder is not None:
        chosen.folder.mkdir(parents=True, exist_ok=True)
        FOLDER[0] = chosen.folder
    if chosen.step:
        return one_step(bench, chosen.step)
    only = set(chosen.only.split(",")) - {""}
    names = [name for name in STEPS if not only or only & {name, name.partition(":")[0]}]
    arguments = ["--cpu"] * chosen.cpu
    for option in ("out", "folder"):
        if getattr(chosen, option) is not None:
            arguments += [f"--{option}", str(getattr(chosen, option))]
    return steps(bench, names, arguments, chosen.limit)


if __name__ == "__main__":
    sys.exit(main())
