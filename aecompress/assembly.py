"""From a complete spec to the parts of a run: device, plan, population. Configuration ends here."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import math
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import numpy as np
import torch

from aecompress import rng
from aecompress.data.dataset import Dataset
from aecompress.data.interactions import PREFIX, SparseRows
from aecompress.data.interactions import Rows as DataRows
from aecompress.errors import DeviceError, SpecError
from aecompress.evolve import workers
from aecompress.evolve.operators import OPERATORS, operator_of
from aecompress.evolve.plan import EAGER, Engine, Plan, Ring, Rows, measured
from aecompress.evolve.population import Population, new_population
from aecompress.evolve.pruning import Pruning
from aecompress.evolve.schedules import Curve, Shape, cubic, schedule, toward_target
from aecompress.evolve.select import most_unit_zeros, most_zeros
from aecompress.evolve.topology import TOPOLOGIES
from aecompress.evolve.training import Training, train
from aecompress.machine import gib, memory_bytes
from aecompress.nets.autoencoder import Autoencoder
from aecompress.nets.rows import RowSet, SparseTensor, picked
from aecompress.recipe import FROM_DATA, can_regrow, pruning_end
from aecompress.spec import Resolved, RunSpec, measure_of, override

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bf16": torch.float32}
"""Number format of the weights."""
BLOCK_BYTES = 2_600_000
"""Weights of the cells that are trained together on a CPU: with gradients and moments they should stay in its cache."""
PASS_BYTES = 16_000_000
"""Weights of the cells that are copied out for compiled passes."""


REPAID_SECONDS = 30.0
"""Training that repays the compiler's twenty seconds, which are paid once on a machine."""
MEASURE_ROWS = 64, 10_000
"""The fewest and the most rows that a generation is measured on; between them, a tenth of the rows given."""
ONE_THREAD_FLOP = 10_000_000
"""Floating-point operations of a training step below which a second thread costs more than it brings."""


def threads_for(plan: Plan, cells: int, device: torch.device) -> int:
    """Threads inside one of torch's operations.

    One for small steps, where a busy second core would slow them many times, and where the cores take cells or blocks.
    """
    small = 6 * plan.net.layout.size * plan.training.batch * min(plan.block, cells) < ONE_THREAD_FLOP
    alone = small or plan.apart or plan.engine.whole_passes
    return 1 if alone and device.type == "cpu" else torch.get_num_threads()


def engine_of(spec: RunSpec, net: Autoencoder, device: torch.device) -> Engine:
    """How blocks are trained and measured; ``compile`` is settled.

    Raises:
        DeviceError: compiled training is asked for where it cannot be.
    """
    if spec.compile != "on":
        return EAGER
    if device.type != "cpu":
        raise DeviceError(f"compile = 'on': compiled training is for CPUs, not {device}; set it to auto or off")
    fault = uncompilable()
    if fault:
        raise DeviceError(f"compile = 'on': {fault}; set it to auto or off")
    from aecompress.evolve import fused

    if spec.model.family == "plain" and spec.precision == "float32" and int(spec.train.batch) <= pass_rows(net):
        return Engine("compiled passes", fused.train, fused.measured, whole_passes=True)
    steps = functools.partial(train, update=fused.masked_update, gradient=fused.gradient)
    return Engine("compiled steps", steps, measured)


def pass_rows(net: Autoencoder) -> float:
    """Rows per step up to which whole compiled passes beat a library's matrix products, as measured."""
    narrow = max(min(layer.inputs, layer.outputs) for layer in net.layers)
    if narrow <= 64 and net.layout.size <= 200_000:  # what a core's cache holds
        return math.inf
    return 32 if narrow <= 128 else 16


def make_ready(plan: Plan, poll: Callable[[], None]) -> None:
    """Compile what the plan's engine needs; takes some twenty seconds the first time on a machine."""
    if plan.engine is not EAGER:
        from aecompress.evolve import fused

        fused.compile_ahead(poll)


