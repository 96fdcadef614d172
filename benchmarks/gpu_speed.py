"""Milliseconds of a training step, by whoever can make it: the steps ``speed`` of benchmarks/gpu.py."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import statistics
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from engine import CPU, RATE, Case, loop, package, plan_for, population_for, rows_for, vmapped
from torch import Tensor

from aecompress import rng
from aecompress.engines.base import Engine, Workload
from aecompress.engines.eager import masked_update, products_of
from aecompress.engines.registry import ENGINES
from aecompress.engines.training import step_size
from aecompress.evolve.base import Plan
from aecompress.nets.autoencoder import gradient
from aecompress.nets.rows import gather
from aecompress.population.state import Population, load_tensors, new_population

if TYPE_CHECKING:
    from gpu import Bench

Contender = tuple[Callable[[], None], Callable[[], Tensor]]
"""A pass over the rows, and a look at its weights."""

PAPER, MIDDLE, LARGE = "1000-30-10-30-1000", "784-256-64-256-784", "784-1024-256-1024-784"
CASES: dict[str, tuple[Case, str, int]] = {
    "paper 10": (Case(PAPER, 10, 5, "fresh-adam"), "float32", 60),
    "paper 100": (Case(PAPER, 100, 5, "fresh-adam"), "float32", 60),
    "paper 1000": (Case(PAPER, 1000, 5, "fresh-adam"), "float32", 20),
    "middle": (Case(MIDDLE, 10, 64, "adam"), "float32", 60),
    "large": (Case(LARGE, 10, 256, "adam"), "float32", 20),
    "large bf16": (Case(LARGE, 10, 256, "adam"), "bf16", 20),
}
"""Case, precision of the products, steps of a pass."""
MOST_UPDATES = 1_000_000_000
"""Weights that a CPU updates within a pass, at most."""


class GraphedStep:
    """One training step of a block as a CUDA graph, replayed for every batch.

    It holds all that the graph reads. Order, step sizes and epsilons are tables on the device, looked up at a counter.
    """

    def __init__(self, bench: Bench, case: Case, plan: Plan, start: Population, rows: Tensor, update: Any) -> None:
        self.case, self.plan, self.start, self.rows, self.update = case, plan, start, rows, update
        self.block, self.steps, device = start.copy(), len(rows) // case.batch, rows.device
        self.own = products_of(self.block, plan.training)
        self.views = plan.net.layout.views(self.own.weights), plan.net.layout.views(self.own.gradient)
        self.kept = self.block.masks.float() if plan.training.persistent_masks else None
        pairs = [step_size(plan.training, s, plan.training.generations * self.steps) for s in range(self.steps)]
        self.sizes, self.epsilons = (torch.tensor(column, device=device) for column in zip(*pairs, strict=True))
        self.counter = torch.zeros(1, dtype=torch.int64, device=device)
        self.columns = torch.arange(case.batch, device=device)
        self.order = torch.zeros((case.cells, len(rows)), dtype=torch.int64, device=device)
        self.replay = bench.captured(self.step)
        for name, tensor in start.tensors().items():
            self.block.tensors()[name].copy_(tensor)
        self.own.weights.copy_(self.block.weights)

    def step(self) -> None:
        """Make the step at the counter, and count."""
        batch = gather(self.rows, self.order.index_select(1, self.counter * self.case.batch + self.columns))
        gradient(self.plan.net, *self.views, batch, None, 0.0, loss="l1")
        size, epsilon = self.sizes.index_select(0, self.counter), self.epsilons.index_select(0, self.counter)
        self.update(self.block, self.own, self.kept, self.plan.training, size, epsilon)
        self.counter.add_(1)

    def run(self) -> None:
        """Make a pass over the rows."""
        seed, cells = self.plan.training.seed, self.block.cells
        self.order.copy_(rng.permutation(seed, "batches", 0, cells, 0, len(self.rows)))
        self.counter.zero_()
        for _ in range(self.steps):
            self.replay()


def plan_on(case: Case, device: torch.device, engine: Engine, precision: str) -> Plan | None:
    """Return the plan of a case for an engine on a device; None where the engine cannot do it."""
    plan = plan_for(case, False)
    load = Workload(
        net=plan.net, device=device, precision=precision, family="plain", optimizer=case.rule, batch=case.batch,
        cells=case.cells, steps=10_000,
    )  # fmt: skip
    if engine.why_not(load):
        return None
    half = torch.bfloat16 if precision == "bf16" else None
    training = dataclasses.replace(plan.training, products=half)
    return dataclasses.replace(plan, training=training, engine=engine, blocks=engine.layout(load))


def takes_long(case: Case, plan: Plan, engine: str, steps: int) -> bool:
    """Return whether a CPU would train a pass for seconds, again and again: left out."""
    return engine != "numba-passes" and case.cells * plan.net.layout.size * steps > MOST_UPDATES


def contenders(bench: Bench, case: Case, precision: str, steps: int) -> dict[str, tuple[Callable[[], Contender], int]]:
    """Return who trains a case, by name: how to make it, and the threads inside torch's operations."""
    all_cores, rows = torch.get_num_threads(), rows_for(case, steps)
    eager = plan_on(case, bench.device, ENGINES["eager"], precision)
    assert eager is not None
    host = population_for(case, eager.net)
    start = new_population(eager.net, case.cells, 1, RATE, case.rule == "adam", bench.device)
    load_tensors(start, host.tensors(), 0)
    given = (case, eager, start, rows.to(bench.device))
    found: dict[str, tuple[Callable[[], Contender], int]] = {}
    for place, device in (("", bench.device), ("cpu ", CPU)):
        for name, engine in ENGINES.items():
            plan = plan_on(case, device, engine, precision)
            if plan is not None and not (place and (precision == "bf16" or takes_long(case, plan, name, steps))):
                mine = (case, plan, host, rows) if place else (case, plan, *given[2:])
                found[place + name] = (lambda mine=mine: package(*mine), plan.blocks.threads or all_cores)

    def graphed(update: Any) -> Contender:
        step = GraphedStep(bench, *given, update)
        return step.run, lambda: step.block.weights

    found["graph"] = (lambda: graphed(masked_update), 1)
    if precision == "float32" and case.cells <= 100:
        found["vmap"] = (lambda: vmapped(*given), 1)
    if precision == "float32" and case.cells <= 10:
        found["loop"] = (lambda: loop(*given), 1)
    runs_triton = bench.gpu or os.environ.get("TRITON_INTERPRET") == "1"
    if not (runs_triton and importlib.util.find_spec("triton")):
        bench.emit("missing", module="triton", why="the sketches are not timed; on a CPU they need TRITON_INTERPRET=1")
        return found
    import gpu_sketches

    found["graph, fused update"] = (lambda: graphed(gpu_sketches.fused_update), 1)
    if case.rule == "fresh-adam":
        found["whole pass"] = (lambda: gpu_sketches.whole_pass(*given), 1)
        if case.cells <= 10 or not bench.gpu:
            found["split pass"] = (lambda: gpu_sketches.split_pass(*given), 1)
    return found


