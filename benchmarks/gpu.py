"""What a GPU does with this package and what it could do: one command, within six minutes on one card.

    python benchmarks/gpu.py --out gpu.jsonl                       every step
    python benchmarks/gpu.py --out gpu.jsonl --only facts,speed    some of them
    python benchmarks/gpu.py --out cpu.jsonl --cpu                 the same steps, tiny, on the CPU: the script runs

A step is a process of its own under a deadline, so a fault on the device costs that step alone. Results are lines of
JSON, printed and appended to --out as they come. Times are [lower quartile, median, upper quartile].

facts        the card, the processor, the versions
ceilings     copy, products in float32, TF32 and bfloat16, launches, graphs, synchronisations
compile      seconds until the CPU's engines are compiled
correct      six specs on the GPU against the CPU, twice, and stopped and resumed, to verified ONNX files
speed        a training step of all cells, contenders interleaved, weights compared with the eager engine's
generation   a generation: its parts, its launches, its synchronising calls
memory       bytes per parameter of a step, a prune and a generation
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import importlib.metadata
import json
import math
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from gpu_correct import SPECS, correct
from gpu_speed import CASES, speed
from torch.profiler import ProfilerActivity, profile

from aecompress.engines.base import Work
from aecompress.engines.registry import ENGINES
from aecompress.engines.timed import Clock, timed
from aecompress.evolve.base import Rows
from aecompress.evolve.generation import generation
from aecompress.evolve.visit import prune
from aecompress.plan.first import first_population
from aecompress.plan.rows import rows_of
from aecompress.population.state import Population
from aecompress.runs.job import Job, prepare
from aecompress.spec.resolve import resolve

LIMIT = 360
"""Seconds of the whole on a GPU."""
CPU_PATIENCE = 5
"""How many times as long a step and the whole may take with --cpu, on a small and busy machine."""
Fields = dict[str, Any]

CLUSTERS = {"data.source": "binary-clusters:10x100x1000", "train.epochs": 400}
GENERATIONS: dict[str, tuple[str, Fields]] = {
    "paper 10": ("paper-coevo-sync", CLUSTERS),
    "paper 1000": ("paper-coevo-sync", {**CLUSTERS, "evolve.cells": 1000}),
    "digits": ("default", {"data.source": "digits"}),
    "middle": ("default", {"data.source": "binary-clusters:10x1200x784", "evolve.cells": 10, "train.batch": 64}),
}
PLACES = {"paper 1000": 1, "middle": 2}
"""Where not all three of the GPU, the CPU's compiled engine and its eager one: those left out take too long."""
NETWORK: Fields = {"model.hidden": [256], "model.latent": 64}
"""Of the generation ``middle``."""
TINY: Fields = {"data.source": "binary-clusters:4x10x30", "evolve.cells": 4}


@dataclasses.dataclass(frozen=True)
class Bench:
    """Where the steps run, and where their results go."""

    device: torch.device
    out: Path | None

    @property
    def gpu(self) -> bool:
        """Return whether this is a measurement; else the steps are tiny."""
        return self.device.type == "cuda"

    def emit(self, kind: str, **figures: Any) -> None:
        """Print a result and append it to the file."""
        line = json.dumps({"kind": kind, **rounded(figures)}, default=str)
        print(line, flush=True)
        if self.out is not None:
            with self.out.open("a") as file:
                file.write(line + "\n")

    def wait(self) -> None:
        """Wait until the device has done what it was given."""
        if self.gpu:
            torch.cuda.synchronize()

    def seconds(self, function: Callable[[], Any]) -> float:
        """Return the seconds of a call, until the device is done."""
        self.wait()
        start = time.perf_counter()
        function()
        self.wait()
        return time.perf_counter() - start

    def best(self, function: Callable[[], Any], calls: int = 1) -> float:
        """Return the median seconds of a call, over seven repeats of ``calls`` calls after a first one."""
        function()
        return statistics.median(self.seconds(lambda: [function() for _ in range(calls)]) for _ in range(7)) / calls

    def captured(self, body: Callable[[], Any]) -> Callable[[], Any]:
        """Return the replay of ``body`` as a CUDA graph, after two calls of it; on a CPU ``body`` itself.

        A graph reads what it was captured with: the caller keeps every tensor of ``body`` alive.
        """
        if not self.gpu:
            return body
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            body()
            body()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            body()
        return graph.replay

    def launched(self, function: Callable[[], Any]) -> tuple[int, float]:
        """Return how many kernels a call launches, and the seconds that the device works on them; 0 on a CPU."""
        found = self.kernels(function).values()
        return sum(count for count, _ in found), sum(seconds for _, seconds in found)

    def kernels(self, function: Callable[[], Any]) -> dict[str, tuple[int, float]]:
        """Return which kernels a call launches: how often, and the seconds that the device works on them."""
        if not self.gpu:
            return {}
        self.wait()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
            function()
            self.wait()
        found: dict[str, tuple[int, float]] = {}
        for event in seen.events():
            if str(event.device_type).endswith("CUDA"):
                count, seconds = found.get(event.name, (0, 0.0))
                found[event.name] = count + 1, seconds + event.time_range.elapsed_us() / 1e6
        return found

    @staticmethod
    def quartiles(values: list[float]) -> list[float]:
        """Return lower quartile, median and upper quartile."""
        return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3


