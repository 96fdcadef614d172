"""A trained model as a torch module."""

from __future__ import annotations

from pathlib import Path

from aecompress.deploy.checkpoint import load_model, model_folder, torch_tensors
from aecompress.nets.module import AutoencoderModule


def load(folder: str | Path) -> AutoencoderModule:
    """Load the autoencoder of a run or model folder as a torch module in evaluation mode.

    Raises:
        DataError: the folder holds no complete model, or one that was changed.
    """
    model = load_model(model_folder(Path(folder)))
    shapes = [
        [(layer.inputs, layer.outputs, layer.activation) for layer in part] for part in (model.encoder, model.decoder)
    ]
    return AutoencoderModule(shapes[0], shapes[1], torch_tensors(model), model.scaling)
