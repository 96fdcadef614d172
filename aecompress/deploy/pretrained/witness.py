"""Which reading of a file gives, on rows, the values that its batch norms were given in training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aecompress.deploy.pretrained.base import Norm
from aecompress.deploy.pretrained.steps import BATCH_NORM_EPS
from aecompress.deploy.pretrained.trial import (
    MIXED,
    NEAR,
    NEAR_RELU,
    Trial,
    ends_of,
    evaluate,
    filled,
    finite,
    is_uniform,
    uniform,
    words,
)
from aecompress.layers.activations import IDENTITY
from aecompress.nets.layers import activation_of, kind_of
from aecompress.nets.places import as_given

MOMENTUM = 0.9
"""What remains of a running average at each batch, where a file does not say it: torch's default."""
LEAST_GAIN = 1e-6
AGREES = 0.03
"""Up to this mean square of gaps, in variances of a unit, values are those of training."""
DIFFERS = 2.5
"""From this many times the least on, they are not, where another reading agrees."""
ROUNDING = 0.001
"""Up to this mean square of gaps, differences say nothing: a few hundred rows have other means than all."""

Options = list[list[str]]


class Witness(NamedTuple):
    """What is left of the readings, of each with the activations that its layers may have."""

    readings: list[Trial]
    choices: list[Options]
    clear: bool = False
    """Whether one reading is left, with one activation of each layer but the last."""
    best: tuple[Trial, tuple[str, ...]] | None = None
    """The reading with the least gaps, with its activations; None: norms say nothing."""
    left: tuple[tuple[Trial, tuple[str, ...]], ...] = ()
    """All that have gaps about as small."""
    options: tuple[Options, ...] = ()
    """What the layers of each reading that is left might have before."""


def narrowed(readings: list[Trial], choices: list[Options]) -> Witness:
    """Return the readings, and their layers' activations, with which batch norms are given what they were in training.

    All, where there are no norms, or none of the readings gives such values: then rows are others. Where names are
    those of a library, and an activation of it fits best, others that fit about as well are left out. All hidden layers
    have one activation.
    """
    if not all(reading.model.norms for reading in readings):
        return Witness(readings, choices)
    found = [
        (float((gaps(reading, names) ** 2).mean()), place, names)
        for place, (reading, options) in enumerate(zip(readings, choices, strict=True))
        for names in set(
            uniform(reading.model, options, sorted({name for each in options for name in each}), [IDENTITY])
        )
    ]
    least, at, best = min(found)
    if not least <= AGREES:
        return Witness(readings, choices)
    usual = {*readings[0].model.usual}
    left = [
        (place, names)
        for gap, place, names in found
        if gap <= max(DIFFERS * least, ROUNDING) and ({*names} <= usual or not {*best} <= usual)
    ]
    places = sorted({place for place, _ in left})
    kept = [
        _left(readings[place], choices[place], [names for each, names in left if each == place]) for place in places
    ]
    last = ends_of(readings[places[0]].model)[1]
    clear = len(places) == 1 and all(len(options) == 1 for index, options in enumerate(kept[0]) if index != last)
    before = tuple(choices[place] for place in places)
    alike = tuple((readings[place], names) for place, names in left)
    return Witness([readings[place] for place in places], kept, clear, (readings[at], best), alike, before)


def _left(reading: Trial, options: Options, left: Sequence[tuple[str, ...]]) -> Options:
    """Return the activations that each layer may have: of all but the output, those that are left."""
    _, last = ends_of(reading.model)
    found = list[list[str]]()
    for index, own in enumerate(options):
        names = [name for name in own if index == last or any(each[index] == name for each in left)]
        found.append(["relu"] if {*names} <= {"relu", *NEAR_RELU} and "relu" in names else names)
    return found


def contrary(witness: Witness, winner: Trial, names: tuple[str, ...]) -> str:
    """Return what speaks against the activations with the least loss, in words with its loss; empty: nothing.

    That is the reading with the least gaps, where it has about the same loss, or where hidden layers would have
    different activations; where norms leave several that are not relu, another of these with about the same loss; or
    another activation of a layer that no norm sees, where it has a far smaller loss.
    """
    if witness.best is None:
        return ""
    last, own = ends_of(winner.model)[1], winner.losses[names][0]
    usual = witness.clear or {*names[:last]} <= {"relu", IDENTITY}
    for reading, inside in (witness.best, *(() if usual else witness.left)):
        other = (*inside[:last], names[last], *inside[last + 1 :])
        evaluate(reading, [other])
        loss = finite(reading.losses[other][0])
        near = loss < NEAR * own and not math.isclose(loss, own, rel_tol=1e-5)
        if _plain(other) != _plain(names) and (near or not is_uniform(winner.model, names)):
            return f"{words(filled(reading.model, other))}: {loss:.4g}"
    seen = max(norm.layer + (not norm.early) for norm in winner.model.norms)
    options = next(own for own, reading in zip(witness.options, witness.readings, strict=True) if reading is winner)
    others = [(*names[:index], name, *names[index + 1 :]) for index in range(seen, last) for name in options[index]]
    evaluate(winner, others)
    least = min([names, *others], key=lambda each: finite(winner.losses[each][0]))
    far = winner.losses[least][0] < MIXED * own
    return f"{words(filled(winner.model, least))}: {winner.losses[least][0]:.4g}" if far else ""


def _plain(names: Sequence[str]) -> list[str]:
    return ["relu" if name in NEAR_RELU else name for name in names]


def gaps(reading: Trial, names: Sequence[str]) -> NDArray[Any]:
    """Return, of each unit before each norm, by how much its mean on the rows differs from that in training.

    In standard deviations on the rows, ``[units]``; norms are computed as in training, with the statistics of what
    they are given: so dropout, and what other norms leave, change little (Ioffe and Szegedy 2015, algorithm 1).
    """
    found = list[NDArray[Any]]()
    with torch.no_grad():
        value = as_given(reading.layers[0], reading.rows)
        for index, (layer, (weight, bias), name) in enumerate(zip(reading.layers, reading.weights, names, strict=True)):
            value = kind_of(layer).forward(layer, weight, bias, value)
            for early in (True, False):
                for norm in reading.model.norms:
                    if norm.layer == index and norm.early is early:
                        value, gap = _renewed(value, norm)
                        found.append(gap)
                value = activation_of(name).apply(value.clone()) if early else value
    return np.concatenate(found)


def _renewed(value: Tensor, norm: Norm) -> tuple[Tensor, NDArray[Any]]:
    """Return values ``[1, N, *places, units]`` as they were in training, and the gaps of their means."""
    flat = value.reshape(-1, value.shape[-1]).double().numpy()
    running = norm.variance + BATCH_NORM_EPS
    factor = norm.gain / np.sqrt(running) if norm.early else np.ones_like(running)
    shift = norm.shift if norm.early else norm.mean
    alive = np.abs(factor) > LEAST_GAIN
    safe = np.where(alive, factor, 1)
    mean, spread = flat.mean(0), flat.var(0) / safe**2 + BATCH_NORM_EPS
    given = (mean - shift) / safe + norm.mean
    gap = (norm.mean / (1 - MOMENTUM**norm.batches) - given) / np.sqrt(spread)
    same = shift + (flat - mean) * np.sqrt(running / spread)
    return torch.from_numpy(same.reshape(value.shape)).to(value.dtype), gap[alive]
