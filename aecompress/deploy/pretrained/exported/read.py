"""A module of torch as a pretrained autoencoder: exported, read as a chain, and compared with what it gives itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.fx import Node

from aecompress.data.base import Array
from aecompress.deploy import reference
from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.pretrained.assembled import assembled
from aecompress.deploy.pretrained.base import Pretrained
from aecompress.deploy.pretrained.bound import bound
from aecompress.deploy.pretrained.exported.chain import chain_of, reconstruction
from aecompress.deploy.pretrained.exported.program import (
    NOISE,
    Form,
    Program,
    is_on,
    op_of,
    program_of,
)
from aecompress.deploy.pretrained.exported.walk import Walk, neat, walked
from aecompress.deploy.pretrained.steps import Step
from aecompress.deploy.reference import Doubles
from aecompress.errors import DataError

ROWS = 3
"""Rows that a module is run on."""
UNNAMED = ("activation", "batch-norm", "affine", "dropout", "reshape", "permute")
"""Steps that may become a part of the layer before them."""
NEAR = 1e-4
"""Largest difference from the module's own reconstruction, per unit of its largest value (at least 1)."""


def read_module(name: str, module: nn.Module, rows: Array) -> Pretrained:
    """Return a module as an autoencoder of ours that gives the same reconstructions.

    The module is left as it is. Dropout is left out, batch norm uses the statistics of training, and what is drawn
    gives its mean.

    Args:
        name: of the module, for messages.
        rows: some rows as the run has them, ``[N, *shape]``.

    Raises:
        DataError: naming the node of its graph that is no layer here, and what would help.
    """
    given = torch.from_numpy(np.resize(np.asarray(rows, dtype=np.float32), (ROWS, *rows.shape[1:])))
    program, form = program_of(name, module, given)
    return dataclasses.replace(read_program(program, form, given), pruned=is_pruned(module))


def read_program(program: Program, form: Form, rows: torch.Tensor) -> Pretrained:
    """Return the autoencoder of a graph, after its reconstructions of ``rows`` were compared."""
    end = reconstruction(program)
    chain, links = chain_of(program, end)
    walk = walked(program, chain, links)
    shape = tuple(rows.shape[1:])
    code = code_of(program, walk, end)
    steps = [*entered(form), *neat(program, walk.steps), *left(form, shape, program, end)]
    found = assembled(Path(program.name), steps, rows=shape, own=shape if form.axes else program.given, code=code)
    check_equal(program.name, found, form, program, end, rows)
    return dataclasses.replace(found, notes=(*found.notes, *notes_of(program, end)))


def is_pruned(module: nn.Module) -> bool:
    """Return whether weights of a module have masks of ``torch.nn.utils.prune``."""
    weights = {name for name, _ in module.named_parameters()}
    return any(name.removesuffix("_mask") + "_orig" in weights for name, _ in module.named_buffers())


def entered(form: Form) -> list[Step]:
    """Return the steps that make rows what the module takes."""
    return [Step("rows", "permute", numbers={"axes": form.axes})] if form.axes else []


def left(form: Form, shape: tuple[int, ...], program: Program, end: Node) -> list[Step]:
    """Return the steps that make the reconstruction a row again."""
    if not form.axes:
        return []
    found = []
    inside = tuple(shape[axis] for axis in form.axes)
    if tuple(program.values[end].shape[1:]) != inside:
        found.append(Step("rows", "reshape", numbers={"shape": inside}))
    inverse = tuple(int(axis) for axis in np.argsort(form.axes))
    return [*found, Step("rows", "permute", numbers={"axes": inverse})]


def code_of(program: Program, walk: Walk, end: Node) -> str:
    """Return the name of the last step of the encoder, where the module gives the latent code beside its rows."""
    codes = [node for node in program.outputs if node is not end and walk.ends.get(node)]
    if not codes:
        return ""
    narrowest = min(codes, key=lambda node: int(program.values[node].numel()))
    layers = [step.name for step in walk.steps[: walk.ends[narrowest]] if step.op not in UNNAMED]
    return layers[-1] if layers else ""


def notes_of(program: Program, end: Node) -> tuple[str, ...]:
    """Return what was left out of a module, a sentence each."""
    found = []
    if any(map(is_on, program.nodes)):
        found.append("dropout that is on in evaluation mode too was left out")
    if any(op_of(node) in NOISE for node in program.nodes):
        found.append(
            "noise that forward draws was replaced by its mean: a variational module comes in by its mean path"
        )
    others = [key for key, node in zip(program.keys, program.outputs, strict=True) if node is not end]
    if others:
        found.append(f"of what forward gives, the reconstruction was taken, and not {', '.join(others)}")
    return tuple(f"model.init: {note}" for note in found)


def check_equal(name: str, found: Pretrained, form: Form, program: Program, end: Node, rows: torch.Tensor) -> None:
    """Refuse a module whose layers, as they were read, do not give what it gives itself.

    Raises:
        DataError: with the difference.
    """
    wanted = program.values[end]
    if form.axes:
        wanted = wanted.reshape(len(rows), *(rows.shape[1 + axis] for axis in form.axes))
        wanted = wanted.permute(0, *(1 + int(axis) for axis in np.argsort(form.axes)))
    gives = reconstructed(found, rows.numpy())
    expected = wanted.numpy().reshape(len(rows), -1)
    apart = float(np.abs(gives.reshape(len(rows), -1) - expected).max())
    if not apart <= NEAR * max(1.0, float(np.abs(expected).max())):
        raise DataError(
            f"{name}: its layers as they were read give other reconstructions than it does itself, by {apart:.3g}; "
            "report this with the module, and give torch.nn.Sequential(encoder, decoder) until then"
        )


def reconstructed(found: Pretrained, rows: Floats) -> Doubles:
    """Return the reconstructions of rows ``[N, *shape]`` that the layers give in NumPy."""
    chain = bound(found, rows.shape[1:])
    return reference.run(chain, found.tensors, rows.reshape(len(rows), *chain[0].given))
