"""ONNX files in onnxruntime, a few rows or many at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.reading import read_onnx
from aecompress.errors import AecompressError, DataError

SMALL_BATCH_ROWS = 1024
"""Rows that the small batches are tried on."""


LARGEST_BATCH = 1 << 12
"""Rows of one call when all rows are compared."""


def session(
    path: Path,
    threads: int = 0,
    level: onnxruntime.GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session on the CPU.

    Args:
        threads: threads inside an operator; 0 leaves the choice to onnxruntime.
        level: how far onnxruntime may rewrite the graph.

    Raises:
        DataError: the file is not to be trusted, or onnxruntime does not load it.
    """
    return load(path, read_onnx(path).SerializeToString(), threads, level)


def load(
    path: Path,
    data: bytes,
    threads: int = 0,
    level: onnxruntime.GraphOptimizationLevel = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
) -> onnxruntime.InferenceSession:
    """Return a session of an ONNX model's bytes, which came from ``path``.

    Raises:
        DataError: onnxruntime does not load them.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = level
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as fault:  # onnxruntime raises a dozen unrelated classes, all from its C++ side
        raise DataError(f"{path}: onnxruntime does not load it ({_one_line(fault)}); export it again") from fault


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:200]


def attempt(
    runner: onnxruntime.InferenceSession, rows: Floats, batch: int, poll: Callable[[], None] = lambda: None
) -> Floats | str:
    """Return what :func:`run_batches` gives, or the sentence onnxruntime fails with."""
    try:
        return run_batches(runner, rows, batch, poll)
    except AecompressError:
        raise
    except Exception as fault:  # onnxruntime raises a dozen unrelated classes, all from its C++ side
        return _one_line(fault)


def run_batches(
    runner: onnxruntime.InferenceSession, rows: Floats, batch: int, poll: Callable[[], None] = lambda: None
) -> Floats:
    """Run the model on all ``rows`` ``[N, in]``, ``batch`` rows a call; ``poll`` comes before each."""
    feed = runner.get_inputs()[0].name
    parts = []
    for first in range(0, len(rows), batch):
        poll()
        parts.append(runner.run(None, {feed: rows[first : first + batch]})[0])
    return np.concatenate(parts)
