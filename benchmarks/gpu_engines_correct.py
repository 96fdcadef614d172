"""Whether the CUDA engines compute what the eager one does on this card: the steps of gpu_engines.py that compare."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from gpu import Bench, facts
from gpu_correct import compared, outcome_of
from torch import Tensor

from aecompress import rng
from aecompress.engines.base import Work
from aecompress.engines.cuda import graphs
from aecompress.engines.cuda import steps as steps_
from aecompress.engines.registry import ENGINES
from aecompress.engines.training import Training
from aecompress.evolve import select
from aecompress.layers.dense import Dense
from aecompress.nets.shapes import Autoencoder, build
from aecompress.population.state import Population, new_population


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
    """Capture steps that are made of other pieces than the engine's own; "products": of those of wide networks."""
    own, narrow = graphs.pieces_for, graphs.narrow
    if name:
        graphs.narrow = lambda work: False  # type: ignore[assignment]
    if name == "torch":
        graphs.pieces_for = lambda work: graphs.TORCH  # type: ignore[assignment]
    elif name == "fused update":
        graphs.pieces_for = lambda work: own(work)._replace(gradient=steps_.torch_gradient)
    try:
        yield
    finally:
        graphs.pieces_for, graphs.narrow = own, narrow


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
        draws_and_selection(bench)
    assert not wrong, ", ".join(wrong)


def draws_and_selection(bench: Bench) -> None:
    """Hold draws and selection in kernels equal to torch's operations, and time both.

    Raises:
        AssertionError: they have other bits.
    """
    cells, sizes = torch.arange(10, device=bench.device), (30_000, 30, 300, 10, 300, 30, 30_000, 1000)
    fused, chosen = rng.FUSED.pop("cuda"), select._in_kernels
    counts = [[round(size * 0.1) for size in sizes]] * len(cells)
    call = functools.partial(rng.uniform, 1, "draws", 2, cells, 3, (sum(sizes),))
    scores = call()
    pick = functools.partial(select.lowest_of_parts, scores, sizes, counts)
    try:
        select._in_kernels = lambda scores: False  # type: ignore[assignment]
        wanted, plain = pick(), [bench.best(call, 10), bench.best(pick, 10)]
    finally:
        rng.FUSED["cuda"], select._in_kernels = fused, chosen
    drawn, picked = call(), pick()
    bench.emit(
        "drawn", same_bits=[torch.equal(drawn, scores), torch.equal(picked, wanted)],
        ms=[bench.best(call, 10) * 1e3, bench.best(pick, 10) * 1e3], ms_of_torch=[each * 1e3 for each in plain],
    )  # fmt: skip
    assert torch.equal(drawn, scores) and torch.equal(picked, wanted), "draws or selection have other bits"


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
