"""From a complete spec to the parts of a run: device, plan, population. Configuration ends here."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from aecompress import rng
from aecompress.data.dataset import Dataset
from aecompress.errors import DeviceError, SpecError
from aecompress.evolve.operators import OPERATORS
from aecompress.evolve.plan import Plan, Ring, Rows
from aecompress.evolve.population import Population, new_population
from aecompress.evolve.pruning import Pruning
from aecompress.evolve.schedules import Shape, cubic, schedule, toward_target
from aecompress.evolve.select import most_unit_zeros, most_zeros
from aecompress.evolve.training import Training
from aecompress.machine import gib, memory_bytes
from aecompress.nets.autoencoder import Autoencoder
from aecompress.spec import RunSpec, measure_of

DTYPES = {"float32": torch.float32, "float64": torch.float64}
BLOCK_BYTES = 2_600_000
"""Weights of the cells that are trained together on a CPU: with gradients and moments they should stay in its cache."""


MEASURE_ROWS = 10_000
"""Training rows that the loss of a generation is measured on."""
ONE_THREAD_FLOP = 10_000_000
"""Floating-point operations of a training step below which a second thread costs more than it brings."""


def threads_for(plan: Plan, cells: int) -> int:
    """Threads that a run's steps are worth: one for small ones, where a busy second core would slow it many times."""
    step = 6 * plan.net.layout.size * plan.training.batch * min(plan.block, cells)
    return 1 if step < ONE_THREAD_FLOP else torch.get_num_threads()


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


def plan_of(spec: RunSpec, net: Autoencoder, device: torch.device) -> Plan:
    """The evolution that a complete spec asks for.

    Raises:
        SpecError: the target would empty a layer, or the schedule never prunes.
    """
    train, generations = spec.train, int(spec.train.epochs)
    pruning = pruning_of(spec, net)
    training = Training(
        seed=spec.seed,
        generations=generations,
        batch=int(train.batch),
        loss=loss_of(train.loss, round(train.bce_share * generations)),
        optimizer=train.optimizer,
        betas=train.betas,
        rate=rate_of(spec),
        lasting_masks=pruning is not None and pruning.lasting,
        noise={"plain": "none", "denoising": "input", "variational": "latent"}[spec.model.family],
        noise_level=spec.model.noise,
    )
    evolve = spec.evolve
    ring = Ring(
        radius=evolve.radius,
        asynchronous=evolve.order == "asynchronous",
        tournament=evolve.tournament,
        concept=evolve.concept,
        shared_batch=evolve.batch == "shared",
        prune_first=evolve.rule == "pair-prune-first",
        walk=train.walk if train.rate == "walk" else 0.0,
    )
    cells = cells_of(spec)
    block = max(1, BLOCK_BYTES // (4 * net.layout.size)) if device.type == "cpu" else cells
    return Plan(net, training, pruning, ring if spec.mode == "coevo" else None, measure_of(train.loss), block)


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
    needed = cells * individual + passing + value * sum(rows.size for rows in dataset.splits.values())
    there = torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else memory_bytes()
    if needed > there:
        raise SpecError(
            f"model: {cells} cells of {plan.net.layout.size:,} parameters with their rows need {gib(needed)}, "
            f"{device} has {gib(there)}; ask for smaller layers, fewer cells or fewer rows"
        )


def cells_of(spec: RunSpec) -> int:
    """Individuals of a run."""
    return spec.evolve.cells if spec.mode == "coevo" else 1


def pruning_of(spec: RunSpec, net: Autoencoder) -> Pruning | None:
    """How a complete spec prunes; None where it does not."""
    prune, generations = spec.prune, int(spec.train.epochs)
    if prune.operator == "none" or (prune.drive == "target" and prune.target_sparsity == 0):
        return None
    target = float(prune.target_sparsity)
    units = prune.granularity == "unit"
    limit = most_unit_zeros(net) if units else most_zeros(net)
    if round(target * net.model_size) > limit:
        most = math.floor(limit / net.model_size * 1e4) / 1e4
        why = "whole hidden units, of which every layer keeps one, do not reach it" if units else "would empty a layer"
        raise SpecError(
            f"prune.target_sparsity = {target}: {why} in this network of {net.model_size} parameters; "
            f"ask for at most {most}"
        )
    ring = spec.mode == "coevo"
    shape = Shape(
        float(prune.probability),
        generations - 1 if ring else generations,
        2 * spec.evolve.radius + 1 if ring else 1,
        prune.exponent,
        prune.delay,
    )
    curve, chance = None, None
    if prune.drive == "probability":
        chance = schedule(prune.schedule, shape)
    elif prune.schedule == "cubic":
        curve = cubic(prune.start, prune.end)
    else:
        curve = toward_target(prune.schedule, shape, generations)
    return Pruning(
        operator=OPERATORS[prune.operator],
        curve=curve,
        target=target,
        chance=chance,
        granularity=prune.granularity,
        lasting=not prune.regrow,
        per_generation=int(prune.per_generation),
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
        generations = int(train.epochs)
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

    def moved(rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(rows).to(device, DTYPES[spec.precision])

    splits = dataset.splits
    train = moved(dataset.train)
    sample = train
    if len(train) > MEASURE_ROWS:
        sample = train[np.sort(rng.host(spec.seed, "measure").choice(len(train), MEASURE_ROWS, replace=False))]
    validation = moved(dataset.validation) if "validation" in splits else sample
    guide = moved(dataset.test) if spec.prune.guide_split == "test" and "test" in splits else validation
    return Rows(train, sample, validation, guide)


def first_population(spec: RunSpec, net: Autoencoder, dataset: Dataset, device: torch.device) -> Population:
    """The individuals before generation 0."""
    operator = OPERATORS.get(spec.prune.operator)
    spread = operator is not None and operator.needs == "spread"
    return new_population(
        net,
        cells_of(spec),
        spec.seed,
        float(spec.train.learning_rate),
        spec.train.optimizer == "adam",
        device,
        DTYPES[spec.precision],
        min(int(spec.train.batch), len(dataset.train)) if spread else 0,
    )
