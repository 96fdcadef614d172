"""What a file of named tensors may be: each reading of it as an autoencoder, the likeliest first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aecompress.deploy.pretrained.assembled import assembled
from aecompress.deploy.pretrained.base import Pretrained, as_float32
from aecompress.deploy.pretrained.geometry import shaped
from aecompress.deploy.pretrained.named import BATCH_NORM, DEVIATION, MEAN, Module, Named, modules_of
from aecompress.deploy.pretrained.norms import norms_of
from aecompress.deploy.pretrained.orders import Order, orders_of
from aecompress.deploy.pretrained.steps import RECURRENT, Array, Step, activation
from aecompress.errors import DataError
from aecompress.layers.base import Shape
from aecompress.parsing import quoted

LOG_VARIANCE = re.compile(r"log_?var(iance)?", re.IGNORECASE)
SPREAD = re.compile(r"log_?var(iance)?|log_?s(igma|td)|(^|[._])(sigma|std|var|variance)([._\d]|$)", re.IGNORECASE)
"""Names of the second head of a variational autoencoder: the code's mean does not come from it."""
PYOD = re.compile(r"(encoder|decoder)\.\d+\.(linear|bn)")
"""Modules of PyOD's autoencoders with torch (releases 2 and 3): ``LinearBlock`` in ``pyod/utils/torch_utility.py``."""
PYOD_ACTIVATIONS = ("relu", "leaky-relu", "elu", "identity", "sigmoid", "softplus", "tanh")
MOST_READINGS = 64