def rounded(value: Any) -> Any:
    """Return figures with four significant digits, whatever holds them."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) and math.isfinite(value) else value


def facts(bench: Bench) -> None:
    """Write the facts of the machine."""
    names = ("torch", "triton", "numpy", "numba", "onnx", "onnxruntime")
    versions = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    found: Fields = {
        "date": time.strftime("%Y-%m-%d"), "python": platform.python_version(), "cores": len(os.sched_getaffinity(0)),
        "versions": {name: versions.get(name) for name in names},
    }  # fmt: skip
    if bench.gpu:
        card = torch.cuda.get_device_properties(0)
        query = ["nvidia-smi", "--query-gpu=driver_version,power.limit,clocks.max.sm", "--format=csv,noheader"]
        found |= {
            "card": card.name, "capability": [card.major, card.minor], "multiprocessors": card.multi_processor_count,
            "L2_bytes": card.L2_cache_size, "memory_bytes": card.total_memory, "cuda": torch.version.cuda,
            "driver_watts_clock": subprocess.run(query, capture_output=True, text=True).stdout.strip(),
        }  # fmt: skip
    bench.emit("facts", **found)


def ceilings(bench: Bench) -> None:
    """Write what the device does at best: memory, products, and the cost of asking it for something."""
    count, side = (1 << 30, 8192) if bench.gpu else (1 << 16, 64)

    def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.rand(shape, device=bench.device).to(dtype)

    copy = functools.partial(random(count).copy_, random(count))
    found = {"copy_TBs": 8 * count / bench.best(copy) / 1e12}
    del copy
    formats = {"float32": (torch.float32, False), "tf32": (torch.float32, True), "bf16": (torch.bfloat16, False)}
    for name, (dtype, short) in formats.items():
        torch.set_float32_matmul_precision("high" if short else "highest")
        large = functools.partial(torch.mm, random(side, side, dtype=dtype), random(side, side, dtype=dtype))
        found[f"{name}_TFLOPs"] = 2 * side**3 / bench.best(large) / 1e12
        wide = side // 8
        ten = functools.partial(torch.bmm, random(10, wide // 4, 784, dtype=dtype), random(10, 784, wide, dtype=dtype))
        found[f"{name}_ten_products_us"] = bench.best(ten, 20) * 1e6
    torch.set_float32_matmul_precision("highest")
    small = torch.zeros(8, device=bench.device)
    found["launch_us"] = bench.best(lambda: small.add_(1), 1000) * 1e6
    for nodes in (1, 1000):
        replay = bench.captured(lambda nodes=nodes: [small.add_(1) for _ in range(nodes)])
        found[f"graph_of_{nodes}_us"] = bench.best(replay, 20) * 1e6
    found["item_us"] = bench.best(lambda: float(small[0]), 20) * 1e6
    found["list_to_device_us"] = bench.best(lambda: torch.tensor([1, 2, 3, 4], device=bench.device), 20) * 1e6
    bench.emit("ceilings", **found)


def compile_ahead(bench: Bench) -> None:
    """Compile whatever engines compile, so that no later step waits for it."""
    for name, engine in ENGINES.items():
        if engine.compiled:
            bench.emit(
                "compile", engine=name, seconds=bench.seconds(lambda engine=engine: engine.prepare(lambda: None))
            )


def job_of(preset: str, fields: Fields) -> Job:
    """Return the job of a spec that is not run as a whole."""
    with tempfile.TemporaryDirectory() as place:
        resolved = resolve({path: ("benchmark", value) for path, value in fields.items()}, preset=preset)
        return prepare(resolved, Path(place) / "run")


def synchronising(bench: Bench, function: Callable[[], Any]) -> dict[str, int]:
    """Return the places that make the host wait for the device in a call, with their counts; none on a CPU."""
    if not bench.gpu:
        return {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            function()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    found = [one for one in caught if "called a synchronizing" in str(one.message)]
    return dict(Counter(f"{Path(one.filename).name}:{one.lineno}" for one in found))


def one_generation(bench: Bench, name: str) -> None:
    """Time a generation a third into a run on the GPU, then by the CPU's engines; count launches on the GPU."""
    preset, fields = GENERATIONS[name]
    fields = fields | (NETWORK if bench.gpu and name == "middle" else {}) | ({} if bench.gpu else TINY)
    places = [(str(bench.device), "auto"), ("cpu", "on"), ("cpu", "off")][: PLACES.get(name, 3) if bench.gpu else 3]
    for device, compile in places:
        job = job_of(preset, {**fields, "device": device, "compile": compile})
        plan, rows = job.plan, rows_of(job.sampling, job.dataset, job.device)
        torch.set_num_threads(plan.blocks.threads or len(os.sched_getaffinity(0)))
        population = first_population(job.first, job.net, job.dataset, job.device)
        population.generation = plan.training.generations // 3
        plan.engine.prepare(lambda: None)
        make = functools.partial(generation, plan, population, rows, lambda: None)
        first = bench.seconds(make)
        whole = [bench.seconds(make) * 1e3 for _ in range(5 if first < 0.5 else 1)]
        kernels, busy = bench.launched(make) if device != "cpu" else (0, 0.0)
        bench.emit(
            "generation", name=name, device=device, engine=plan.engine.name, cells=len(population),
            parameters=job.net.layout.size, batch=plan.training.batch, rows=len(rows.train),
            ms=bench.quartiles(whole), parts_ms=parts_of(bench, job, population, rows), kernels=kernels,
            busy_ms=busy * 1e3, synchronising=synchronising(bench, make) if device != "cpu" else {},
        )  # fmt: skip