def speed(bench: Bench, name: str) -> None:
    """Time a training step of all cells, contenders interleaved; each must end where the eager engine does.

    Raises:
        AssertionError: one ends elsewhere, by more than a hundredth of the movement.
    """
    case, precision, steps = CASES[name]
    if not bench.gpu:
        case, steps = Case("30-16-4-16-30", 3, 5, case.rule), 6
    passes: dict[str, tuple[Callable[[], None], int]] = {}
    weights: dict[str, Tensor] = {}
    for who, (make, threads) in contenders(bench, case, precision, steps).items():
        torch.set_num_threads(threads)
        try:
            trained, look = make()
            passes[who] = (trained, threads)
            bench.seconds(trained)
            weights[who] = look().detach().cpu().clone()
        except Exception as fault:  # such as too little shared memory for a sketch: a result too
            passes.pop(who, None)
            bench.emit("fault", step=f"speed:{name}", contender=who, message=str(fault)[:300])
    moved = (weights["eager"] - population_for(case, plan_for(case, False).net).weights).abs().mean()
    apart = {who: float((mine - weights["eager"]).abs().mean() / moved) for who, mine in weights.items()}
    times: dict[str, list[float]] = {who: [] for who in passes}
    for _ in range(7 if bench.gpu else 2):
        for who, (trained, threads) in passes.items():
            if len(times[who]) < 3 or statistics.median(times[who]) < 0.5:
                torch.set_num_threads(threads)
                times[who].append(bench.seconds(trained) / steps * 1e3)
    torch.set_num_threads(1)
    launched = {who: bench.launched(passes[who][0]) for who in ("eager", "graph")}
    bench.emit(
        "speed", case=name, network=case.network, cells=case.cells, batch=case.batch, rule=case.rule,
        precision=precision, ms_per_step={who: bench.quartiles(values) for who, values in times.items()},
        apart_over_moved=apart, same_bits=[who for who in weights if torch.equal(weights[who], weights["eager"])],
        kernels_per_step={who: kernels / steps for who, (kernels, _) in launched.items()},
        busy_us_per_step={who: busy / steps * 1e6 for who, (_, busy) in launched.items()},
    )  # fmt: skip
    elsewhere = {who: how for who, how in apart.items() if not how < 0.01}
    assert not elsewhere, f"{name}: ends elsewhere: {elsewhere}"
