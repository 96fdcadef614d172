"""A trained model as a torch module."""

from __future__ import annotations

from pathlib import Path

from aecompress.deploy.checkpoint import load_model, model_folder
from aecompress.nets.module import AutoencoderModule


def load(folder: str | Path) -> AutoencoderModule:
    """Load the autoencoder of a run or model folder as a torch module in evaluation mode.

    Raises:
        DataError: the folder holds no complete model, or one that was changed.
        SpecError: a layer is of a kind without a torch side.
    """
    model = load_model(model_folder(Path(folder)))
    return AutoencoderModule(model.encoder, model.decoder, model.tensors, model.scaling, model.about)
