"""What a file does not hold, found by trying it on rows: activations, and which reading of its tensors is right."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.pretrained.base import Pretrained
from aecompress.deploy.pretrained.steps import UNKNOWN
from aecompress.deploy.pretrained.trial import (
    KNOWN,
    MIXED,
    NEAR,
    NEAR_RELU,
    OUTPUTS,
    SLOPES,
    Trial,
    ends_of,
    evaluate,
    filled,
    finite,
    is_uniform,
    score,
    trial,
    uniform,
    words,
)
from aecompress.deploy.pretrained.witness import contrary, narrowed
from aecompress.layers.activations import IDENTITY
from aecompress.layers.base import Shape

COMMON = ("relu", "tanh")
"""Of hidden layers: by which readings of a file are compared at first."""
MOST_VALUES = 1 << 21
"""Values of rows times layers that one trial takes about."""
ROWS = (32, 256)
"""Rows of a trial, at least and at most."""
KEPT_READINGS = 4
STARTS = 3
"""Best guesses that are refined layer by layer."""
SWEEPS = 4
PRIOR = 1.03
"""Relu, by far the commonest, is taken up to this many times the least score."""
OUTPUT_PRIOR = {IDENTITY: 1.0, "sigmoid": PRIOR}
"""By how much a loss with other outputs must be less."""
RIVAL = 0.9
"""Others of at most this share of the loss of those that the gradient speaks for leave it open which are right."""
RARE_RIVAL = 0.98
"""The same where these are not relu."""
CLEAR_SCORE = 1.1
"""How many times the score of the chosen ones, where these are not relu, all others must have."""
RARE_NAMES = (*SLOPES, "hard-tanh")
RARE = 0.9
"""These need at most this share of the score of others."""
MIXED_NAMES = ("relu", "tanh", "sigmoid", "elu", "gelu", "silu", IDENTITY)
"""What is tried of such layers: of more names, some fit by accident."""


class Requested(NamedTuple):
    """What the user says of a model's activations."""

    hidden: str = UNKNOWN
    latent: str = UNKNOWN
    output: str = UNKNOWN
    layers: tuple[str, ...] = ()
    """One for each layer; ahead of the others."""


class Tried(NamedTuple):
    """A model of which nothing is unknown, and how well it does on rows."""

    model: Pretrained
    loss: float
    """Mean squared error on the rows, as it was brought in."""
    constant: float
    """That of the rows' mean."""
    residual: float
    """The least of the model with its input added to its output."""
    trials: int
    """Combinations of activations that were tried; 1: none was unknown."""
    rival: str = ""
    """Others with a clearly smaller loss, but a larger gradient, in words."""
    next_best: str = ""
    """The best of the others that gives something else, in words."""
    decided: bool = False
    """Whether only the activation of the outputs was unknown, given what the file and the user say."""
    sure: bool = False
    """Whether its batch norms are given on the rows what they were in training, and no other reading is possible."""


