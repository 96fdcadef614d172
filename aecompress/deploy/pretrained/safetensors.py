"""Models in safetensors files."""

from __future__ import annotations

import math
from pathlib import Path

from aecompress.deploy.checkpoint import load_model, unpack
from aecompress.deploy.pretrained.base import LayerShape, Pretrained
from aecompress.deploy.pretrained.readings import from_tensors
from aecompress.digests import check_listed
from aecompress.errors import DataError
from aecompress.files import read_own
from aecompress.layers.base import BoundLayer, Shape
from aecompress.layers.kinds import to_json
from aecompress.machine import gib, memory_bytes
from aecompress.parsing import parse_json

MOST_HEADER = 4 << 20
"""Bytes of the list of a file's tensors: those of thirty thousand."""


def read(path: Path, rows: Shape | None = None) -> Pretrained:
    """Read a model for rows of a shape, with its activations where the ``config.json`` beside it is one of ours.

    Raises:
        DataError: the file cannot be read, or is not an autoencoder where it is not ours.
    """
    check_listed(path.parent / "config.json")
    if path.name == "model.safetensors" and is_ours(path.parent):
        model = load_model(path.parent)
        encoder, decoder = (tuple(map(shape_of, part)) for part in (model.encoder, model.decoder))
        return Pretrained(inputs=model.inputs, encoder=encoder, decoder=decoder, tensors=model.tensors)
    if path.is_file():
        check_size(path)
    return from_tensors(path, unpack(path), rows, defined=False)


def check_size(path: Path) -> None:
    """Refuse a file that the memory does not hold, or that lists a great many tensors.

    Raises:
        DataError: with its size.
    """
    size = path.stat().st_size
    if size > memory_bytes():
        raise DataError(f"{path}: has {gib(size)}, this machine {gib(memory_bytes())}; give a smaller file")
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if MOST_HEADER < header <= size:
        raise DataError(f"{path}: has a list of tensors of {header >> 20} MiB; give the weights of one autoencoder")


def shape_of(layer: BoundLayer) -> LayerShape:
    """Return a layer of ours without its weights."""
    numbers = to_json(layer.layer)
    for name in ("kind", "out", "activation"):
        numbers.pop(name, None)
    return LayerShape(
        name=layer.name,
        inputs=math.prod(layer.given),
        outputs=layer.units,
        activation=layer.activation,
        kind=layer.kind,
        numbers=numbers,
    )


def is_ours(folder: Path) -> bool:
    """Return whether ``config.json`` is that of a model folder of ours; many programs write a file of that name."""
    try:
        values = parse_json(read_own(folder / "config.json"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and {"format", "encoder", "decoder"} <= values.keys()
