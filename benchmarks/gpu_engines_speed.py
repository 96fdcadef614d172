"""How fast the CUDA engines are on this card: the steps of gpu_engines.py that time."""

from __future__ import annotations

import cProfile
import dataclasses
import functools
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from engine import RATE, Case, loop, plan_for, population_for, rows_for
from gpu import CLUSTERS, Bench, job_of, parts_of, synchronising
from gpu_correct import with_engine
from gpu_engines_correct import BOTH, GRAPHS, PASSES, Fields, differences, failed, made_of, trained

from aecompress import events
from aecompress.engines.base import Work, check_trained
from aecompress.engines.cuda import graphs
from aecompress.engines.cuda import steps as steps_
from aecompress.engines.registry import ENGINES
from aecompress.evolve.base import Plan, Rows
from aecompress.evolve.generation import generation
from aecompress.plan.first import first_population
from aecompress.plan.rows import rows_of
from aecompress.population.state import Population, load_tensors, new_population
from aecompress.runs.job import prepare
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve

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
        "large": (Case("784-1024-256-1024-784", 10, 256, "adam"), "float32", 60),
        "large bf16": (Case("784-1024-256-1024-784", 10, 256, "adam"), "bf16", 60),
    },
    "many": {
        "large 100": (Case("784-1024-256-1024-784", 100, 256, "adam"), "float32", 20),
        "large 100 bf16": (Case("784-1024-256-1024-784", 100, 256, "adam"), "bf16", 20),
    },
}
"""Case, precision of the products, steps of a pass."""


CONTENDERS = {
    "narrow": ("eager", GRAPHS, PASSES),
    "wide": ("eager", GRAPHS, f"{GRAPHS}: fused update"),
    "many": ("eager", GRAPHS),
}
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


def ready(bench: Bench, part: int, of: int) -> None:
    """Compile what every third case of narrow networks runs."""
    for name in list(CASES["narrow"])[part::of]:
        case, precision, steps = CASES["narrow"][name]
        work = work_for(bench, case if bench.gpu else Case("30-16-4-16-30", 3, 5, case.rule), precision, steps)
        for engine in BOTH:
            trained(engine, dataclasses.replace(work, steps=range(2)))


def update(bench: Bench) -> None:
    """Time the fused update of large networks against copying, both by bytes read and written."""
    if not bench.gpu:
        return
    from aecompress.engines.cuda.update_kernel import fused_update

    values = torch.empty(1 << 29, device=bench.device)
    rate = values.nbytes / bench.best(functools.partial(values[: 1 << 28].copy_, values[1 << 28 :]), 3)
    del values
    for cells in (10, 100):
        for precision in ("float32", "bf16"):
            case = Case("784-1024-256-1024-784", cells, 256, "adam")
            buffers = steps_.new_buffers(work_for(bench, case, precision, 2))
            size, epsilon = buffers.tables[:1].unbind(1)
            call = functools.partial(
                fused_update, buffers.block, buffers.own, buffers.kept, buffers.training, size, epsilon
            )
            seconds = bench.best(call, 10)
            moved = 29 * buffers.block.weights.numel()  # bytes: 17 read and 12 written, or 15 and 14
            bench.emit(
                "update", cells=cells, precision=precision, ms=seconds * 1e3, copy_TB_s=rate / 1e12,
                share_of_copying=moved / seconds / rate,
            )  # fmt: skip
            del buffers, call


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
        rows = rows_of(job.sampling, job.dataset, job.device)
        for name in (PASSES, GRAPHS):
            mine = with_engine(job, name)
            population = first_population(job.first, job.net, job.dataset, job.device)
            population.generation = mine.plan.training.generations // 3
            make = functools.partial(generation, mine.plan, population, rows, lambda: None)
            try:
                make()
                make()
                whole = [bench.seconds(make) * 1e3 for _ in range(10 if bench.gpu else 1)]
                kernels, busy = bench.launched(make)
                bench.emit(
                    "generation", preset=preset, engine=name, ms=bench.quartiles(whole), kernels=kernels,
                    ms_in_a_row=in_a_row(bench, mine.plan, population, rows), busy_ms=busy * 1e3,
                    parts_ms=parts_of(bench, mine, population, rows),
                    synchronising=synchronising(bench, make),
                )  # fmt: skip
                host_profile(bench, f"{preset} {name}", make)
            except Exception as fault:
                failed(bench, "trial", fault, preset=preset, engine=name)
    for preset in ("paper-coevo-sync", "paper-coevo"):
        one_trial(bench, preset, PASSES, fields)
        one_trial(bench, preset, GRAPHS, {**fields, "train.epochs": 100})
    whole = functools.partial(one_trial, bench, "paper-coevo-sync", PASSES, fields)
    host_profile(bench, "trial of paper-coevo-sync", whole, count=1)


def in_a_row(bench: Bench, plan: Plan, population: Population, rows: Rows, count: int = 20) -> float:
    """Return the milliseconds of a generation where the next is begun before its figures are there."""

    def make() -> None:
        last = population
        for _ in range(count if bench.gpu else 2):
            last, _ = generation(plan, last, rows, lambda: None)

    return bench.seconds(make) / (count if bench.gpu else 2) * 1e3


def host_profile(bench: Bench, name: str, make: Callable[[], Any], count: int = 10) -> None:
    """Write which functions take the host's time in some calls: milliseconds a call, calls a call."""
    count = count if bench.gpu else 1
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


