"""Whether the CUDA engines compute what the eager one does on this card, and how fast: one command, within 170 s.

    python benchmarks/gpu_engines.py --out engines.jsonl --folder FOLDER                      every step
    python benchmarks/gpu_engines.py --out engines.jsonl --folder FOLDER --only kernels,fast  some of them
    python benchmarks/gpu_engines.py --out cpu.jsonl --folder FOLDER --cpu                    tiny, on the CPU

With --cpu the graphs' step runs uncaptured, and the kernels in Triton's interpreter (TRITON_INTERPRET=1), if triton is
here. A step is a process of its own under a deadline. Results are lines of JSON; whole tracebacks are in FOLDER.

kernels   each kernel compiled and run once, small
equal     a table of cases, each engine against the eager one: weights, integers, statistics, the same bits twice
whole     whole runs with each engine, again, and stopped and resumed, to verified ONNX files
fast      milliseconds of a training step, contenders interleaved
trial     a generation's parts, launches and host stops; the seconds of a whole paper-coevo-sync trial
tune      the kernels of whole passes with other numbers of warps and inputs
"""

from __future__ import annotations

import argparse
import cProfile
import dataclasses
import functools
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from engine import RATE, Case, loop, plan_for, population_for, rows_for
from gpu import CLUSTERS, Bench, facts, finish, job_of, parts_of, synchronising
from gpu_correct import compared, outcome_of, with_engine
from torch import Tensor

from aecompress import events
from aecompress.engines.base import Work
from aecompress.engines.cuda import graphs
from aecompress.engines.cuda import steps as steps_
from aecompress.engines.registry import ENGINES
from aecompress.engines.training import Training
from aecompress.evolve.generation import generation
from aecompress.layers.dense import Dense
from aecompress.nets.autoencoder import Autoencoder, build
from aecompress.plan.first import first_population
from aecompress.plan.rows import rows_of
from aecompress.population.state import Population, load_tensors, new_population
from aecompress.runs.job import prepare
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve

LIMIT = 170
"""Seconds of the whole on a GPU."""
GRAPHS, PASSES = "cuda-graphs", "cuda-passes"
PAPER = (1000, 30, 10, 30, 1000)
Fields = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Check:
    """A block to be trained for a pass by an engine and by the eager one."""

    engines: tuple[str, ...]
    sizes: tuple[int, ...] = PAPER
    acts: tuple[str, ...] = ("relu", "relu", "relu", "sigmoid")
    cells: int = 10
    batch: int = 5
    rows: int = 63
    loss: str = "l1"
    adam: bool = False
    masked: bool = False
    stats: bool = False
    noise: str = "none"
    dtype: torch.dtype = torch.float32
    half: bool = False
    weights: float = 1e-4
    """Largest relative difference of the weights."""


BOTH = (GRAPHS, PASSES)
NARROW = (30, 16, 4, 16, 30)
TABLE: dict[str, Check] = {
    "paper, split": Check(BOTH),
    "paper, whole": Check(BOTH, cells=40),
    "paper, one cell": Check(BOTH, cells=1),
    "paper, statistics, split": Check(BOTH, cells=3, stats=True),
    "paper, statistics, whole": Check(BOTH, cells=40, stats=True),
    "paper, Adam, masks, split": Check(BOTH, cells=4, adam=True, masked=True),
    "paper, Adam, masks, whole": Check(BOTH, cells=40, adam=True, masked=True, stats=True),
    "narrow": Check(BOTH, NARROW, cells=50, batch=64, rows=200, loss="mse", adam=True, masked=True),
    "narrow, 1000 cells": Check(BOTH, NARROW, cells=1000, batch=64, rows=200, loss="bce", adam=True),
    "digits": Check(BOTH, (64, 32, 8, 32, 64), cells=4, batch=16, rows=90, loss="mse", adam=True, masked=True),
    "bce after tanh": Check(BOTH, (70, 20, 5, 20, 70), ("tanh", "identity", "leaky-relu", "sigmoid"), loss="bce"),
    "huber, identity": Check(BOTH, (70, 20, 5, 20, 70), ("sigmoid", "tanh", "relu", "identity"), loss="huber"),
    "six layers": Check(BOTH, (200, 60, 30, 10, 30, 60, 200), ("relu",) * 5 + ("sigmoid",), cells=5, adam=True),
    "two layers": Check(BOTH, (40, 6, 40), ("identity", "sigmoid"), cells=5, loss="mse", adam=True, stats=True),
    "fewer rows than a batch": Check(BOTH, NARROW, cells=3, batch=16, rows=7, loss="mse", adam=True),
    "denoising": Check((GRAPHS,), NARROW, noise="input", loss="mse", adam=True, stats=True),
    "variational": Check((GRAPHS,), NARROW, noise="latent", loss="bce", adam=True, masked=True),
    "gelu": Check((GRAPHS,), NARROW, ("gelu", "relu", "gelu", "sigmoid"), loss="mse", adam=True),
    "double": Check((GRAPHS,), NARROW, dtype=torch.float64, loss="mse", adam=True, stats=True),
    "middle": Check((GRAPHS,), (784, 256, 64, 256, 784), batch=64, rows=300, loss="mse", adam=True, masked=True),
    "middle, bf16": Check((GRAPHS,), (784, 256, 64, 256, 784), batch=64, rows=300, adam=True, half=True, weights=3e-3),
}


