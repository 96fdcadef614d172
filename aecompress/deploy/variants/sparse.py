"""``model.sparse.safetensors``: all weights in their original shapes, without the zeros."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aecompress.deploy.checkpoint import torch_tensors
from aecompress.deploy.sparse import load_sparse, save_sparse
from aecompress.deploy.variants.base import Outcome, Request, Source
from aecompress.deploy.verify import Check
from aecompress.polling import Poll


def sparse(folder: Path, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Write ``model.sparse.safetensors``: all weights in their original shapes, without the zeros."""
    path = folder / "model.sparse.safetensors"
    tensors = torch_tensors(source.model)
    save_sparse(path, tensors)
    loaded = load_sparse(path)
    wrong = [name for name in tensors if name not in loaded or not np.array_equal(loaded[name], tensors[name])]
    outcome.checks.append(
        Check(f"{path.name} rebuilds", not wrong, ", ".join(wrong) or f"{len(loaded)} tensors, bit for bit")
    )
    outcome.files["sparse-weights"] = path.name
