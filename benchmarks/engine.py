"""Step time, cost and memory per cell of the engine, against what a good torch user writes and against the machine.

    python benchmarks/engine.py [--json FILE] [--quick]        step times as a Markdown table
    python benchmarks/engine.py --memory CELLS RULE            peak memory per cell of a whole run, in parameter bytes
    python benchmarks/engine.py --half MNIST.npz               bfloat16 against float32, and their final losses
    python benchmarks/engine.py --convolutions [MNIST.npz]     convolutional networks (benchmarks/convolutions.py)

Contenders train the same cells on the same batches, interleaved in one process, each at its better of one and two
threads, medians of the repeats; before a time counts, its weights must be those of the others.

loop      one nn.Module per cell, Adam(fused=True); for the fresh-Adam rule its update through foreach operations
vmap      torch.func.vmap of grad over the stacked modules, update through whole-tensor operations
eager     this package without a compiler
ours      this package with --compile on
limit     counted operations / measured product rate + counted bytes / measured bandwidth at that working-set size
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import convolutions
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from aecompress import rng
from aecompress.engines import workers
from aecompress.engines.blocks import BLOCK_BYTES
from aecompress.evolve.base import Plan, Rows
from aecompress.evolve.visit import visit_all
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.engine import choose_engine, workload_of
from aecompress.plan.network import network_of
from aecompress.plan.plan import plan_of
from aecompress.population.state import Population, new_population
from aecompress.spec.resolve import resolve

NETWORKS: dict[str, dict[str, Any]] = {
    "30-16-4-16-30": {"inputs": 30, "hidden": [16], "latent": 4},
    "1000-30-10-30-1000": {"inputs": 1000, "hidden": [30], "latent": 10},
    "784-256-64-256-784": {"inputs": 784, "hidden": [256], "latent": 64},
    "784-1024-256-1024-784": {"inputs": 784, "hidden": [1024], "latent": 256},
}
RATE = 1e-4
CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class Case:
    """One line of the table."""

    network: str
    cells: int
    batch: int
    rule: str
    """fresh-adam, or adam with persistent masks."""


def plan_for(case: Case, compiled: bool, precision: str = "float32") -> Plan:
    """The package's plan for a case."""
    work = NETWORKS[case.network]
    flags: dict[str, Any] = {
        "mode": "canonical" if case.cells == 1 else "coevo",
        "compile": "on" if compiled else "off",
        "precision": precision,
        "model.hidden": work["hidden"],
        "model.latent": work["latent"],
        "model.latent_activation": "relu",
        "model.output": "sigmoid",
        "train.batch": case.batch,
        "train.epochs": 1000,
        "train.loss": "l1",
        "train.optimizer": case.rule,
        "train.betas": [0.9, 0.999],
        "train.rate": "walk",
        "train.learning_rate": RATE,
        "prune.operator": "none",
        "prune.target_sparsity": 0.0,
    }
    if case.cells > 1:
        flags |= {"evolve.cells": case.cells, "evolve.rule": "pair"}
    spec = resolve({path: ("benchmark", value) for path, value in flags.items()}).spec
    net = network_of(spec.model, (work["inputs"],))
    load = workload_of(spec, net, CPU, 100 * case.batch)
    plan = plan_of(spec, load, choose_engine(load, spec.compile).engine)
    masked = dataclasses.replace(plan.training, persistent_masks=case.rule == "adam")
    return dataclasses.replace(plan, training=masked)


def population_for(case: Case, net: Autoencoder) -> Population:
    """Fresh individuals; under Adam 30 % of their weights are masked."""
    population = new_population(net, case.cells, 1, RATE, case.rule == "adam", CPU)
    if case.rule == "adam":
        for cell in range(case.cells):
            draws = torch.rand(net.layout.size, generator=torch.Generator().manual_seed(cell))
            population.masks[cell] = draws > 0.3
        population.weights.mul_(population.masks)
    return population


def rows_for(case: Case, steps: int) -> Tensor:
    """Random 0/1 rows for a pass of ``steps`` batches."""
    count = steps * case.batch
    draws = torch.rand(count, NETWORKS[case.network]["inputs"], generator=torch.Generator().manual_seed(0))
    return (draws > 0.25).float()


def module_of(net: Autoencoder, row: Tensor) -> nn.Sequential:
    """One individual as a torch user writes it."""
    views, parts = net.layout.views(row[None]), []
    for index, layer in enumerate(net.layers):
        linear = nn.Linear(layer.inputs, layer.outputs)
        linear.weight.data = views[layer.name + ".weight"][0].T.contiguous().clone()
        linear.bias.data = views[layer.name + ".bias"][0, 0].clone()
        parts += [linear, nn.Sigmoid() if index == len(net.layers) - 1 else nn.ReLU()]
    return nn.Sequential(*parts)


