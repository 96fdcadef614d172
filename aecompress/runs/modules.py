"""A model that a run begins with and that is no file of weights: a module in memory, or in a file of Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from aecompress.data.dataset import Dataset
from aecompress.data.sparse import sample
from aecompress.deploy.checkpoint import Model, load_model, save_model
from aecompress.deploy.pretrained.base import Pretrained
from aecompress.deploy.pretrained.bound import bound
from aecompress.deploy.pretrained.code import Code, load_module, read_code
from aecompress.deploy.pretrained.registry import read_pretrained
from aecompress.errors import DataError
from aecompress.files import standing
from aecompress.runs.folder import staged

if TYPE_CHECKING:
    from torch import nn

FOLDER = "pretrained"
"""Where a run keeps the model that code gave, so that the code runs once, also where the run is resumed."""


@dataclass(frozen=True, kw_only=True)
class Bring:
    """How a model comes in."""

    read: Callable[[Dataset], Pretrained]
    """Returns it for rows.

    Raises:
        DataError: it cannot be read as layers, or does not fit the rows.
    """
    code: dict[str, str] = field(default_factory=dict)
    """The name and sha256 of the file of Python that was trusted; empty: there is none."""


def from_memory(name: str, module: nn.Module) -> Bring:
    """Return how a module in memory comes in.

    Args:
        name: for messages.
    """

    def read(dataset: Dataset) -> Pretrained:
        from aecompress.deploy.pretrained.exported.read import read_module

        return read_module(name, module, sample(dataset.train).reshape(-1, *dataset.shape))

    return Bring(read=read)


def from_code(code: Code, seed: int, directory: Path) -> Bring:
    """Return how a module in a file of Python comes in, which its user trusts: the file runs when it is read.

    Raises:
        DataError: the file cannot be read.
    """
    content, digest = read_code(code, directory)

    def read(dataset: Dataset) -> Pretrained:
        return from_memory(str(code), load_module(code, content, seed, directory)).read(dataset)

    return Bring(read=read, code={"file": str(code.file), "name": code.name, "sha256": digest})


def from_run(folder: Path, code: dict[str, str]) -> Bring:
    """Return how the model that code gave a run comes in again: from the run's folder, and nothing of the code runs.

    Args:
        code: what ``run.json`` says of it.

    Raises:
        DataError: the folder lacks it.
    """
    kept = standing(folder / FOLDER)
    if not kept.is_dir():
        raise DataError(f"{kept}: is gone, which has the model that the run began with; start the run again")

    def read(dataset: Dataset) -> Pretrained:
        about = load_model(kept).about
        return dataclasses.replace(read_pretrained(kept / "model.safetensors"), pruned=bool(about.get("pruned")))

    return Bring(read=read, code=code)


def as_model(found: Pretrained, dataset: Dataset) -> Model:
    """Return a model on the rows of a run, as it came."""
    chain = bound(found, dataset.shape)
    names = {f"{layer.name}.{tensor}" for layer in chain for tensor in ("weight", "bias")}
    return Model(
        encoder=chain[: len(found.encoder)],
        decoder=chain[len(found.encoder) :],
        tensors={name: tensor for name, tensor in found.tensors.items() if name in names},
        scaling=dataclasses.asdict(dataset.scaling),
        about={"name": dataset.name, "pruned": found.pruned},
    )


def save(folder: Path, found: Pretrained, dataset: Dataset) -> None:
    """Keep a model in a run folder, as it came."""
    with staged(folder / FOLDER) as place:
        save_model(place, as_model(found, dataset))