def parts_of(bench: Bench, job: Job, population: Population, rows: Rows) -> dict[str, float]:
    """Return the milliseconds of a generation's parts, waiting for the device at the end of each, and of one prune.

    They are of the clock on the wall: what several threads do at once counts once.
    """
    clock = Clock()

    @contextmanager
    def waiting(phase: str) -> Iterator[None]:
        with clock(phase):
            bench.wait()
            yield
            bench.wait()

    plan = dataclasses.replace(job.plan, engine=timed(job.plan.engine, waiting))
    whole = bench.seconds(lambda: generation(plan, population, rows, lambda: None)) * 1e3
    block, cells = population.copy(), list(range(len(population)))
    one_prune = bench.seconds(lambda: prune(plan, block, cells, rows, 0)) * 1e3
    return {
        **{phase: seconds * 1e3 for phase, seconds in clock.seconds.items()},
        "whole": whole,
        "one prune": one_prune,
    }


def memory(bench: Bench) -> None:
    """Write the bytes per parameter of a population, and the peak beside what is there of what is done to it."""
    fields: Fields = {
        "data.source": "binary-clusters:10x400x784", "model.hidden": [1024], "model.latent": 256, "evolve.cells": 20,
        "train.epochs": 10, "train.batch": 64, "prune.target_sparsity": 0.5, "device": str(bench.device),
    }  # fmt: skip
    job = job_of("default", fields if bench.gpu else fields | TINY | {"model.hidden": [16], "model.latent": 4})
    plan, rows = job.plan, rows_of(job.sampling, job.dataset, job.device)
    population = first_population(job.first, job.net, job.dataset, job.device)
    population.generation = 4
    count = population.weights.numel()
    work = Work(
        net=plan.net, training=plan.training, block=population, rows=rows.train, steps=range(1), poll=lambda: None
    )  # fmt: skip
    found: Fields = {"population": sum(t.numel() * t.element_size() for t in population.tensors().values()) / count}
    calls: dict[str, Callable[[], Any]] = {
        "step": lambda: ENGINES["eager"].train(work),
        "prune": lambda: prune(plan, population, list(range(len(population))), rows, 0),
        "generation": lambda: generation(plan, population, rows, lambda: None),
    }
    for name, call in calls.items():
        call()
        if bench.gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            call()
            found[name] = (torch.cuda.max_memory_allocated() - before) / count
    bench.emit("memory", cells=len(population), parameters=job.net.layout.size, bytes_per_parameter=found)


