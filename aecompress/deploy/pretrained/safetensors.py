"""Models in safetensors files."""

from __future__ import annotations

from pathlib import Path

from aecompress.deploy.checkpoint import load_model, unpack
from aecompress.deploy.pretrained.base import LayerShape, Pretrained, from_tensors
from aecompress.digests import check_listed
from aecompress.errors import DataError
from aecompress.files import read_own
from aecompress.machine import gib, memory_bytes
from aecompress.parsing import parse_json


def read(path: Path) -> Pretrained:
    """Read a model, with its activations where the ``config.json`` beside it is one of ours.

    Raises:
        DataError: the file cannot be read, or is not a chain of linear layers.
    """
    check_listed(path.parent / "config.json")
    if path.name == "model.safetensors" and is_ours(path.parent):
        model = load_model(path.parent)
        others = [layer for layer in model.layers if layer.kind != "dense"]
        if others:
            raise DataError(
                f"{path}: layer {others[0].name} is of kind {others[0].kind}; model.init (--init) takes dense layers "
                "alone"
            )
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


def is_ours(folder: Path) -> bool:
    """Return whether ``config.json`` is that of a model folder of ours; many programs write a file of that name."""
    try:
        values = parse_json(read_own(folder / "config.json"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and {"format", "encoder", "decoder"} <= values.keys()
