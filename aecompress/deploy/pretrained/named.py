"""Tensors by name as the modules that had them, in order: what a state dict says of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aecompress.deploy.pretrained.base import FLOATS
from aecompress.deploy.pretrained.steps import CONVOLUTIONS, PRODUCTS, RECURRENT, Array, Step, inputs, outputs
from aecompress.errors import DataError
from aecompress.parsing import quoted

LONGEST_NAME = 1000
"""Characters of a tensor's name."""
MOST_TENSORS = 5000
BATCHES = "num_batches_tracked"
"""The counter of a batch norm, which says nothing of what a model computes."""
BATCH_NORM = ("running_mean", "running_var")
GATES = {4: "lstm", 3: "gru"}
"""Recurrent layers by the rows of a weight for each unit."""
MEAN = re.compile(r"(^|[._])(\w+_)?(mean_?|means|mu|loc|offset|shift|center)$", re.IGNORECASE)
DEVIATION = re.compile(r"(^|[._])(\w+_)?(std_?|scale_?|stdev|sigma|deviation|divisor)$", re.IGNORECASE)
"""Names of buffers by which a module scales its rows."""


class Module(NamedTuple):
    """A module that has tensors."""

    name: str
    """As in the file; "" for a module that is saved alone."""
    step: Step
    place: int
    """Where it stands in the file."""

    @property
    def weighted(self) -> bool:
        """Return whether it is a layer that others follow."""
        return self.step.op in (*PRODUCTS, *RECURRENT)

    @property
    def takes(self) -> int:
        """Return the units that it is given."""
        return inputs(self.step)

    @property
    def gives(self) -> int:
        """Return the units that it gives."""
        return self.step.tensors["weight_hh_l0"].shape[1] if self.step.op in RECURRENT else outputs(self.step)

    @property
    def box(self) -> tuple[str, int] | None:
        """Return the sequence that it stands in and its number there: ``encoder.2`` -> ``("encoder", 2)``."""
        box, _, number = self.name.rpartition(".")
        return (box, int(number)) if number.isdecimal() and len(number) < 10 else None


class Named(NamedTuple):
    """The modules of a file, and its tensors that belong to none of them."""

    modules: tuple[Module, ...]
    others: Mapping[str, Array]


def modules_of(path: Path, tensors: Mapping[str, Array]) -> Named:
    """Return the modules that tensors belong to, in the order of the tensors.

    Raises:
        DataError: a tensor's name or shape is that of no module that can be read.
    """
    for name in tensors:
        if len(name) > LONGEST_NAME:
            raise DataError(
                f"{path}: names a tensor with {len(name)} characters; give the weights of an autoencoder alone"
            )
    if len(tensors) > MOST_TENSORS:
        raise DataError(f"{path}: has {len(tensors)} tensors; give the weights of one autoencoder")
    grouped = dict[str, dict[str, Array]]()
    for name, tensor in _plain(path, tensors).items():
        module, _, end = name.rpartition(".")
        grouped.setdefault(module, {})[end] = tensor
    modules, others = list[Module](), dict[str, Array]()
    for name, own in grouped.items():
        steps, left = _steps(path, name, own)
        modules += [Module(name, step, len(modules) + index) for index, step in enumerate(steps)]
        others |= {f"{name}.{key}" if name else key: own[key] for key in left}
    return Named(tuple(modules), others)