def row_of(module: nn.Sequential) -> Tensor:
    """Its parameters as a row ``[n]``."""
    linears = [part for part in module if isinstance(part, nn.Linear)]
    return torch.cat([t for linear in linears for t in (linear.weight.data.T.flatten(), linear.bias.data)])


def loop(case: Case, plan: Plan, start: Population, rows: Tensor) -> tuple[Callable[[], None], Callable[[], Tensor]]:
    """A loop over modules, each with its own optimizer."""
    modules = [module_of(plan.net, row) for row in start.weights]
    optimizers = [torch.optim.Adam(m.parameters(), lr=RATE, betas=(0.9, 0.999), fused=True) for m in modules]
    masks = [list(module_of(plan.net, row.float()).parameters()) for row in start.masks]
    order = rng.permutation(plan.training.seed, "batches", 0, start.cells, 0, len(rows))

    def run() -> None:
        for step in range(len(rows) // case.batch):
            for cell, module in enumerate(modules):
                batch = rows[order[cell, step * case.batch : (step + 1) * case.batch]]
                optimizers[cell].zero_grad(set_to_none=True)
                nn.functional.l1_loss(module(batch), batch).backward()
                slopes = [p.grad for p in module.parameters()]
                if case.rule == "adam":
                    torch._foreach_mul_(slopes, masks[cell])
                    optimizers[cell].step()
                else:
                    with torch.no_grad():
                        scale = torch._foreach_abs(slopes)
                        torch._foreach_add_(scale, 1e-8)
                        torch._foreach_addcdiv_(list(module.parameters()), slopes, scale, -RATE)

    return run, lambda: torch.stack([row_of(module) for module in modules])


def vmapped(case: Case, plan: Plan, start: Population, rows: Tensor) -> tuple[Callable[[], None], Callable[[], Tensor]]:
    """vmap of grad over the stacked modules."""
    modules = [module_of(plan.net, row) for row in start.weights]
    parameters, _ = stack_module_state(modules)
    parameters = {name: tensor.detach() for name, tensor in parameters.items()}
    masks, _ = stack_module_state([module_of(plan.net, row.float()) for row in start.masks])
    kept = [mask.detach() for mask in masks.values()]
    first, second = ([torch.zeros_like(t) for t in parameters.values()] for _ in range(2))
    order = rng.permutation(plan.training.seed, "batches", 0, start.cells, 0, len(rows))
    base, passes = modules[0], [0]

    def loss(values: dict[str, Tensor], batch: Tensor) -> Tensor:
        return nn.functional.l1_loss(functional_call(base, values, (batch,)), batch)

    slope = vmap(grad(loss))

    def run() -> None:
        for step in range(len(rows) // case.batch):
            index = order[:, step * case.batch : (step + 1) * case.batch]
            slopes = [t.contiguous() for t in slope(parameters, rows[index]).values()]
            values = list(parameters.values())
            if case.rule == "adam":
                passes[0] += 1
                torch._foreach_mul_(slopes, kept)
                torch._foreach_lerp_(first, slopes, 0.1)
                torch._foreach_mul_(second, 0.999)
                torch._foreach_addcmul_(second, slopes, slopes, 0.001)
                correction = (1 - 0.999 ** passes[0]) ** 0.5
                scale = torch._foreach_sqrt(second)
                torch._foreach_add_(scale, 1e-8 * correction)
                torch._foreach_addcdiv_(values, first, scale, -RATE * correction / (1 - 0.9 ** passes[0]))
            else:
                scale = torch._foreach_abs(slopes)
                torch._foreach_add_(scale, 1e-8)
                torch._foreach_addcdiv_(values, slopes, scale, -RATE)

    def weights() -> Tensor:
        names = list(parameters)
        parts = [
            parameters[name].transpose(1, 2).flatten(1) if parameters[name].ndim == 3 else parameters[name]
            for name in names
        ]
        return torch.cat(parts, 1)

    return run, weights


def package(case: Case, plan: Plan, start: Population, rows: Tensor) -> tuple[Callable[[], None], Callable[[], Tensor]]:
    """This package: a pass over the rows for every cell, in its blocks."""
    population, cells = start.copy(), list(range(case.cells))
    given = Rows(train=rows, sample=rows, validation=rows, validation_sample=rows, guide=rows)

    def run() -> None:
        visit_all(dataclasses.replace(plan, pruning=None), population, cells, given, lambda: None)

    return run, lambda: population.weights


def timed(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def product_rate(dtype: torch.dtype = torch.float32) -> float:
    """Floating-point operations per second of a 2048 cube product, at the better of one and two threads."""
    a, b = torch.randn(2048, 2048).to(dtype), torch.randn(2048, 2048).to(dtype)
    best = 0.0
    for threads in (1, 2):
        torch.set_num_threads(threads)
        best = max(best, 2 * 2048**3 / min(timed(lambda: torch.mm(a, b)) for _ in range(6)))
    return best


def bandwidth(size: float) -> float:
    """Bytes read and written per second by all cores, each scaling its own share of ``size`` bytes in place."""
    share = max(int(size / 4 / workers.cores()), 1024)
    arrays = [torch.rand(share).numpy() for _ in range(workers.cores())]
    rounds = max(1, int(2e8 / (8 * share)))

    def scale(core: int) -> None:
        for _ in range(rounds):
            arrays[core] *= arrays[core].dtype.type(1.0000001)

    best = min(timed(lambda: workers.each(scale, range(workers.cores()))) for _ in range(4))
    return 8 * share * rounds * workers.cores() / best


def limit(case: Case, net: Autoencoder, rate: float) -> float:
    """Seconds of a step that no program on this machine can beat by much."""
    weights = sum(layer.inputs * layer.outputs for layer in net.layers)
    products = 2 * case.batch * (3 * weights - net.layers[0].inputs * net.layers[0].outputs)
    values = net.layout.size * (2 if case.rule == "fresh-adam" else 6.25)  # read and written, and the mask
    held = 4 * case.cells * net.layout.size * (1 if case.rule == "fresh-adam" else 3.25)
    return case.cells * products / rate + 4 * case.cells * values / bandwidth(min(held, 64e6))


def bench(case: Case, rate: float, quick: bool) -> dict[str, Any]:
    """Medians of a step of every contender, in milliseconds, after proving that they agree."""
    ours, eager = plan_for(case, True), plan_for(case, False)
    net = ours.net
    floor = limit(case, net, rate)
    least = 100 if case.batch == 5 else 20  # so that what is done once per pass counts as little as in a real one
    steps = max(least, min(200, int((0.05 if quick else 0.15) / (floor * 4))))
    start, rows = population_for(case, net), rows_for(case, steps)
    builders = {"loop": (loop, eager), "vmap": (vmapped, eager), "eager": (package, eager), "ours": (package, ours)}
    if case.cells > 10:  # a loop costs the same per cell at any number of them
        builders = {"ours": (package, ours)}
    contenders = {name: make(case, plan, start, rows) for name, (make, plan) in builders.items()}
    torch.set_num_threads(1)
    for run, _ in contenders.values():
        run()
    moved = float((contenders["ours"][1]() - start.weights).abs().mean())
    for name, (_, weights) in contenders.items():
        apart = float((weights() - contenders["ours"][1]()).abs().mean())
        assert apart < 0.01 * moved, f"{case}: {name} ends elsewhere: {apart:.2e} after moving {moved:.2e}"
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(2 if quick else 5):
        for name, (run, _) in contenders.items():
            # Where cores take cells or blocks of their own, an operation has one thread.
            alone = name in ("ours", "eager") and builders[name][1].blocks.threads == 1
            for threads in (1,) if alone else (1, 2):
                torch.set_num_threads(threads)
                time.sleep(0.02)  # so that the threads of whoever ran before no longer wait, busily, for more work
                times.setdefault((name, threads), []).append(timed(run) / steps * 1e3)
    best = {
        name: min(statistics.median(values) for (who, _), values in times.items() if who == name) for name in contenders
    }
    return {**dataclasses.asdict(case), "limit": floor * 1e3, **best}


def cases(quick: bool) -> list[Case]:
    found = []
    for network in NETWORKS:
        for batch in (5, 64, 256):
            for cells in (1, 10, 100, 1000):
                small = network == "1000-30-10-30-1000"
                if cells > 10 and not (small and batch == 5):
                    continue
                if quick and not ((small and batch == 5) or ((cells, batch) == (10, 256) and "1024" in network)):
                    continue
                found += [Case(network, cells, batch, rule) for rule in ("fresh-adam", "adam")]
    return found


def table(lines: list[dict[str, Any]], rate: float) -> str:
    """The results as Markdown, milliseconds per step of all cells."""
    out = [
        f"Product rate {rate / 1e9:.0f} GFLOP/s, {workers.cores()} cores, torch {torch.__version__}, "
        f"blocks of {BLOCK_BYTES / 1e6:.1f} MB.",
        "",
        "| network | batch | cells | rule | loop | vmap | eager | ours | limit | loop/ours | ours/limit | us/cell |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        times = [f"{line[name]:.3f}" if name in line else "" for name in ("loop", "vmap", "eager", "ours", "limit")]
        gain = f"{line['loop'] / line['ours']:.1f}" if "loop" in line else ""
        out.append(
            f"| {line['network']} | {line['batch']} | {line['cells']} | {line['rule']} | {' | '.join(times)} | {gain} "
            f"| {line['ours'] / line['limit']:.2f} | {line['ours'] / line['cells'] * 1e3:.1f} |"
        )
    return "\n".join(out)


def memory(cells: int, rule: str) -> None:
    """Peak resident memory of a whole run above the imports and the data, per cell, in bytes of its parameters."""
    from aecompress.runs.job import prepare
    from aecompress.runs.run import run

    def job(count: int, folder: Path) -> Any:
        flags = {
            "data.source": "binary-clusters:10x20x1000", "evolve.cells": count, "train.epochs": 2, "compile": "on",
            "train.optimizer": rule, "checkpoint_every": 1,
        }  # fmt: skip
        if rule == "adam":
            flags |= {"prune.operator": "magnitude", "prune.target_sparsity": 0.5, "prune.drive": "target",
                      "prune.form": "score", "prune.schedule": "cubic", "prune.masks": "fixed"}  # fmt: skip
        else:
            flags |= {"prune.operator": "random"}
        resolved = resolve({path: ("benchmark", value) for path, value in flags.items()}, preset="paper-coevo-sync")
        return prepare(resolved, folder, True)

    with tempfile.TemporaryDirectory() as place:
        list(run(job(2, Path(place) / "warm")))  # every import and compiled loop
        large = job(cells, Path(place) / "run")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        list(run(large))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    own = 4 * large.net.layout.size
    print(json.dumps({"cells": cells, "rule": rule, "bytes_per_parameter_byte": peak * 1024 / cells / own}))


def half(mnist: str) -> None:
    """bfloat16 products against float32: step time of the large network, and final losses of a short training."""
    case = Case("784-1024-256-1024-784", 10, 256, "adam")
    rows = rows_for(case, 60)
    plans = {name: plan_for(case, True, name) for name in ("float32", "bf16")}
    runs = {name: package(case, plan, population_for(case, plan.net), rows) for name, plan in plans.items()}
    torch.set_num_threads(plans["float32"].blocks.threads or torch.get_num_threads())
    for run, _ in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(3):
        for name, (run, _) in runs.items():
            times[name].append(timed(run) / 60)
    median = {name: statistics.median(values) for name, values in times.items()}
    net, rate = plans["float32"].net, product_rate()
    weights = sum(layer.inputs * layer.outputs for layer in net.layers)
    products = case.cells * 2 * case.batch * (3 * weights - net.layers[0].inputs * net.layers[0].outputs)
    losses = {name: statistics.fmean(final_loss(name, mnist, seed) for seed in range(3)) for name in plans}
    print(
        json.dumps(
            {
                "seconds": median,
                "bf16_gain": median["float32"] / median["bf16"],
                "product_gain": product_rate(torch.bfloat16) / rate,
                "share_of_product_rate": products / median["float32"] / rate,
                "final_loss": losses,
                "loss_ratio": losses["bf16"] / losses["float32"],
            }
        )
    )


def final_loss(precision: str, mnist: str, seed: int) -> float:
    """Validation loss of a whole run of the large network on MNIST; another seed moves it by one per cent."""
    from aecompress.events import Finished
    from aecompress.runs.job import prepare
    from aecompress.runs.run import run

    flags: dict[str, Any] = {
        "data.source": f"{mnist}:train", "data.test": f"{mnist}:test", "precision": precision, "mode": "canonical",
        "compile": "on", "model.hidden": [1024], "model.latent": 256, "train.batch": 256, "train.epochs": 6,
        "train.learning_rate": 0.002, "prune.target_sparsity": 0.0, "seed": seed,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        job = prepare(resolve({path: ("benchmark", value) for path, value in flags.items()}), Path(place) / "run")
        return next(e.metrics["validation_mse"] for e in run(job) if isinstance(e, Finished))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--half", metavar="MNIST.npz")
    parser.add_argument("--convolutions", metavar="MNIST.npz", nargs="?", const="")
    parser.add_argument("--memory", nargs=2, metavar=("CELLS", "RULE"))
    chosen = parser.parse_args()
    if chosen.memory:
        memory(int(chosen.memory[0]), chosen.memory[1])
        return
    if chosen.convolutions is not None:
        text, results = convolutions.table(chosen.convolutions, chosen.quick)
        print(text)
        if chosen.json:
            chosen.json.write_text(json.dumps({"lines": results}, indent=1) + "\n")
        return
    if chosen.half:
        half(chosen.half)
        return
    rate, lines = product_rate(), []
    for case in cases(chosen.quick):
        lines.append(bench(case, rate, chosen.quick))
        print(lines[-1], file=sys.stderr)
    print(table(lines, rate))
    if chosen.json:
        chosen.json.write_text(json.dumps({"product_rate": rate, "lines": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