def settle_compile(resolved: Resolved, net: Autoencoder, device: torch.device, rows: int) -> Resolved:
    """Turn ``compile = "auto"`` into on or off: on where a CPU would train long enough without it.

    The choice depends on the spec and the rows alone, not on what was compiled before, so that a run has the same bits
    whenever it is repeated on a machine.
    """
    spec = resolved.spec
    if spec.compile != "auto":
        return resolved
    if device.type != "cpu" or spec.precision == "float64":
        return override(resolved, "compile", "off", f"auto: training is not in float32 on a CPU ({device})")
    if spec.mode == "coevo" and spec.evolve.rule in ("opponents", "panmictic"):
        return override(resolved, "compile", "off", f"auto: networks change partners under {spec.evolve.rule!r}")
    if spec.data.source.startswith(PREFIX):
        return override(resolved, "compile", "off", "auto: rows of interactions are trained uncompiled")
    seconds = eager_seconds(spec, net, rows)
    if seconds < REPAID_SECONDS:
        return override(resolved, "compile", "off", f"auto: about {seconds:.0f} s of training would not repay it")
    fault = uncompilable()
    if fault:
        return override(resolved, "compile", "off", f"auto: {fault}")
    return override(resolved, "compile", "on", f"auto: about {seconds:.0f} s of training without it")


