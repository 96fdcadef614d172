"""A trained model as a torch module."""

from __future__ import annotations

from pathlib import Path

from aecompress.deploy.checkpoint import load_model, model_folder, torch_tensors
from aecompress.errors import DataError
from aecompress.nets.module import AutoencoderModule


def load(folder: str | Path) -> AutoencoderModule:
    """Load the autoencoder of a run or model folder as a torch module in evaluation mode.

    Raises:
        DataError: the folder holds no complete model, one that was changed, or one with layers that are not dense.
    """
    model = load_model(model_folder(Path(folder)))
    others = [layer for layer in model.layers if layer.kind != "dense"]
    if others:
        raise DataError(
            f"{folder}: layer {others[0].name} is of kind {others[0].kind}, of which there is no torch module yet; "
            "use its ONNX files"
        )
    shapes = [
        [(layer.inputs, layer.outputs, layer.activation) for layer in part] for part in (model.encoder, model.decoder)
    ]
    return AutoencoderModule(shapes[0], shapes[1], torch_tensors(model), model.scaling)