def tried(found: Pretrained, rows: Floats, shape: Shape, requested: Requested) -> Tried:
    """Return the reading of a file, with the activations, that reconstructs rows best.

    Args:
        rows: ``[N, D]``, scaled as for training; some of them are used.
        shape: of one row.

    """
    few = min(max(MOST_VALUES // max(_values(found), 1), ROWS[0]), ROWS[1])
    readings = [trial(model, rows[:few], shape) for model in (found, *found.others)]
    choices = [list(_choices(reading.model, requested)) for reading in readings]
    if len(readings) > KEPT_READINGS:
        ranked = sorted(range(len(readings)), key=lambda index: _screened(readings[index], choices[index]))
        readings = [readings[index] for index in ranked[:KEPT_READINGS]]
        choices = [choices[index] for index in ranked[:KEPT_READINGS]]
    witness = narrowed(readings, choices)
    readings, choices = witness.readings, witness.choices
    if witness.clear:
        last = ends_of(readings[0].model)[1]
        choices[0][last] = _reaching(choices[0][last], rows)
    best = [_best(reading, options) for reading, options in zip(readings, choices, strict=True)]
    scores = [score(reading, names) for reading, names in zip(readings, best, strict=True)]
    index = min(range(len(best)), key=lambda place: (scores[place], place))
    winner, names = readings[index], best[index]
    added = [
        finite(each[1])
        for reading in readings
        for each_name, each in reading.losses.items()
        if each_name[ends_of(reading.model)[1]] == IDENTITY
    ]
    return Tried(
        model=replace(filled(winner.model, names), others=()),
        loss=winner.losses[names][0],
        constant=float(winner.rows[0].var(0, unbiased=False).mean()),
        residual=min(added, default=math.inf),
        trials=sum(len(reading.losses) for reading in readings),
        rival=_rival(winner, names) or contrary(witness, winner, names),
        next_best=_next_best(readings, winner, names),
        decided=_decided(winner) and not found.others,
        sure=witness.clear and len(choices[0][ends_of(winner.model)[1]]) == 1,
    )


def _reaching(options: list[str], rows: Floats) -> list[str]:
    """Return the activations of an output that can give values as rows have them."""
    ranges = {"sigmoid": (0.0, 1.0), "tanh": (-1.0, 1.0), "relu": (0.0, math.inf)}
    low, high = float(rows.min()), float(rows.max())
    found = [name for name in options if name in OUTPUTS]
    found = [name for name in found if name not in ranges or (ranges[name][0] <= low and high <= ranges[name][1])]
    return found or options


def _values(model: Pretrained) -> int:
    return sum(max(layer.inputs, layer.outputs) for layer in (*model.encoder, *model.decoder))


def _choices(model: Pretrained, requested: Requested) -> Iterator[list[str]]:
    """Yield, for each layer, the activations that it may have."""
    layers, (code, last) = (*model.encoder, *model.decoder), ends_of(model)
    ends = {code: requested.latent, last: requested.output}
    for index, layer in enumerate(layers):
        if layer.activation != UNKNOWN:
            yield [layer.activation]
        elif requested.layers:
            yield [requested.layers[index]]
        else:
            wanted = ends.get(index, requested.hidden)
            family = [name for name in KNOWN if name.partition(":")[0] == wanted]
            yield family or ([wanted] if wanted else list(KNOWN))


def _screened(reading: Trial, choices: Sequence[Sequence[str]]) -> float:
    """Return the least loss of a reading with the commonest activations."""
    evaluate(reading, uniform(reading.model, choices, COMMON, OUTPUTS[:2]))
    return min(finite(loss) for loss, _ in reading.losses.values())


def _best(reading: Trial, choices: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the likeliest activations: one for all hidden layers, or where far better, others layer by layer."""
    names = sorted({name for options in choices for name in options})
    alike = set(uniform(reading.model, choices, names))
    evaluate(reading, alike)
    alike = {each for each in alike if is_uniform(reading.model, each)} or alike
    found = _likeliest(reading, alike)
    mixed = _refined(reading, _common(reading.model, choices))
    plain = tuple("relu" if name in NEAR_RELU else name for name in mixed)
    if all(name in options for name, options in zip(plain, choices, strict=True)):
        evaluate(reading, [plain])
        mixed = plain if reading.losses[plain][0] <= PRIOR * reading.losses[mixed][0] else mixed
    is_mixed = mixed not in alike and reading.losses[mixed][0] < MIXED * reading.losses[found][0]
    return mixed if is_mixed else found


def _common(model: Pretrained, choices: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the choices of each layer without rare ones, where there are others."""
    _, last = ends_of(model)
    return [
        [name for name in options if name in (OUTPUTS if index == last else MIXED_NAMES)] or list(options)
        for index, options in enumerate(choices)
    ]


def _likeliest(reading: Trial, uniform: set[tuple[str, ...]]) -> tuple[str, ...]:
    """Return the likeliest of the activations in which all hidden layers have one.

    That of the output by the loss: one that is flat somewhere has a small gradient there, trained or not.
    """
    ranked, (_, last) = [each for each in _ranked(reading) if each in uniform], ends_of(reading.model)
    least = dict[str, float]()
    for each in ranked:
        least.setdefault(each[last], finite(reading.losses[each][0]))
    output = min(least, key=lambda name: least[name] * OUTPUT_PRIOR.get(name, 1 / MIXED))
    near = [each for each in ranked if each[last] == output and reading.losses[each][0] <= NEAR * least[output]]
    if not near:
        return ranked[0]
    scores = {each: score(reading, each) for each in near}
    likeliest = min(near, key=lambda each: scores[each] / (1 if {*each}.isdisjoint(RARE_NAMES) else RARE))
    plain = [
        each
        for each in near
        if {*each[:last]} <= {"relu", IDENTITY} and "relu" in each and scores[each] <= scores[likeliest] * PRIOR
    ]
    same = tuple("relu" if name in NEAR_RELU else name for name in likeliest)
    plain += [same] if same in near and same != likeliest else []
    return min(plain, key=lambda each: scores[each]) if plain else likeliest


def _refined(reading: Trial, choices: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return the activations with the least loss, of the best so far changed layer by layer."""
    allowed = [
        each for each in _ranked(reading) if all(name in options for name, options in zip(each, choices, strict=True))
    ]
    found = allowed[:1] or _ranked(reading)[:1]
    for start in allowed[:STARTS]:
        current = start
        for _ in range(SWEEPS):
            evaluate(reading, _neighbours(current, choices))
            least = min([current, *_neighbours(current, choices)], key=lambda each: finite(reading.losses[each][0]))
            if least == current:
                break
            current = least
        found.append(current)
    return min(found, key=lambda each: finite(reading.losses[each][0]))


def _ranked(reading: Trial) -> list[tuple[str, ...]]:
    return sorted(reading.losses, key=lambda names: finite(reading.losses[names][0]))


def _neighbours(names: tuple[str, ...], choices: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Return the choices that differ in one layer, or in one of the encoder and its mirror image in the decoder."""
    slots = [index for index, options in enumerate(choices) if len(options) > 1]
    mirrored = [{first, slots[-2 - place]} for place, first in enumerate(slots[:-1])]
    return [
        tuple(name if at in changed else each for at, each in enumerate(names))
        for changed in [*({slot} for slot in slots), *mirrored]
        for name in choices[min(changed)]
        if name in choices[max(changed)]
    ]


def _rival(reading: Trial, names: tuple[str, ...]) -> str:
    """Return the activations that may be right as well, in words with their loss; empty: there are none.

    They have a clearly smaller loss; or where those chosen are not relu, about the same score, and where they are none
    at all, about the same loss: units that are hardly ever off look like that.
    """
    _, last = ends_of(reading.model)
    loss, usual = reading.losses[names][0], "relu" in names[:last] and {*names[:last]} <= {"relu", IDENTITY}
    others = [
        each
        for each in _ranked(reading)
        if each != names and each[last] == names[last] and is_uniform(reading.model, each)
    ]
    if not others or not is_uniform(reading.model, names):
        return ""
    found = [each for each in others[:1] if reading.losses[each][0] < (RIVAL if usual else RARE_RIVAL) * loss]
    if not found and not usual:
        near = [each for each in others if reading.losses[each][0] < NEAR * loss and not _same(reading, each, names)]
        own, linear = score(reading, names), {*names[:last]} == {IDENTITY}
        found = [each for each in near if linear or score(reading, each) < CLEAR_SCORE * own]
    return f"{words(filled(reading.model, found[0]))}: {reading.losses[found[0]][0]:.4g}" if found else ""


def _decided(reading: Trial) -> bool:
    """Return whether all choices of a reading, of one activation for all hidden layers, have the same inside."""
    _, last = ends_of(reading.model)
    return len({each[:last] for each in reading.losses if is_uniform(reading.model, each)}) <= 1


def _same(reading: Trial, first: tuple[str, ...], second: tuple[str, ...]) -> bool:
    """Return whether two choices give the same on the rows."""
    return math.isclose(reading.losses[first][0], reading.losses[second][0], rel_tol=1e-5)


def _next_best(readings: Sequence[Trial], winner: Trial, names: tuple[str, ...]) -> str:
    """Return the next best choice of another loss, in words with its loss; empty: there is none."""
    least = winner.losses[names][0]
    others = [
        (loss, each, reading)
        for reading in readings
        for each, (loss, _) in reading.losses.items()
        if math.isfinite(loss) and loss > least * (1 + 1e-4) and {*each} - {*NEAR_RELU} != {*names} - {*NEAR_RELU}
    ]
    if not others:
        return ""
    loss, each, reading = min(others, key=lambda other: other[0])
    return f"{words(filled(reading.model, each))}: {loss:.4g}"
