"""Training convolutional autoencoders: a ring of eight and a single one, against loops of torch's modules.

    python benchmarks/engine.py --convolutions [MNIST.npz]     without a file: made-up rows of that shape

28x28 rows, 16-32-64 channels, 3x3 kernels of stride 2, a dense code of 64, transposed convolutions back; mean squared
error, Adam. Contenders train the same cells on the same batches, interleaved in one process, and a time counts once
the weights are those of the others.

loop      one nn.Sequential per cell, Adam(fused=True), channels first, as most write it
last      the same modules and rows in torch.channels_last
eager     this package without a compiler
ours      this package with --compile on

Loops run at one thread and at as many as there are cores; the gain is over the fastest of them, and its interval holds
95 % of the medians of the rounds drawn again. Beside other programs, OMP_NUM_THREADS=1 compares one core with one core.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aecompress import rng
from aecompress.engines import workers
from aecompress.evolve.base import Plan, Rows
from aecompress.evolve.visit import visit_all
from aecompress.plan.engine import choose_engine, workload_of
from aecompress.plan.network import network_of
from aecompress.plan.plan import plan_of
from aecompress.population.state import new_population
from aecompress.spec.resolve import resolve

CHANNELS, LATENT, SIDE = (16, 32, 64), 64, 28
RATE = 1e-3
CPU = torch.device("cpu")
Contender = tuple[Callable[[], None], Callable[[], Tensor]]
"""A pass over the rows, and the weights of all cells, ``[P, n]``."""


def plan_for(cells: int, batch: int, rows: int, compiled: bool) -> Plan:
    """Return the package's plan."""
    flags: dict[str, Any] = {
        "mode": "canonical" if cells == 1 else "coevo",
        "compile": "on" if compiled else "off",
        "model.network": "conv",
        "model.hidden": list(CHANNELS),
        "model.latent": LATENT,
        "model.activation": "relu",
        "model.latent_activation": "identity",
        "model.output": "sigmoid",
        "train.batch": batch,
        "train.epochs": 1000,
        "train.loss": "mse",
        "train.optimizer": "adam",
        "train.betas": [0.9, 0.999],
        "train.rate": "walk",
        "train.learning_rate": RATE,
        "prune.operator": "none",
        "prune.target_sparsity": 0.0,
    }
    if cells > 1:
        flags |= {"evolve.cells": cells, "evolve.rule": "pair"}
    spec = resolve({path: ("benchmark", value) for path, value in flags.items()}).spec
    load = workload_of(spec, network_of(spec.model, (SIDE, SIDE)), CPU, rows)
    return plan_of(spec, load, choose_engine(load, spec.compile).engine)


def package(cells: int, batch: int, rows: Tensor, compiled: bool) -> Contender:
    """Return this package's passes."""
    plan = plan_for(cells, batch, len(rows), compiled)
    population = new_population(plan.net, cells, 1, RATE, True, CPU)
    given = Rows(train=rows, sample=rows, validation=rows, validation_sample=rows, guide=rows)

    def run() -> None:
        torch.set_num_threads(plan.blocks.threads or workers.cores())
        visit_all(plan, population, list(range(cells)), given, lambda: None)
        population.generation += 1

    return run, lambda: population.weights


def module_of(plan: Plan, row: Tensor) -> nn.Sequential:
    """Return one individual as a torch user writes it, channels first."""
    views, parts = plan.net.layout.views(row[None]), []
    for layer in plan.net.weighted:
        last = layer is plan.net.weighted[-1]
        own, inputs, kind = layer.layer, layer.given[-1], layer.kind
        more = getattr(own, "output_padding", 0)
        made: Any = {
            "dense": lambda layer=layer: nn.Linear(layer.inputs, layer.outputs),
            "conv2d": lambda layer=layer, inputs=inputs: nn.Conv2d(inputs, layer.units, 3, 2, 1),
            "conv2d-transpose": lambda layer=layer, inputs=inputs, more=more: nn.ConvTranspose2d(
                inputs, layer.units, 3, 2, 1, more
            ),
        }[kind]()
        weight, bias = views[layer.name + ".weight"][0].numpy(), views[layer.name + ".bias"][0, 0].numpy()
        tensors = own.to_torch(layer.given, weight, bias)
        made.load_state_dict({name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()})
        parts += [nn.Flatten()] if kind == "dense" and len(layer.given) > 1 else []
        parts += [made]
        if kind == "dense" and len(layer.gives) > 1:
            parts += [nn.Unflatten(1, (layer.gives[-1], *layer.gives[:-1]))]
        hidden = layer is not plan.net.encoder[-1]
        parts += [nn.Sigmoid()] if last else [nn.ReLU()] if hidden else []
    return nn.Sequential(*parts)


def row_of(plan: Plan, module: nn.Sequential) -> Tensor:
    """Return a module's parameters as a row ``[n]`` of this package's."""
    row = torch.empty(1, plan.net.layout.size)
    views = plan.net.layout.views(row)
    weighted = [part for part in module if list(part.parameters())]
    for layer, part in zip(plan.net.weighted, weighted, strict=True):
        tensors = {name: tensor.detach().contiguous().numpy() for name, tensor in part.named_parameters()}
        weight, bias = layer.layer.from_torch(layer.given, tensors)
        views[layer.name + ".weight"][0] = torch.from_numpy(np.ascontiguousarray(weight))
        views[layer.name + ".bias"][0, 0] = torch.from_numpy(np.ascontiguousarray(bias))
    return row[0]


