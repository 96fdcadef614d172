"""What batch norms say of the values that they were given in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aecompress.deploy.pretrained.base import LayerShape, Norm, Pretrained
from aecompress.deploy.pretrained.steps import PRODUCTS, RECURRENT, Step

FEWEST = 3
"""Batches that a running average needs at least to say something."""


def norms_of(steps: Sequence[Step], model: Pretrained) -> tuple[Norm, ...]:
    """Return the batch norms among the steps that a model was made of, where its layers have what they were given.

    That is where they follow a layer with weights, or its activation; those of rows, and those behind pools or beside
    recurrent layers, are left out.
    """
    layers = (*model.encoder, *model.decoder)
    hosts = [index for index, layer in enumerate(layers) if _has_matrix(layer)]
    if len(hosts) != sum(step.op in (*PRODUCTS, *RECURRENT) for step in steps):
        return ()
    found, host, early, plain = list[Norm](), -1, True, False
    for step in steps:
        if step.op in (*PRODUCTS, *RECURRENT):
            host, early, plain = host + 1, True, step.op in PRODUCTS
        elif step.op == "activation":
            early, plain = False, plain and early and not step.tensors
        elif step.op == "batch-norm" and plain:
            norm = _norm(step, hosts[host], early)
            found += [norm] if norm.batches >= FEWEST and len(norm.mean) == layers[norm.layer].outputs else []
        elif step.op not in ("dropout", "identity"):
            plain = False
    return tuple(found)


def _has_matrix(layer: LayerShape) -> bool:
    return layer.kind in ("dense", *RECURRENT) or layer.kind.startswith("conv")


def _norm(step: Step, layer: int, early: bool) -> Norm:
    mean = np.asarray(step.tensors["running_mean"], np.float64)
    variance = np.asarray(step.tensors["running_var"], np.float64)
    return Norm(
        layer=layer,
        early=early,
        mean=mean,
        variance=variance,
        gain=np.asarray(step.tensors.get("weight", np.ones_like(mean)), np.float64),
        shift=np.asarray(step.tensors.get("bias", np.zeros_like(mean)), np.float64),
        batches=float(step.numbers.get("batches", np.inf)),
    )
