"""Whether the layers of a graph, as they were read, give what onnxruntime does with the graph itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from aecompress import rng
from aecompress.deploy import reference, session
from aecompress.deploy.pretrained.base import Pretrained
from aecompress.deploy.pretrained.bound import bound
from aecompress.deploy.pretrained.views import Shape
from aecompress.errors import DataError

NEAR = 1e-4
"""Largest difference, per unit of the largest value (at least 1)."""


def check_equal(path: Path, model: onnx.ModelProto, found: Pretrained, shape: Shape, output: int) -> None:
    """Refuse a graph whose layers, as they were read, give something else than the graph.

    Args:
        shape: of a batch that the graph takes.
        output: which of its outputs is the reconstruction.

    Raises:
        DataError: with the difference, or onnxruntime cannot run the graph.
    """
    runner = session.load(path, model.SerializeToString(), 1)
    drawn = rng.host(0, "pretrained-rows").normal(size=shape).astype(np.float32)
    rows: NDArray[Any] = drawn.astype(np.float64) if runner.get_inputs()[0].type == "tensor(double)" else drawn
    expected = session.outputs(path, runner, rows)[output].reshape(len(rows), -1)
    chain = bound(found, shape[1:])
    gives = reference.run(chain, found.tensors, drawn.reshape(len(rows), *chain[0].given)).reshape(len(rows), -1)
    largest = float(np.abs(expected).max(initial=1.0))
    if gives.shape != expected.shape or not np.abs(gives - expected).max(initial=0.0) <= NEAR * largest:
        raise DataError(
            f"{path}: its layers as they were read give other reconstructions than the file does; "
            "export it in another way, with another opset for example, and report this with the file"
        )