def loop(cells: int, batch: int, rows: Tensor, layout: torch.memory_format, threads: int) -> Contender:
    """Return a loop over modules, each with its own optimizer."""
    plan = plan_for(cells, batch, len(rows), False)
    start = new_population(plan.net, cells, 1, RATE, True, CPU)
    modules = [module_of(plan, row).to(memory_format=layout) for row in start.weights]
    optimizers = [torch.optim.Adam(module.parameters(), lr=RATE, betas=(0.9, 0.999), fused=True) for module in modules]
    images, passes = rows.view(-1, 1, SIDE, SIDE), [0]

    def run() -> None:
        torch.set_num_threads(threads)
        order = rng.permutation(plan.training.seed, "batches", passes[0], start.cells, 0, len(rows))
        passes[0] += 1
        for step in range(len(rows) // batch):
            for cell, module in enumerate(modules):
                own = images[order[cell, step * batch : (step + 1) * batch]].contiguous(memory_format=layout)
                optimizers[cell].zero_grad(set_to_none=True)
                nn.functional.mse_loss(module(own), own).backward()
                optimizers[cell].step()

    return run, lambda: torch.stack([row_of(plan, module) for module in modules])


def rows_of(path: str, count: int) -> Tensor:
    """Return ``count`` rows ``[N, 784]`` in [0, 1], of a file or made up."""
    if path:
        with np.load(path) as arrays:
            name = next(name for name in arrays.files if "train" in name and arrays[name].ndim >= 2)
            values = arrays[name][:count].reshape(count, -1).astype(np.float32)
        return torch.from_numpy(values / max(float(values.max()), 1.0))
    draws = torch.rand(count, SIDE * SIDE, generator=torch.Generator().manual_seed(0))
    return draws.mul_(draws > 0.6)


def interval(ratios: Sequence[float]) -> tuple[float, float, float]:
    """Return the median of some ratios, and the bounds that hold 95 % of the medians of as many drawn again."""
    draws = np.random.default_rng(0).choice(np.array(ratios), (2000, len(ratios)))
    low, high = np.percentile(np.median(draws, 1), [2.5, 97.5])
    return statistics.median(ratios), float(low), float(high)


def bench(cells: int, batch: int, path: str, rounds: int) -> dict[str, Any]:
    """Return medians of a step of all cells, in milliseconds, after proving that all contenders agree."""
    steps = max(2, 512 // (cells * batch))
    rows = rows_of(path, steps * batch)
    contenders = {"eager": package(cells, batch, rows, False), "ours": package(cells, batch, rows, True)}
    for threads in sorted({1, workers.cores()}):
        contenders[f"loop, {threads}"] = loop(cells, batch, rows, torch.contiguous_format, threads)
        contenders[f"last, {threads}"] = loop(cells, batch, rows, torch.channels_last, threads)
    plan = plan_for(cells, batch, len(rows), True)
    first = new_population(plan.net, cells, 1, RATE, True, CPU).weights
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, (run, _) in contenders.items():
            time.sleep(0.02)  # so that the threads of whoever ran before no longer wait, busily, for more work
            began = time.perf_counter()
            run()
            if turn:  # the first also warms what is compiled and kept
                times[name].append((time.perf_counter() - began) / steps * 1e3)
        if turn == 0:
            ours = contenders["ours"][1]()
            moved = float((ours - first).abs().mean())
            for name, (_, weights) in contenders.items():
                apart = float((weights() - ours).abs().mean())
                assert apart < 0.02 * moved, f"{cells} cells: {name} ends {apart:.1e} away after moving {moved:.1e}"
    medians = {name: statistics.median(values) for name, values in times.items()}
    fastest = min((name for name in medians if name not in ("eager", "ours")), key=lambda name: medians[name])
    gain = interval([other / own for other, own in zip(times[fastest], times["ours"], strict=True)])
    return {"cells": cells, "batch": batch, "fastest": fastest, "gain": gain, **medians}


def table(path: str, quick: bool) -> tuple[str, list[dict[str, Any]]]:
    """Return the results as Markdown, milliseconds per step of all cells, and as they are."""
    rounds = 5 if quick else 15
    lines = [bench(cells, batch, path, rounds) for cells in (8, 1) for batch in (32, 128)]
    names = [name for name in lines[0] if name not in ("cells", "batch", "fastest", "gain")]
    out = [
        f"{workers.cores()} cores, torch {torch.__version__}, {path or 'made-up rows'}; ms per step of all cells.",
        "",
        f"| cells | batch | {' | '.join(names)} | fastest loop / ours |",
        "|---" * (len(names) + 3) + "|",
    ]
    for line in lines:
        median, low, high = line["gain"]
        times = " | ".join(f"{line[name]:.2f}" for name in names)
        out.append(f"| {line['cells']} | {line['batch']} | {times} | {median:.2f} ({low:.2f} to {high:.2f}) |")
    return "\n".join(out), lines