def _plain(path: Path, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """Return tensors with what torch computes weights from in their place: norms and spectral norms.

    Weight norm: g * v / |v| over all axes but the first (Salimans and Kingma 2016); spectral norm: w / (u . w v)
    (Miyato et al. 2018).
    """
    found = dict[str, Array]()
    for name, tensor in tensors.items():
        base = re.sub(r"\.parametrizations\.(\w+)\.(original0?|0\._u)$", r".\1", name)
        direction = tensors.get(name.replace("original0", "original1"))
        if name.endswith(".original0") and direction is not None:
            found[base] = _weight_norm(path, name, tensor, direction)
        elif name.endswith("_g") and (direction := tensors.get(name.removesuffix("_g") + "_v")) is not None:
            found[name.removesuffix("_g")] = _weight_norm(path, name, tensor, direction)
        elif name.endswith(".original"):
            own = name.removesuffix("original")
            u, v = tensors.get(own + "0._u"), tensors.get(own + "0._v")
            found[base] = _spectral_norm(path, name, tensor, u, v)
        elif name.endswith("_orig"):
            stem = name.removesuffix("_orig")
            found[stem] = _spectral_norm(path, name, tensor, tensors.get(stem + "_u"), tensors.get(stem + "_v"))
        elif not _is_part(name, tensors):
            if ".parametrizations." in name:
                raise DataError(f"{path}: {quoted(name)} is parametrized in a way that is not known; {UNDO}")
            found[name] = tensor
    return found


UNDO = "remove it with torch.nn.utils.parametrize.remove_parametrizations and save the state dict again"


def _is_part(name: str, tensors: Mapping[str, Array]) -> bool:
    """Return whether another tensor's rule has used a tensor up."""
    if name.endswith((".original1", ".0._u", ".0._v")) and ".parametrizations." in name:
        return True
    stem, _, end = name.rpartition("_")
    return (end == "v" and f"{stem}_g" in tensors) or (end in ("u", "v") and f"{stem}_orig" in tensors)


def _weight_norm(path: Path, name: str, size: Array, direction: Array) -> Array:
    if size.ndim != direction.ndim or size.shape != (len(direction), *[1] * (direction.ndim - 1)):
        raise DataError(f"{path}: {quoted(name)} is a weight norm over another axis than the first; {UNDO}")
    length = np.sqrt((direction.astype(np.float64) ** 2).sum(tuple(range(1, direction.ndim)), keepdims=True))
    return np.asarray(direction * (size / np.where(length == 0, 1, length)))


def _spectral_norm(path: Path, name: str, weight: Array, u: Array | None, v: Array | None) -> Array:
    flat = weight.reshape(len(weight), -1) if weight.ndim else weight
    if u is None or v is None or u.shape != flat.shape[:1] or v.shape != flat.shape[1:]:
        raise DataError(f"{path}: {quoted(name)} is parametrized in a way that is not known; {UNDO}")
    return np.asarray(weight / (u.astype(np.float64) @ flat @ v))


def _steps(path: Path, name: str, own: Mapping[str, Array]) -> tuple[list[Step], list[str]]:
    """Return what a module with tensors ``own`` does, and which of these it does not need."""
    weight, bias = own.get("weight"), own.get("bias")
    if "weight_ih_l0" in own or "weight_ih" in own:
        return _recurrent(path, name, own), []
    norm = set(BATCH_NORM) <= own.keys()
    left = [key for key in own if key not in ("weight", "bias", BATCHES, *(BATCH_NORM if norm else ()))]
    if norm:
        tensors = {key: own[key] for key in own if key not in (BATCHES, *left)}
        numbers = {"batches": float(own[BATCHES])} if BATCHES in own and own[BATCHES].size == 1 else {}
        return [Step(name, "batch-norm", tensors, numbers)], left
    if weight is None:
        return [], left + [key for key in ("bias",) if key in own]
    for key in ("weight", "bias"):
        if key in own and own[key].dtype.name not in FLOATS:
            raise DataError(f"{path}: {quoted(name)}.{key} holds {own[key].dtype}; floating-point weights are needed")
    if not weight.size or weight.ndim not in (1, 2, 3, 4):
        raise DataError(
            f"{path}: {quoted(name)}.weight has shape {weight.shape}; only linear, convolutional and recurrent layers "
            "can be read"
        )
    if weight.ndim == 1:
        if bias is not None or "norm" in name.lower():
            raise DataError(
                f"{path}: {quoted(name)} is a layer norm (or a group or RMS norm), which depends on the row and so "
                "cannot be folded into a layer; train the model with batch norm, or without norm"
            )
        return [Step(name, "activation", {"weight": weight}, {"name": "prelu"})], left
    if bias is not None and (bias.ndim != 1 or len(bias) not in weight.shape[: 1 if weight.ndim == 2 else 2]):
        raise DataError(
            f"{path}: the bias of {quoted(name)} has shape {bias.shape}, its weight {weight.shape}; correct the file"
        )
    op = ("linear", "conv1d", "conv2d")[weight.ndim - 2]
    return [Step(name, op, {"weight": weight} | ({} if bias is None else {"bias": bias}))], left


def _recurrent(path: Path, name: str, own: Mapping[str, Array]) -> list[Step]:
    """Return the layers of a recurrent module, the one that is given rows first.

    Raises:
        DataError: it reads both ways, or is of another kind than LSTM and GRU.
    """
    odd = next((key for key in own if not re.fullmatch(r"(weight|bias)_[ih]h_l\d{1,3}", key)), "")
    if odd:
        why = "reads its rows both ways" if "reverse" in odd else "is not an LSTM or GRU of plain form"
        raise DataError(f"{path}: {quoted(name)} ({quoted(odd)}) {why}; only those of one direction can be read")
    steps = []
    for index in range(len(own)):
        end = f"_l{index}"
        tensors = {key.removesuffix(end) + "_l0": own[key] for key in own if key.endswith(end)}
        if not tensors:
            break
        first, second = tensors.get("weight_ih_l0"), tensors.get("weight_hh_l0")
        if first is None or second is None or not second.shape[-1] or first.ndim != 2 or second.ndim != 2:
            raise DataError(f"{path}: {quoted(name)} lacks weights of layer {index}; save the model again")
        op = GATES.get(len(first) // second.shape[1], "")
        if not op:
            raise DataError(f"{path}: {quoted(name)} is a plain recurrent layer; only LSTM and GRU can be read")
        steps.append(Step(name, op, tensors))
    return steps


def transposed(step: Step) -> Step:
    """Return a convolution as its transpose: a file has the same tensors for both."""
    assert step.op in CONVOLUTIONS
    return step._replace(op=step.op + "-transpose")