class Reading(NamedTuple):
    """A chain of steps, and what is assumed with it."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()


def from_tensors(
    path: Path, tensors: Mapping[str, Array], rows: Shape | None = None, defined: bool = True
) -> Pretrained:
    """Return the autoencoder of a file of named tensors, with the other ones that it may be.

    Args:
        path: for messages.
        tensors: in torch's layouts, by the names of a state dict.
        rows: shape of a row of the run; None: not known.
        defined: whether they are in the order in which their layers were defined; else names are sorted.

    Raises:
        DataError: naming the first tensor that does not belong to an autoencoder, or why its layers do not chain.
    """
    named = modules_of(path, tensors)
    special = _sparse_autoencoder(path, named) or _tied(path, named)
    found = list(special) if special else [*_readings(path, named, defined, rows)]
    models, faults = list[Pretrained](), list[DataError]()
    for reading in found[:MOST_READINGS]:
        try:
            for steps, why in shaped(path, reading.steps, rows):
                model = assembled(path, steps, rows)
                notes = (*reading.notes, *why)
                models.append(replace(model, notes=notes, norms=norms_of(steps, model), usual=_usual(named)))
        except DataError as fault:
            faults.append(fault)
    if not models:
        raise faults[0]
    head = _log_variance(path, named, models[0])
    models = [replace(model, tensors={**model.tensors, **head}) for model in models]
    return replace(models[0], others=tuple(models[1:MOST_READINGS]))


def _usual(named: Named) -> tuple[str, ...]:
    """Return the activations of the library that names modules so; (): it is not known."""
    inner = named.modules[:-1]
    return PYOD_ACTIVATIONS if inner and all(PYOD.fullmatch(module.name) for module in inner) else ()


def _readings(path: Path, named: Named, defined: bool, rows: Shape | None) -> Iterator[Reading]:
    """Yield the chains that modules may be, and where the rows may be scaled within them."""
    weighted = [module for module in named.modules if module.weighted]
    orders = orders_of(path, weighted, defined, rows)
    plain = [order for order in orders if not any(SPREAD.search(module.name) for module in order)]
    scalers = _scalers(path, named, (plain or orders)[0])
    for order in plain or orders:
        rest = [module.name for module in weighted if module.place not in {taken.place for taken in order}]
        notes = tuple(f"{quoted(name)} is left out: it does not lie between the rows and their copy" for name in rest)
        for steps in _with_activations(path, named, order):
            for before, after, why in scalers:
                yield Reading((*before, *steps, *after), (*notes, *why))


def _with_activations(path: Path, named: Named, order: Order) -> Iterator[tuple[Step, ...]]:
    """Yield the layers in order, each with its norm, and with unknown activations where there may be one."""
    beside = _beside(path, named, order)
    first = [module for module in named.modules if beside.get(module.place) == -1]
    both = list[bool]()
    for early in (True, False):
        steps = [module.step for module in first]
        for host, after in zip(order, (*order[1:], None), strict=True):
            own = [module for module in named.modules if beside.get(module.place) == host.place]
            steps += _group(host, own, after, early, both)
        yield tuple(steps)
        if not both:
            return


def _group(host: Module, own: Sequence[Module], after: Module | None, early: bool, both: list[bool]) -> list[Step]:
    """Return a layer with its norms and the unknown activation between them or after them.

    Args:
        early: where an activation may stand on either side of a norm, whether it stands before it.
        both: is given an entry where it may.
    """
    if host.step.op in RECURRENT or any(module.step.op == "activation" for module in own):
        return [host.step, *(module.step for module in own)]
    places = [host, *own, *([after] if after is not None else [])]
    open_after = [_between(one, two) for one, two in pairwise(places)] + ([True] if after is None else [])
    if sum(open_after) > 1:
        both.append(True)
    chosen = [index for index, is_open in enumerate(open_after) if is_open]
    at = (chosen[0] if early else chosen[-1]) if chosen else None
    steps = list[Step]()
    for index, module in enumerate((host, *own)):
        steps += [module.step, *([activation(module.name)] if index == at else [])]
    return steps


def _between(first: Module, second: Module) -> bool:
    """Return whether something without tensors, such as an activation, may stand between two modules."""
    if first.box is not None and second.box is not None and first.box[0] == second.box[0]:
        return second.box[1] - first.box[1] > 1
    return True


def _beside(path: Path, named: Named, order: Order) -> dict[int, int]:
    """Return by place of each norm the place of the layer that it follows; -1: it is given the rows.

    Raises:
        DataError: it is not clear.
    """
    found = dict[int, int]()
    for module in named.modules:
        if not module.weighted:
            host = _host(named, module, order)
            if host is None:
                raise DataError(
                    f"{path}: it is not clear which layer {quoted(module.name)} ({module.step.op}) follows; "
                    "bring the model as an ONNX file, or as a module (--model FILE.py:NAME)"
                )
            found[module.place] = host
    return found


def _host(named: Named, module: Module, order: Order) -> int | None:
    count = len(next(iter(module.step.tensors.values())))
    fits = [layer for layer in order if count in (layer.gives, 1)]
    before = [layer for layer in order if layer.place < module.place]
    if module.box is not None or count == 1:  # a sequence: it follows what stands before it there
        same = [layer for layer in before if layer.box and module.box and layer.box[0] == module.box[0]]
        if same:
            return same[-1].place if same[-1] in fits else None
        if count == 1:
            return None
    if not before and count == order[0].takes:
        return -1
    parent = module.name.rpartition(".")[0]
    number = re.search(r"\d+$", module.name)
    matches = (
        [layer for layer in fits if parent and layer.name.rpartition(".")[0] == parent and not layer.box],
        before[-1:] if before and before[-1] in fits and before[-1].place == module.place - 1 else [],
        [layer for layer in fits if number and re.search(rf"(?<!\d){number[0]}$", layer.name)],
        fits,
    )
    return next((found[0].place for found in matches if len(found) == 1), None)


def _scalers(path: Path, named: Named, order: Order) -> list[tuple[list[Step], list[Step], tuple[str, ...]]]:
    """Return the steps before and after the layers that buffers of mean and deviation may be.

    Raises:
        DataError: another tensor belongs to no layer.
    """
    mean = next((name for name in named.others if MEAN.search(name) and not name.endswith(BATCH_NORM)), None)
    deviation = next((name for name in named.others if DEVIATION.search(name)), None)
    rest = sorted(named.others.keys() - {mean, deviation})
    sizes = {named.others[name].size for name in (mean, deviation) if name} - {1, order[0].takes}
    if rest or sizes:
        name = rest[0] if rest else str(mean or deviation)
        raise DataError(
            f"{path}: {quoted(name)} is not a weight or bias of a layer, and what the model does with it is not in the "
            "file; bring the model as an ONNX file, or as a module (--model FILE.py:NAME)"
        )
    if mean is None and deviation is None:
        return [([], [], ())]
    offset = named.others[mean].reshape(-1).astype(np.float64) if mean else np.zeros(1)
    divisor = named.others[deviation].reshape(-1).astype(np.float64) if deviation else np.ones(1)
    if not divisor.all():
        raise DataError(
            f"{path}: {quoted(str(deviation))} has a zero, by which rows would be divided; correct the file"
        )
    names = " and ".join(quoted(name) for name in (mean, deviation) if name)
    if not offset.any() and (divisor == 1).all():
        return [([], [], (f"{names} change nothing (0 and 1) and are left out",))]
    scale = Step(names, "affine", {"weight": 1 / divisor, "bias": -offset / divisor})
    unscale = Step(names, "affine", {"weight": divisor, "bias": offset})
    return [
        ([scale], [unscale], (f"{names} are taken to scale the rows, and back the outputs",)),
        ([scale], [], (f"{names} are taken to scale the rows, but not back the outputs",)),
        ([], [], (f"{names} are taken to be unused",)),
    ]


def _sparse_autoencoder(path: Path, named: Named) -> list[Reading]:
    """Return the readings of parameters named as SAELens does: W_enc ``[in, h]``, b_enc, W_dec ``[h, in]``, b_dec."""
    ends = {name.rpartition(".")[2]: tensor for name, tensor in named.others.items()}
    if not {"W_enc", "W_dec"} <= ends.keys() or named.modules:
        return []
    odd = sorted(ends.keys() - {"W_enc", "W_dec", "b_enc", "b_dec"})
    if odd:
        raise DataError(f"{path}: {quoted(odd[0])} makes it a sparse autoencoder of a kind that cannot be read")
    encoder = {"weight": ends["W_enc"].T} | ({"bias": ends["b_enc"]} if "b_enc" in ends else {})
    decoder = {"weight": ends["W_dec"].T} | ({"bias": ends["b_dec"]} if "b_dec" in ends else {})
    steps = (
        Step("W_enc", "linear", encoder),
        activation("W_enc"),
        Step("W_dec", "linear", decoder),
    )
    if "b_dec" not in ends:
        return [Reading(steps)]
    shift = Step("b_dec", "affine", {"weight": np.ones(1), "bias": -ends["b_dec"]})
    return [
        Reading((shift, *steps), ("b_dec is taken to be subtracted from the rows as well",)),
        Reading(steps, ("b_dec is taken to be a bias of the outputs alone",)),
    ]


def _tied(path: Path, named: Named) -> list[Reading]:
    """Return the reading of an encoder whose weights the decoder has too, transposed: only its biases are saved."""
    weighted = [module for module in named.modules if module.weighted]
    biases = list(named.others.items())
    if len(weighted) != len(named.modules) or not biases or any(one.step.op != "linear" for one in weighted):
        return []
    mirrored = weighted[::-1]
    if [tensor.shape for _, tensor in biases] != [(module.takes,) for module in mirrored]:
        return []
    steps = [each for module in weighted for each in (module.step, activation(module.name))]
    for module, (name, bias) in zip(mirrored, biases, strict=True):
        weight = module.step.tensors["weight"].T
        steps += [Step(f"decoder.{name}", "linear", {"weight": weight, "bias": bias}), activation(name)]
    names = ", ".join(quoted(name) for name, _ in biases)
    return [Reading(tuple(steps), (f"the decoder is taken to have the encoder's weights, transposed, beside {names}",))]


def _log_variance(path: Path, named: Named, model: Pretrained) -> dict[str, Array]:
    """Return the tensors of a head that gives the code's log-variance, by our names; none: there is none."""
    head = next((module for module in named.modules if LOG_VARIANCE.search(module.name)), None)
    mean = model.tensors[f"{model.encoder[-1].name}.weight"]
    if head is None or head.step.op != "linear" or head.step.tensors["weight"].T.shape != mean.shape:
        return {}
    weight = head.step.tensors["weight"].T
    bias = head.step.tensors.get("bias", np.zeros(weight.shape[1]))
    return {
        "log_variance.weight": as_float32(path, head.name, weight),
        "log_variance.bias": as_float32(path, head.name, bias),
    }
