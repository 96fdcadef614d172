"""The evolution that a complete spec describes."""

from __future__ import annotations

import dataclasses
from typing import cast

import torch

from aecompress.engines.base import Engine
from aecompress.engines.eager import EAGER
from aecompress.engines.training import Training
from aecompress.evolve.base import Plan, Ring
from aecompress.evolve.topology import TOPOLOGIES
from aecompress.nets.autoencoder import Autoencoder
from aecompress.plan.counts import cells_of, generations_of
from aecompress.plan.engine import blocks_of, untrained
from aecompress.plan.pruning import pruning_of
from aecompress.plan.training import loss_of, rate_of
from aecompress.spec.fields import RunSpec, metric_of


def plan_of(spec: RunSpec, net: Autoencoder, device: torch.device, engine: Engine = EAGER) -> Plan:
    """Return the evolution that a complete spec describes.

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
        persistent_masks=pruning is not None and pruning.persistent,
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
    return Plan(net, training, pruning, ring_or_none, metric_of(learn.loss), block, apart, engine)