STEPS: dict[str, tuple[int, Callable[[Bench], None]]] = {
    "facts": (20, facts),
    "ceilings": (30, ceilings),
    "compile": (70, compile_ahead),
    **{f"correct:{name}": (80, functools.partial(correct, name=name)) for name in SPECS},
    **{f"speed:{name}": (45, functools.partial(speed, name=name)) for name in CASES},
    **{f"generation:{name}": (30, functools.partial(one_generation, name=name)) for name in GENERATIONS},
    "memory": (20, memory),
}
"""Seconds that a step may take, and the step."""


def step(bench: Bench, name: str) -> int:
    """Do one step in this process; a fault is a result too."""
    try:
        STEPS[name][1](bench)
    except Exception as fault:
        at = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(fault.__traceback__)]
        bench.emit("fault", step=name, message=f"{type(fault).__name__}: {fault}"[:500], at=at[-4:])
        return 1
    return 0


def finish(bench: Bench, name: str, child: subprocess.Popen[bytes], until: float) -> bool:
    """Wait for a step's process, and end it at its deadline; return whether it did what it should."""
    try:
        status = child.wait(max(until - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        bench.emit("fault", step=name, message="ended at its deadline")
        return False
    if status not in (0, 1):  # 1 has written its own fault
        bench.emit("fault", step=name, message=f"ended with status {status}")
    return status == 0


def steps(bench: Bench, names: list[str], arguments: list[str]) -> int:
    """Do steps in processes of their own: the specs of ``correct`` side by side, all others one after the other."""
    patience = 1 if bench.gpu else CPU_PATIENCE
    end = time.monotonic() + LIMIT * patience
    side_by_side = [name for name in names if name.startswith("correct:") and bench.gpu]
    groups = [side_by_side if name in side_by_side else [name] for name in names if name not in side_by_side[1:]]
    good = True
    for group in groups:
        if time.monotonic() >= end:
            bench.emit("fault", step=group, message="no time is left")
            good = False
            continue
        until = min(time.monotonic() + STEPS[group[0]][0] * patience, end)
        threads = {"OMP_NUM_THREADS": "2"} if len(group) > 1 else {}
        children = {
            name: subprocess.Popen(
                [sys.executable, __file__, "--step", name, *arguments],
                env={**os.environ, **threads}, start_new_session=True,
            )
            for name in group
        }  # fmt: skip
        done = [finish(bench, name, child, until) for name, child in children.items()]
        good = good and all(done)
    return 0 if good else 1


def main() -> int:
    """Read the command line; return the exit code: 0, 1 where a step failed, 2 without a GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="file that the results are appended to")
    parser.add_argument("--only", default="", help="names of steps such as speed or speed:middle, separated by commas")
    parser.add_argument("--cpu", action="store_true", help="the same steps, tiny, on the CPU")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if not (chosen.cpu or torch.cuda.is_available()):
        print("gpu.py: torch finds no CUDA device here; --cpu runs the same steps, tiny, on the CPU", file=sys.stderr)
        return 2
    bench = Bench(torch.device("cpu" if chosen.cpu else "cuda"), chosen.out)
    if chosen.step:
        return step(bench, chosen.step)
    only = set(chosen.only.split(",")) - {""}
    names = [name for name in STEPS if not only or only & {name, name.partition(":")[0]}]
    return steps(bench, names, ["--cpu"] * chosen.cpu + (["--out", str(chosen.out)] if chosen.out else []))


if __name__ == "__main__":
    sys.exit(main())
