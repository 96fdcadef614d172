"""The evolution that a complete spec describes."""

from __future__ import annotations

from typing import cast

import torch

from aecompress.engines.base import Engine, Workload
from aecompress.engines.quantized import Quantization
from aecompress.engines.training import Training
from aecompress.engines.untrained import Untrained, untrained_blocks
from aecompress.evolve.base import Neighbourhood, Plan
from aecompress.evolve.topology import TOPOLOGIES
from aecompress.plan.counts import generations_of
from aecompress.plan.pruning import pruning_of
from aecompress.plan.training import loss_of, rate_of, values_of
from aecompress.spec.fields import RunSpec, metric_of, rule_of

QUANTIZED_SHARE = 0.2
"""Share of the run in which training rounds weights, where bits are given: masks have come to rest by then."""


def plan_of(spec: RunSpec, load: Workload, engine: Engine) -> Plan:
    """Return the evolution that a complete spec describes, trained by ``engine``.

    Raises:
        SpecError: the target would empty a layer, or the schedule never prunes.
    """
    learn, generations = spec.train, generations_of(spec)
    pruning = pruning_of(spec, load.net)
    training = Training(
        seed=spec.seed,
        generations=generations,
        batch=int(learn.batch),
        loss=loss_of(learn.loss, round(learn.bce_share * generations)),
        optimizer=learn.optimizer,
        betas=cast(tuple[float, float], learn.betas),
        rate=rate_of(spec),
        persistent_masks=pruning is not None and pruning.persistent,
        noise={"plain": "none", "denoising": "input", "variational": "latent"}[spec.model.family],
        noise_level=spec.model.noise,
        code_l1=learn.code_l1,
        walk=learn.walk if learn.rate == "walk" else 0.0,
        products=torch.bfloat16 if spec.precision == "bf16" else None,
        tf32=spec.precision == "tf32",
    )
    evolve = spec.evolve
    neighbourhood = Neighbourhood(
        topology=TOPOLOGIES[evolve.topology](evolve.cells, evolve.radius),
        order=evolve.order,
        tournament=evolve.tournament,
        concept=evolve.concept,
        shared_batch=evolve.batch == "shared",
    )
    blocks = engine.layout(load)
    return Plan(
        net=load.net,
        training=training,
        pruning=pruning,
        rule=rule_of(spec),
        neighbourhood=neighbourhood,
        metric=metric_of(learn.loss),
        engine=engine if learn.epochs else Untrained(engine),
        blocks=blocks if learn.epochs else untrained_blocks(blocks, load),
        quantization=quantization_of(spec, load),
    )


def quantization_of(spec: RunSpec, load: Workload) -> Quantization | None:
    """Return when and to how many values a complete spec rounds weights; None where it does not."""
    if not spec.train.bits:
        return None
    generations = generations_of(spec)
    start = generations - max(round(QUANTIZED_SHARE * generations), 1)
    return Quantization(values=(values_of(spec.train.bits),) * len(load.net.layers), start=start)