def network(sizes: tuple[int, ...], acts: tuple[str, ...], variational: bool) -> Autoencoder:
    """Return the autoencoder with these layers; the smallest size is the code."""
    inner = min(range(1, len(sizes)), key=lambda place: sizes[place])
    layers = [Dense(f"layer.{k}", sizes[k + 1], act) for k, act in enumerate(acts)]
    return build(layers[:inner], layers[inner:], (sizes[0],), variational)


def work_of(bench: Bench, check: Check) -> Work:
    """Return a pass over the rows for a fresh block."""
    if not bench.gpu:
        check = dataclasses.replace(check, cells=min(check.cells, 2), sizes=tuple(min(s, 70) for s in check.sizes))
    net = network(check.sizes, check.acts, check.noise == "latent")
    draws = torch.Generator().manual_seed(1)
    rows = (torch.rand(check.rows, check.sizes[0], generator=draws) > 0.25).to(check.dtype).to(bench.device)
    training = Training(
        seed=1, generations=5, batch=check.batch, loss=lambda generation: check.loss,
        optimizer="adam" if check.adam else "fresh-adam", betas=(0.9, 0.999), rate=lambda progress: 1 - progress,
        persistent_masks=check.masked, noise=check.noise, noise_level=0.3,
        products=torch.bfloat16 if check.half else None,
    )  # fmt: skip
    block = new_population(
        net, check.cells, 1, 1e-3, check.adam, bench.device, dtype=check.dtype,
        stats_batch=check.batch if check.stats else 0,
    )  # fmt: skip
    if check.masked:
        block.masks[:] = (torch.rand(block.masks.shape, generator=draws) > 0.3).to(bench.device)
        block.weights.mul_(block.masks)
    of = -(-check.rows // check.batch)
    return Work(net=net, training=training, block=block, rows=rows, steps=range(of), poll=lambda: None)


def trained(name: str, work: Work) -> Population:
    """Return a copy of the block after the pass, in two stretches, as a prune between them makes it."""
    block, middle = work.block.copy(), work.steps.stop // 3
    for steps in (range(middle), range(middle, work.steps.stop)):
        ENGINES[name].train(dataclasses.replace(work, block=block, steps=steps))
    ENGINES[name].evaluate(work.net, block.weights, [work.rows], "mse", work.poll)  # which sees a fault of the passes
    return block


@contextmanager
def made_of(name: str) -> Iterator[None]:
    """Capture steps that are made of other pieces than the engine's own."""
    own = graphs.pieces_for
    if name == "torch":
        graphs.pieces_for = lambda work: graphs.TORCH  # type: ignore[assignment]
    elif name == "fused update":
        graphs.pieces_for = lambda work: own(work)._replace(gradient=steps_.torch_gradient)
    try:
        yield
    finally:
        graphs.pieces_for = own


def apart(one: Tensor, other: Tensor) -> float:
    """Return the relative difference of two tensors."""
    return float((one.double() - other.double()).norm() / other.double().norm().clamp(min=1e-30))


def differences(got: Population, wanted: Population) -> dict[str, float]:
    """Return the relative differences of a population's tensors."""
    mine = got.tensors()
    return {name: apart(mine[name], tensor) for name, tensor in wanted.tensors().items() if name != "fitness"}


def equal(bench: Bench, engine: str, part: int, of: int) -> None:
    """Hold an engine equal to the eager one over a part of the table.

    Raises:
        AssertionError: it is not, in some cases, which are named; all have been tried.
    """
    wrong = []
    mine = [name for name, check in TABLE.items() if engine in check.engines]
    for name in mine[part::of]:
        check = TABLE[name]
        try:
            work = work_of(bench, check)
            wanted, start = trained("eager", work), time.perf_counter()
            got = trained(engine, work)
            seconds, again = time.perf_counter() - start, trained(engine, work)
        except Exception as fault:
            wrong.append(name)
            failed(bench, f"equal:{engine}", fault, case=name)
            if "CUDA error" in str(fault):  # the context is lost, and with it all that would come
                raise
            continue
        found = differences(got, wanted)
        moved = float((got.weights - wanted.weights).double().norm() / (wanted.weights - work.block.weights).norm())
        twice = all(torch.equal(again.tensors()[key], tensor) for key, tensor in got.tensors().items())
        bits = torch.equal(got.weights, wanted.weights)
        if engine == GRAPHS:  # captured, torch's own operations must have the bits of the eager engine
            with made_of("torch"):
                other = trained(engine, dataclasses.replace(work, training=dataclasses.replace(work.training)))
            bits = all(torch.equal(other.tensors()[key], tensor) for key, tensor in wanted.tensors().items())
            twice = twice and bits
        kept = not check.masked or bool((got.weights[~work.block.masks] == 0).all())
        counts = not check.stats or torch.equal(got.tensors()["stats_count"], wanted.tensors()["stats_count"])
        limits = {"stats_total": 1e-4, "stats_square": 1e-4, "weights": check.weights}
        good = twice and kept and counts and all(not found.get(key, 0.0) > limit for key, limit in limits.items())
        good = good and bool(torch.isfinite(got.weights).all())
        wrong += [] if good else [name]
        bench.emit(
            "equal", case=name, engine=engine, good=good, apart=found, over_moved=moved, eager_bits=bits,
            same_bits_twice=twice, masks_kept=kept, counts_equal=counts, first_seconds=seconds,
        )  # fmt: skip
    assert not wrong, f"{engine}: {', '.join(wrong)}"


def kernels(bench: Bench) -> None:
    """Run each kernel once on a small problem, so that what does not compile is known first."""
    facts(bench)
    wrong = []
    for name, engine in (
        ("middle", GRAPHS), ("narrow", GRAPHS), ("paper, split", PASSES), ("paper, whole", PASSES), ("narrow", PASSES),
    ):  # fmt: skip
        work, start = work_of(bench, TABLE[name]), time.perf_counter()
        try:
            got = trained(engine, work)
            found = differences(got, trained("eager", work))
            bench.emit("kernel", case=name, engine=engine, apart=found, seconds=time.perf_counter() - start)
        except Exception as fault:
            wrong.append(f"{engine}: {name}")
            failed(bench, "kernels", fault, case=name, engine=engine)
    if bench.gpu:
        bench.emit("registers", **registers(bench))
    assert not wrong, ", ".join(wrong)


def registers(bench: Bench) -> Fields:
    """Return what the pass kernels take on the card: registers, spilled bytes, shared memory, blocks at once."""
    from aecompress.engines.cuda import pass_kernels, passes

    found: Fields = {}
    for kernel in (pass_kernels.split_kernel, pass_kernels.whole_kernel):
        for cache in kernel.device_caches.values():
            for place, one in enumerate(cache[0].values()):
                assert one.run is not None
                warps = one.metadata.num_warps
                at_once = passes.resident(one.n_regs, one.metadata.shared, warps, bench.device)
                found[f"{kernel.__name__} {place}"] = [one.n_regs, one.n_spills, one.metadata.shared, warps, at_once]
    return found


RUNS: dict[str, tuple[str, ...]] = {"paper": BOTH, "regrowth": BOTH, "denoising": (GRAPHS,)}
"""Specs of gpu_correct, and the engines that can do them."""


def whole(bench: Bench, spec: str, engine: str) -> None:
    """Carry a spec out with the eager engine, and three times with another one, to verified files; compare.

    Raises:
        AssertionError: it disagrees with the eager engine where it must agree, or a repeated run has other bits.
    """
    here = {"device": str(bench.device), "compile": "off"}
    kinds = {"eager": ("eager", 0), engine: (engine, 0), "again": (engine, 0), "resumed": (engine, 2)}
    with tempfile.TemporaryDirectory() as place:
        found = {
            kind: outcome_of(bench, spec, f"{engine}: {kind}", here, stop, Path(place) / kind, engine=who)
            for kind, (who, stop) in kinds.items()
        }
    figures = compared(found[engine], found["eager"])
    same = {kind: found[kind].files == found[engine].files for kind in ("again", "resumed")}
    bench.emit("compared", spec=spec, engine=engine, same_bits=same, **figures)
    assert all(same.values()) and figures["kept"], f"{spec}, {engine}: not equal where they must be"


CASES: dict[str, dict[str, tuple[Case, str, int]]] = {
    "narrow": {
        "paper 10": (Case("1000-30-10-30-1000", 10, 5, "fresh-adam"), "float32", 200),
        "paper 100": (Case("1000-30-10-30-1000", 100, 5, "fresh-adam"), "float32", 100),
        "paper 1000": (Case("1000-30-10-30-1000", 1000, 5, "fresh-adam"), "float32", 40),
        "paper 10, Adam": (Case("1000-30-10-30-1000", 10, 5, "adam"), "float32", 100),
        "1000 narrow": (Case("30-16-4-16-30", 1000, 64, "adam"), "float32", 40),
    },
    "wide": {
        "middle": (Case("784-256-64-256-784", 10, 64, "adam"), "float32", 60),
        "large": (Case("784-1024-256-1024-784", 10, 256, "adam"), "float32", 20),
        "large bf16": (Case("784-1024-256-1024-784", 10, 256, "adam"), "bf16", 20),
    },
}
"""Case, precision of the products, steps of a pass."""


_GRAPHS = (GRAPHS, f"{GRAPHS}: torch", f"{GRAPHS}: fused update")
CONTENDERS = {"narrow": ("eager", *_GRAPHS, PASSES), "wide": ("eager", *_GRAPHS)}
"""Engines, and what a captured step is made of where it is not the engine's own pieces."""


def eagerly(work: Work) -> Population:
    """Return the block after an eager pass."""
    block = work.block.copy()
    ENGINES["eager"].train(dataclasses.replace(work, block=block))
    return block


def work_for(bench: Bench, case: Case, precision: str, steps: int) -> Work:
    """Return a pass of a case."""
    plan, rows = plan_for(case, False), rows_for(case, steps).to(bench.device)
    training = dataclasses.replace(plan.training, products=torch.bfloat16 if precision == "bf16" else None)
    host = population_for(case, plan.net)
    block = new_population(plan.net, case.cells, 1, RATE, case.rule == "adam", bench.device)
    load_tensors(block, host.tensors(), 0)
    return Work(net=plan.net, training=training, block=block, rows=rows, steps=range(steps), poll=lambda: None)


def fast(bench: Bench, group: str) -> None:
    """Time a training step of all cells, engines interleaved, beginning and end of a pass included."""
    for name, (full, precision, steps) in CASES[group].items():
        case = full if bench.gpu else Case("30-16-4-16-30", 3, 5, full.rule)
        work = work_for(bench, case, precision, steps if bench.gpu else 4)
        steps, times, calls = len(work.steps), dict[str, list[float]](), dict[str, Callable[[], None]]()
        for who in CONTENDERS[group]:
            training = dataclasses.replace(work.training)  # its own, so that contenders share no graph
            one = dataclasses.replace(work, block=work.block.copy(), training=training)
            engine, _, pieces = who.partition(": ")
            calls[who], times[who] = functools.partial(ENGINES[engine].train, one), []
            try:
                with made_of(pieces):
                    first = bench.seconds(calls[who])
                bench.emit("first", case=name, engine=who, seconds=first, apart=differences(one.block, eagerly(work)))
            except Exception as fault:
                del calls[who]
                failed(bench, f"fast:{group}", fault, case=name, engine=who)
        for _ in range(9 if bench.gpu else 1):
            for who, call in calls.items():
                times[who].append(bench.seconds(call) / steps * 1e3)
        launched = {who: bench.launched(call) for who, call in calls.items()}
        bench.emit(
            "fast", case=name, cells=case.cells, batch=case.batch, rule=case.rule, precision=precision, steps=steps,
            ms_per_step={who: bench.quartiles(found) for who, found in times.items() if found},
            loop=loop_ms(bench, case), kernels_per_step={who: count / steps for who, (count, _) in launched.items()},
            busy_us_per_step={who: busy / steps * 1e6 for who, (_, busy) in launched.items()},
        )  # fmt: skip


def one_trial(bench: Bench, preset: str, engine: str, fields: Fields) -> None:
    """Carry out a whole trial."""
    fields = fields | ({} if bench.gpu else {"data.source": "binary-clusters:2x5x20", "train.epochs": 2})
    with tempfile.TemporaryDirectory() as place:
        values = {path: ("benchmark", value) for path, value in {**fields, "device": str(bench.device)}.items()}
        start = time.perf_counter()
        job = with_engine(prepare(resolve(values, preset=preset), Path(place) / "run"), engine)
        ready, seen = time.perf_counter(), list(run(job))
        end = time.perf_counter()
        profiled = [event.seconds for event in seen if isinstance(event, events.Profiled)]
    bench.emit("trial", preset=preset, engine=engine, seconds=end - start, ready=ready - start, profile=profiled)


def trial(bench: Bench) -> None:
    """Time generations and whole trials of the paper's ring."""
    fields = CLUSTERS if bench.gpu else {**CLUSTERS, "data.source": "binary-clusters:2x5x20", "evolve.cells": 4}
    for preset in ("paper-coevo-sync", "paper-coevo"):
        job = job_of(preset, {**fields, "device": str(bench.device), "compile": "off"})
        rows = rows_of(job.spec, job.dataset, job.device)
        for name in (PASSES, GRAPHS):
            mine = with_engine(job, name)
            population = first_population(job.spec, job.net, job.dataset, job.device)
            population.generation = mine.plan.training.generations // 3
            make = functools.partial(generation, mine.plan, population, rows, lambda: None)
            try:
                make()
                make()
                whole = [bench.seconds(make) * 1e3 for _ in range(10 if bench.gpu else 1)]
                kernels, busy = bench.launched(make)
                bench.emit(
                    "generation", preset=preset, engine=name, ms=bench.quartiles(whole), kernels=kernels,
                    parts_ms=parts_of(bench, mine, population, rows), busy_ms=busy * 1e3,
                    synchronising=synchronising(bench, make),
                )  # fmt: skip
                host_profile(bench, f"{preset} {name}", make)
            except Exception as fault:
                failed(bench, "trial", fault, preset=preset, engine=name)
    one_trial(bench, "paper-coevo-sync", PASSES, fields)
    one_trial(bench, "paper-coevo-sync", GRAPHS, {**fields, "train.epochs": 100})
    one_trial(bench, "paper-coevo", PASSES, {**fields, "train.epochs": 100})


def host_profile(bench: Bench, name: str, make: Callable[[], Any]) -> None:
    """Write which functions take the host's time in ten generations: milliseconds a generation, calls a generation."""
    count = 10 if bench.gpu else 1
    with cProfile.Profile() as profiler:
        for _ in range(count):
            make()
    found = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    rows = [
        (f"{Path(file).name}:{line} {function}", own / count * 1e3, whole / count * 1e3, calls / count)
        for (file, line, function), (_, calls, own, whole, _) in found.items()
    ]
    for order, place in (("own", 1), ("whole", 2)):
        top = sorted(rows, key=lambda row: -row[place])[:25]
        bench.emit("host", name=name, order=order, ms_own_whole_calls={row[0]: row[1:] for row in top})


PLAIN, SHORT = "ieee", "tf32x3"
FORMS = {
    "paper 10": [("split", 4, 64, PLAIN), ("split", 8, 64, PLAIN), ("split", 4, 32, PLAIN), ("split", 8, 128, PLAIN)],
    "paper 10, Adam": [("split", 4, 64, PLAIN), ("split", 8, 64, PLAIN)],
    "paper 1000": [("whole", 4, 64, SHORT), ("whole", 8, 64, SHORT), ("whole", 4, 32, SHORT), ("whole", 8, 128, SHORT)],
    "paper 100": [("whole", 4, 64, SHORT), ("whole", 8, 64, SHORT), ("whole", 8, 128, SHORT)],
    "1000 narrow": [("split", 8, 32, PLAIN), ("split", 4, 32, PLAIN), ("split", 8, 32, SHORT), ("split", 4, 32, SHORT)],
}
"""Kernel, warps, inputs of a block or of a turn, products."""


def tune(bench: Bench, part: int = 0, of: int = 1, passes: int = 5) -> None:
    """Time the kernels of whole passes in other forms; with no ``passes`` only compile them."""
    from aecompress.engines.cuda import passes as engine

    for name in list(FORMS)[part::of] if bench.gpu else []:
        case, precision, _ = CASES["narrow"][name]
        work = work_for(bench, case, precision, 20)
        inputs, found = work.net.layers[0].inputs, dict[str, Any]()
        for kind, warps, stretch, product in FORMS[name]:
            form = engine.form_of(work.net, case.batch, False)
            form = form._replace(warps=warps, stretch=stretch, parts=-(-inputs // stretch), product=product)
            call, label = (
                {"split": engine.split, "whole": engine.whole}[kind],
                f"{kind}, {warps} warps, {stretch}, {product}",
            )
            try:
                if call(work, form, engine.launch_of(work, form)) is False:
                    found[label] = "not resident"
                    continue
                again = functools.partial(call, work, form, engine.launch_of(work, form))
                if passes:
                    found[label] = statistics.median(bench.seconds(again) / 20 * 1e6 for _ in range(passes))
                engine.check(bench.device)
            except Exception as fault:
                found[label] = f"{type(fault).__name__}: {fault}"[:200]
        bench.emit("tuned" if passes else "warm", case=name, us_per_step=found)


def loop_ms(bench: Bench, full: Case) -> dict[str, float]:
    """Return the milliseconds of a step of a loop over at most ten modules, each with its own fused Adam."""
    case = dataclasses.replace(full, cells=min(full.cells, 10))
    plan, rows = plan_for(case, False), rows_for(case, 10).to(bench.device)
    start = new_population(plan.net, case.cells, 1, RATE, case.rule == "adam", bench.device)
    call, _ = loop(case, plan, start, rows)
    call()
    return {"ms": statistics.median(bench.seconds(call) / 10 * 1e3 for _ in range(3)), "cells": case.cells}


STEPS: dict[str, tuple[int, int, Callable[[Bench], None]]] = {
    "kernels": (0, 40, kernels),
    **{
        f"equal:{engine} {part}": (1, 70, functools.partial(equal, engine=engine, part=part, of=of))
        for engine, of in ((GRAPHS, 1), (PASSES, 4))
        for part in range(of)
    },
    **{f"warm:{part}": (1, 70, functools.partial(tune, part=part, of=2, passes=0)) for part in range(2)},
    **{
        f"whole:{spec} {name}": (1, 70, functools.partial(whole, spec=spec, engine=name))
        for spec, names in RUNS.items()
        for name in names
    },
    **{f"fast:{group}": (2 + place, 40, functools.partial(fast, group=group)) for place, group in enumerate(CASES)},
    "trial": (4, 55, trial),
    "tune": (5, 45, tune),
}
"""Which steps run side by side (those of one number), the seconds that a step may take, and the step."""


def failed(bench: Bench, step: str, fault: Exception, **about: Any) -> None:
    """Write a fault: shortly as a result, in full into the folder."""
    at = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(fault.__traceback__)]
    causes = [fault]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:
        causes.append(cause)
    messages = [f"{type(one).__name__}: {one}" for one in causes]
    bench.emit("fault", step=step, **about, message=" <- ".join(each[-300:] for each in messages)[:900], at=at[-5:])
    if FOLDER[0] is not None:
        with (FOLDER[0] / f"{step.replace(':', '-').replace(' ', '-')}.txt").open("a") as file:
            print(about, file=file)
            traceback.print_exception(fault, file=file)


FOLDER: list[Path | None] = [None]
"""Where whole tracebacks go."""


def groups(names: list[str]) -> Iterator[list[str]]:
    """Yield the steps that run side by side."""
    for number in sorted({STEPS[name][0] for name in names}):
        yield [name for name in names if STEPS[name][0] == number]


def steps(bench: Bench, names: list[str], arguments: list[str]) -> int:
    """Do steps in processes of their own; return the exit code."""
    patience = 1 if bench.gpu else 5
    end, good = time.monotonic() + LIMIT * patience, True
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
    return steps(bench, names, arguments)


if __name__ == "__main__":
    sys.exit(main())