def eager_seconds(spec: RunSpec, net: Autoencoder, rows: int) -> float:
    """Roughly, the time of the training steps without a compiler: operations started, weights updated, products."""
    steps = int(spec.train.epochs) * -(-rows // int(spec.train.batch))
    values = cells_of(spec) * net.layout.size
    update = 1.2e-9 if spec.train.optimizer == "fresh-adam" else 2.5e-9
    return steps * (3e-4 + values * (update + int(spec.train.batch) * 6 / 1e11))


@functools.cache
def uncompilable() -> str:
    """Why nothing can be compiled here, in words; empty where it can."""
    try:
        importlib.import_module("numba")
    except ImportError as fault:
        return f"numba cannot be imported ({fault})"
    return ""


@functools.cache
def half_gain() -> float:
    """How many times as fast as in float32 a product is in bfloat16 on this processor; measured, some 20 ms.

    A processor may have the instructions and still be slower with them, as those with AVX-512 and no AMX.
    """
    best = {}
    for kind in (torch.float32, torch.bfloat16):
        matrix = torch.ones((512, 512), dtype=kind)
        times = []
        for _ in range(6):
            start = time.perf_counter()
            torch.mm(matrix, matrix)
            times.append(time.perf_counter() - start)
        best[kind] = min(times)
    return best[torch.float32] / best[torch.bfloat16]


def check_half(spec: RunSpec, device: torch.device) -> None:
    """Refuse products in bfloat16 where the device has none, or is slower with them.

    Raises:
        DeviceError: it would be slower than float32.
    """
    if spec.precision != "bf16":
        return
    cpu = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    has = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu if device.type == "cpu" else False
    if not has:
        raise DeviceError(f"precision = 'bf16': {device} computes no products in bfloat16; choose float32")
    if device.type == "cpu" and half_gain() < 1:
        raise DeviceError(
            f"precision = 'bf16': on this processor a product in bfloat16 takes {1 / half_gain():.1f} times as long as "
            "in float32; choose float32"
        )


def find_device(name: str) -> torch.device:
    """The device a spec names; ``auto`` is a CUDA device, else the CPU.

    Raises:
        DeviceError: it is not on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device = {name!r}: this machine has {torch.cuda.device_count()} CUDA devices that torch can use; "
            "choose --device cpu or auto"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"device = {name!r}: torch finds no MPS device here; choose --device cpu or auto")
    return device


def plan_of(spec: RunSpec, net: Autoencoder, device: torch.device, engine: Engine = EAGER) -> Plan:
    """The evolution that a complete spec asks for.

    Raises:
        SpecError: the target would empty a layer, or the schedule never prunes.
    """
    learn, generations = spec.train, generations_of(spec)
    pruning = pruning_of(spec, net)
    training = Training(
        seed=spec.seed,
        generations=generations,
        batch=int(learn.batch),
        loss=loss_of(learn.loss, round(learn.bce_share * generations)),
        optimizer=learn.optimizer,
        betas=cast(tuple[float, float], learn.betas),
        rate=rate_of(spec),
        lasting_masks=pruning is not None and pruning.lasting,
        noise={"plain": "none", "denoising": "input", "variational": "latent"}[spec.model.family],
        noise_level=spec.model.noise,
        walk=learn.walk if learn.rate == "walk" else 0.0,
        products=torch.bfloat16 if spec.precision == "bf16" else None,
    )
    evolve = spec.evolve
    ring = Ring(
        topology=TOPOLOGIES[evolve.topology](evolve.cells, evolve.radius),
        asynchronous=evolve.order == "asynchronous",
        tournament=evolve.tournament,
        concept=evolve.concept,
        shared_batch=evolve.batch == "shared",
        prune_first=evolve.rule == "pair-prune-first",
        opponents=evolve.rule == "opponents",
        panmictic=evolve.rule == "panmictic",
        dominance=evolve.rule == "dominance",
    )
    cells = cells_of(spec)
    block, apart = blocks_of(net, cells, training.batch, engine, device)
    ring_or_none = ring if spec.mode == "coevo" else None
    if learn.epochs == 0:
        engine = dataclasses.replace(engine, name="no training", train=untrained, whole_passes=False)
    return Plan(net, training, pruning, ring_or_none, measure_of(learn.loss), block, apart, engine)


def generations_of(spec: RunSpec) -> int:
    """Generations of a run; pruning in one shot is one without training."""
    return max(int(spec.train.epochs), 1)


def untrained(*arguments: Any) -> None:
    """Leave the weights as they are."""


def blocks_of(net: Autoencoder, cells: int, batch: int, engine: Engine, device: torch.device) -> tuple[int, bool]:
    """Cells of a block, and whether blocks are trained apart, each by a core of its own.

    A GPU takes the whole ring at once. Compiled passes share a block's cells among the cores themselves, so that blocks
    only bound memory. Otherwise a block's weights fit a core's cache; where steps are large enough to keep a core busy
    between two calls from Python, each core trains blocks of its own, which needs no waiting inside an operation.
    """
    if device.type != "cpu":
        return cells, False
    individual = 4 * net.layout.size
    if engine.whole_passes:
        turns = max(PASS_BYTES // individual // workers.cores(), 1)
        return turns * workers.cores(), False  # so that no core waits at the end of a block
    block = max(1, BLOCK_BYTES // individual)
    apart = cells > 1 and 6 * net.layout.size * batch * min(block, cells) >= ONE_THREAD_FLOP
    return (min(block, -(-cells // workers.cores())), True) if apart else (block, False)


def check_memory(plan: Plan, spec: RunSpec, dataset: Dataset, device: torch.device) -> None:
    """Refuse a run that the machine cannot hold.

    Raises:
        SpecError: with what it needs and what there is.
    """
    value = torch.finfo(DTYPES[spec.precision]).bits // 8
    moments = 2 if spec.train.optimizer == "adam" else 0
    cells = cells_of(spec)
    # Two generations of weights, moments and masks; gradient and scratch of one block; 16 bytes per first draw.
    individual = plan.net.layout.size * (2 * (value * (1 + moments) + 1))
    passing = plan.net.layout.size * max(16 * cells, 3 * value * min(plan.block, cells))
    company = cells * members_of(spec) * individual // 2 if spec.evolve.rule == "opponents" else 0
    needed = cells * individual + company + passing + value * sum(rows.size for rows in dataset.splits.values())
    there = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else memory_bytes()
    if needed > there:
        raise SpecError(
            f"model: {cells} cells of {plan.net.layout.size:,} parameters with their rows need {gib(needed)}, "
            f"{device} has {gib(there)}; ask for smaller layers, fewer cells or fewer rows"
        )


def cells_of(spec: RunSpec) -> int:
    """Individuals of a run; one that must keep to a dense model's loss trains that beside it."""
    return spec.evolve.cells if spec.mode == "coevo" else 2 if spec.budget.max_loss_increase else 1


def most_sparse(spec: RunSpec, net: Autoencoder) -> float:
    """The largest target sparsity that leaves something of every layer, rounded down."""
    limit = most_unit_zeros(net) if spec.prune.granularity == "unit" else most_zeros(net)
    return math.floor(limit / net.model_size * 1e4) / 1e4


def settle_budgets(resolved: Resolved, net: Autoencoder) -> Resolved:
    """Give every cell its budget and the ring its rule, where they are "auto".

    Under dominance the first cell stays dense, as a reference and as an ancestor, the last but one has the target, and
    the last goes twice as far; between them the kept share falls by a constant factor.
    """
    spec, target = resolved.spec, float(resolved.spec.prune.target_sparsity)
    evolve = spec.evolve
    open_to = can_regrow(spec) and spec.prune.operator != "none" and target > 0 and evolve.order == "synchronous"
    spread = spec.mode == "coevo" and open_to and evolve.cells > 2 and evolve.budgets != "same"
    rule = evolve.rule if evolve.rule != "auto" else "dominance" if spread else "pair"
    budgets = evolve.budgets
    if budgets == "auto" and rule == "dominance":
        steps = evolve.cells - 2
        rise = [1 - (1 - target) ** (step / steps) for step in range(steps)]
        beyond = max(target, min(1 - (1 - target) / 2, most_sparse(spec, net)))
        budgets = (*(round(share, 6) for share in rise), target, beyond)
    elif budgets == "auto":
        budgets = "same"
    dense = isinstance(budgets, tuple) and 0.0 in budgets
    if spec.mode == "coevo" and spec.budget.max_loss_increase and not dense:
        raise SpecError(
            f"budget.max_loss_increase = {spec.budget.max_loss_increase}: needs a dense cell to compare with; leave "
            "evolve.budgets and evolve.rule out, with three cells or more, or choose --mode canonical"
        )
    if isinstance(budgets, tuple) and len(budgets) != evolve.cells:
        raise SpecError(
            f"evolve.budgets = {list(budgets)}: gives {len(budgets)} for {evolve.cells} cells; give each one"
        )
    if isinstance(budgets, tuple) and max(budgets) < target:
        raise SpecError(
            f"evolve.budgets = {list(budgets)}: none reaches prune.target_sparsity = {target}; give a cell that much, "
            f"or ask for --target-sparsity {max(budgets)}"
        )
    if isinstance(budgets, tuple) and rule != "dominance":
        raise SpecError(
            f"evolve.budgets = {list(budgets)}: cells can differ under evolve.rule = 'dominance', not {rule!r}"
        )
    if rule == "dominance" and not open_to:
        raise SpecError(
            "evolve.rule = 'dominance': needs pruning to a target with masks that last, in synchronous order; "
            "choose evolve.rule = 'pair'"
        )
    if evolve.rule == "auto":
        resolved = override(resolved, "evolve.rule", rule, "from the budgets")
    if evolve.budgets == "auto":
        resolved = override(resolved, "evolve.budgets", budgets, "from the target")
    return resolved


def settle_limit(resolved: Resolved, splits: Collection[str]) -> Resolved:
    """Say how sparse a model within the largest loss increase must be, where that is "auto".

    Raises:
        SpecError: there are no validation rows to keep the limit on.
    """
    spec, source = resolved.spec, resolved.sources["prune.target_sparsity"]
    if spec.budget.max_loss_increase and "validation" not in splits:
        raise SpecError(
            f"budget.max_loss_increase = {spec.budget.max_loss_increase}: is kept on validation rows, and there are "
            "none; give data.split a share for them, or --val"
        )
    if spec.budget.min_sparsity != "auto":
        return resolved
    asked = spec.budget.max_loss_increase and spec.prune.drive == "target" and source != FROM_DATA
    least = spec.prune.target_sparsity if asked else 0.0
    return override(resolved, "budget.min_sparsity", least, "the target asked for" if asked else "no target asked for")


def budgets_of(spec: RunSpec) -> tuple[float, ...]:
    """The target sparsity of every cell."""
    if isinstance(spec.evolve.budgets, tuple) and spec.mode == "coevo":
        return spec.evolve.budgets
    if spec.mode == "canonical" and spec.budget.max_loss_increase:
        return 0.0, float(spec.prune.target_sparsity)
    return (float(spec.prune.target_sparsity),) * cells_of(spec)


def members_of(spec: RunSpec) -> int:
    """Members of a neighbourhood, n of the schedules; in a panmictic population it is 1 (ALGORITHMS A4)."""
    evolve = spec.evolve
    return 1 if evolve.rule == "panmictic" else len(TOPOLOGIES[evolve.topology](evolve.cells, evolve.radius).members)


def pruning_of(spec: RunSpec, net: Autoencoder) -> Pruning | None:
    """How a complete spec prunes; None where it does not."""
    prune, generations = spec.prune, generations_of(spec)
    if prune.operator == "none" or (prune.drive == "target" and prune.target_sparsity == 0):
        return None
    targets = budgets_of(spec)
    target, most = max(targets), most_sparse(spec, net)
    units = prune.granularity == "unit"
    if target > most:
        why = "whole hidden units, of which every layer keeps one, do not reach it" if units else "would empty a layer"
        raise SpecError(
            f"prune.target_sparsity = {target}: {why} in this network of {net.model_size} parameters; "
            f"ask for at most {most}"
        )
    ring = spec.mode == "coevo"
    shape = Shape(
        float(prune.probability),
        generations - 1 if ring else generations,
        members_of(spec) if ring else 1,
        prune.exponent,
        prune.delay,
    )
    operator, curves = operator_of(prune.operator), tuple[Curve, ...]()
    if prune.drive == "probability" and operator.published is None:
        able = ", ".join(name for name, each in OPERATORS.items() if each.published)
        raise SpecError(
            f"prune.operator = {prune.operator!r}: has no published form, so a probability cannot drive it; leave out "
            f"prune.probability (--probability) and prune to a target, or choose one of {able}"
        )
    if prune.drive == "probability":
        chance = schedule(prune.schedule, shape)
    elif prune.schedule == "cubic":
        curves = tuple(cubic(prune.start, pruning_end(spec, target)) for target in targets)
    else:
        curves = (toward_target(prune.schedule, shape, generations),) * len(targets)
    return Pruning(
        operator=operator,
        curves=curves,
        targets=targets,
        chance=chance if prune.drive == "probability" else None,
        granularity=prune.granularity,
        lasting=not prune.regrow,
        per_generation=int(prune.per_generation),
        regrowth=float(prune.regrowth),
        regrowth_end=float(prune.regrowth_end),
        amount=prune.amount,
        threshold=prune.threshold,
        guide_rows=prune.guide_rows,
        order=prune.order,
    )


def loss_of(name: str, switch: int) -> Callable[[int], str]:
    """The training loss by generation; bce-then-l1 changes over at generation ``switch``."""
    if name == "bce-then-l1":
        return lambda generation: "bce" if generation < switch else "l1"
    return lambda generation: name


def rate_of(spec: RunSpec) -> Callable[[float], float]:
    """Share of the base learning rate by progress of the run."""
    train = spec.train
    if train.rate == "walk":
        return lambda progress: 1.0
    if train.rate == "step":
        generations = generations_of(spec)
        # As published, the rate drops between generations, never inside one.
        return lambda progress: float(train.drop ** (int(progress * generations + 1e-9) * train.drops // generations))
    return warmup_cosine(train.warmup)


def warmup_cosine(warmup: float) -> Callable[[float], float]:
    """A linear rise over the first ``warmup`` of the run, then half a cosine down to 0."""

    def rate(progress: float) -> float:
        if progress < warmup:
            return (progress + 1e-4) / (warmup + 1e-4)
        return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / max(1 - warmup, 1e-9)))

    return rate


def rows_of(spec: RunSpec, dataset: Dataset, device: torch.device) -> Rows:
    """The rows that evolution sees, moved to the device once.

    Guide rows come from the split the spec names, or the nearest one that has rows.
    """

    def moved(rows: DataRows) -> RowSet:
        return on_device(rows, device, DTYPES[spec.precision])

    splits = dataset.splits
    train = moved(dataset.train)
    sample = sampled(train, len(train), spec.seed, "measure-train")
    validation, glance = sample, sample
    if "validation" in splits:
        validation = moved(dataset.validation)
        glance = sampled(validation, len(train) // 2, spec.seed, "measure-validation")
    guide = moved(dataset.test) if spec.prune.guide_split == "test" and "test" in splits else validation
    return Rows(train, sample, validation, glance, guide)


def on_device(rows: DataRows, device: torch.device, dtype: torch.dtype) -> RowSet:
    """Rows as tensors on a device; interactions stay sparse."""
    if isinstance(rows, SparseRows):
        starts, places = (torch.from_numpy(part).to(device) for part in (rows.starts, rows.places))
        return SparseTensor(starts, places, rows.inputs, dtype)
    return torch.from_numpy(rows).to(device, dtype)


def sampled(rows: RowSet, beside: int, seed: int, purpose: str) -> RowSet:
    """Rows to measure each generation on: so few that it costs a small part of training on ``beside`` rows."""
    count = min(max(beside // 10, MEASURE_ROWS[0]), MEASURE_ROWS[1])
    if count >= len(rows):
        return rows
    index = np.sort(rng.host(seed, purpose).choice(len(rows), count, replace=False))
    return picked(rows, torch.from_numpy(index).to(rows.device))


RAREST = 1e-3
"""A mean of rows in [0, 1] nearer to either end counts as this, so that its bias stays small enough to be unlearnt."""
MEAN_BIAS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": lambda mean: mean,
    "sigmoid": lambda mean: mean.clamp(RAREST, 1 - RAREST).logit(),
}
"""The output bias under which a network without weights gives the mean row."""


def first_population(
    spec: RunSpec,
    net: Autoencoder,
    dataset: Dataset,
    device: torch.device,
    init: Mapping[str, np.ndarray] | None = None,
) -> Population:
    """The individuals before generation 0: drawn, or copies of the model with the tensors ``init`` by torch's names.

    Under model.initial = "scaled" a drawn model begins by giving the mean training row, as far as biases can.
    """
    scaled = spec.model.initial == "scaled"
    spread = spec.prune.operator != "none" and operator_of(spec.prune.operator).needs == "spread"
    population = new_population(
        net,
        cells_of(spec),
        spec.seed,
        float(spec.train.learning_rate),
        spec.train.optimizer == "adam",
        device,
        DTYPES[spec.precision],
        min(int(spec.train.batch), len(dataset.train)) if spread else 0,
        3**0.5 if scaled else 1.0,
    )
    views = net.layout.views(population.weights)
    last = net.decoder[-1]
    if scaled and last.activation in MEAN_BIAS:
        mean = torch.from_numpy(dataset.train.mean(0, dtype=np.float64))
        views[last.name + ".bias"].copy_(MEAN_BIAS[last.activation](mean))
    for name, tensor in (init or {}).items():
        views[name].copy_(torch.tensor(np.atleast_2d(tensor.T)))
    return population