PLAIN, SHORT, ROWS, MIXED = "ieee", "tf32x3", "rows", "mixed"
FORMS: dict[str, list[tuple[str, int, int, str]]] = {
    "paper 10": [
        ("split", 4, 64, MIXED), ("split", 2, 64, MIXED), ("split", 8, 64, MIXED), ("split", 4, 64, PLAIN),
        ("step", 4, 64, MIXED), ("step", 4, 32, MIXED),
    ],
    "paper 10, Adam": [("split", 4, 64, MIXED), ("split", 8, 128, MIXED), ("step", 4, 64, MIXED)],
    "paper 100": [
        ("whole", 8, 128, SHORT), ("step", 2, 64, ROWS), ("step", 4, 128, ROWS), ("step", 4, 64, SHORT),
    ],
    "paper 1000": [
        ("whole", 4, 64, SHORT), ("step", 2, 64, ROWS), ("step", 4, 128, ROWS), ("step", 4, 64, SHORT),
    ],
    "1000 narrow": [("split", 4, 32, PLAIN), ("split", 8, 32, PLAIN), ("step", 4, 32, PLAIN)],
}  # fmt: skip
"""Kernels, warps, inputs of a block or of a turn, products."""


def in_form(work: Work, kind: str, warps: int, stretch: int, product: str) -> Callable[[], bool]:
    """Return what trains a block in place for a pass, by kernels of a kind in a form."""
    from aecompress.engines.cuda import passes

    batch = min(work.training.batch, work.rows.shape[0])
    form = passes.form_of(work.net, batch, False)._replace(
        warps=warps, stretch=stretch, parts=-(-work.net.layers[0].inputs // stretch), product=product,
        batch_tile=passes.power_of_two(batch, 4 if product in passes.FEW else 16),
    )  # fmt: skip
    if kind == "split":
        return lambda: passes.split(work, passes.launch_of(work, form))
    if kind == "whole":
        return lambda: passes.whole(work, passes.launch_of(work, form)) is None
    from aecompress.engines.cuda.narrow_kernels import begin, narrow_step

    buffers = dataclasses.replace(steps_.new_buffers(work), scratch=passes.scratch_of(work, form))
    steps_.fill(buffers, work)
    body = functools.partial(narrow_step, buffers, work.training.loss(work.block.generation))
    replay = graphs.captured(body, buffers.rewind)

    def train() -> bool:
        steps_.fill(buffers, work)
        begin(buffers)
        for _ in work.steps:
            replay()
        steps_.empty(buffers, work)
        return True

    return train


def tune(bench: Bench, part: int = 0, of: int = 1, repeats: int = 5) -> None:
    """Time kernels of narrow networks in other forms: microseconds of a step, and how far from the eager engine.

    With no ``repeats`` only compile them.
    """
    from aecompress.engines.cuda import passes

    for name in CASES["narrow"] if bench.gpu else []:
        case, precision, _ = CASES["narrow"][name]
        work = work_for(bench, case, precision, 20)
        found, wanted = dict[str, Any](), eagerly(work)
        for kind, warps, stretch, product in FORMS[name][part::of]:
            label = f"{kind}, {warps} warps, {stretch}, {product}"
            one = dataclasses.replace(work, block=work.block.copy())
            try:
                train = in_form(one, kind, warps, stretch, product)
                if not train():
                    found[label] = "not resident"
                    continue
                check_trained(passes.taken_fault(bench.device).tolist(), bench.device)
                apart = max(differences(one.block, wanted).values())
                kernels = bench.kernels(train) if repeats else {}
                times = [bench.seconds(train) / 20 * 1e6 for _ in range(repeats)] or [0.0]
                busy = {kernel: seconds / 20 * 1e6 for kernel, (_, seconds) in kernels.items() if "_kernel" in kernel}
                found[label] = {"us": statistics.median(times), "apart": apart, "busy": busy}
                check_trained(passes.taken_fault(bench.device).tolist(), bench.device)
            except Exception as fault:
                found[label] = f"{type(fault).__name__}: {fault}"[:200]
        bench.emit("tuned" if repeats else "warm", case=name, us_per_step=found)


PROFILED = [("wide", "large bf16"), ("wide", "large"), ("many", "large 100 bf16"), ("narrow", "paper 10")]


def profile(bench: Bench) -> None:
    """Write which kernels a step of `cuda-graphs` consists of: microseconds a step, and how many a step."""
    for group, name in PROFILED:
        case, precision, steps = CASES[group][name]
        work = work_for(bench, case if bench.gpu else Case("30-16-4-16-30", 3, 5, case.rule), precision, steps)
        train = functools.partial(ENGINES[GRAPHS].train, work)
        train()
        found = bench.kernels(train)
        longest = sorted(found.items(), key=lambda item: -item[1][1])[:24]
        figures = {kernel[:90]: (spent / steps * 1e6, count / steps) for kernel, (count, spent) in longest}
        busy = sum(seconds for _, seconds in found.values()) / steps * 1e6
        bench.emit("kernels", case=name, busy_us=busy, us_and_count_per_step=figures)


def loop_ms(bench: Bench, full: Case) -> dict[str, float]:
    """Return the milliseconds of a step of a loop over at most ten modules, each with its own fused Adam."""
    case = dataclasses.replace(full, cells=min(full.cells, 10))
    plan, rows = plan_for(case, False), rows_for(case, 10).to(bench.device)
    start = new_population(plan.net, case.cells, 1, RATE, case.rule == "adam", bench.device)
    call, _ = loop(case, plan, start, rows)
    call()
    return {"ms": statistics.median(bench.seconds(call) / 10 * 1e3 for _ in range(3)), "cells": case.cells}
