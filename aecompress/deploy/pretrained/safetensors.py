"""Models in safetensors files."""

from __future__ import annotations

import contextlib
from pathlib import Path

from aecompress.deploy.checkpoint import load_model, unpack
from aecompress.deploy.pretrained.base import LayerShape, Pretrained, from_tensors
from aecompress.errors import DataError
from aecompress.machine import gib, memory_bytes


def read(path: Path) -> Pretrained:
    """Read a model, with its activations where the ``config.json`` beside it is one of ours.

    Raises:
        DataError: the file cannot be read, or is not a chain of linear layers.
    """
    if path.name == "model.safetensors" and (path.parent / "config.json").is_file():
        with contextlib.suppress(DataError, RecursionError):  # many programs write a config.json
            model = load_model(path.parent)
            encoder, decoder = (
                tuple(LayerShape(layer.name, layer.inputs, layer.outputs, layer.activation) for layer in part)
                for part in (model.encoder, model.decoder)
            )
            return Pretrained(encoder, decoder, model.tensors)
    if path.is_file() and path.stat().st_size > memory_bytes():
        raise DataError(
            f"{path}: has {gib(path.stat().st_size)}, this machine {gib(memory_bytes())}; give a smaller file"
        )
    return from_tensors(path, unpack(path))
