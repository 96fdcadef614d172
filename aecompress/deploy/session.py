"""ONNX files in onnxruntime, a few rows or many at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.reading import read_onnx
from aecompress.errors import DataError
from aecompress.parsing import quoted
from aecompress.polling import Poll, no_poll

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
    options.log_severity_level = 4  # its errors are raised too, and its log prints a stranger's names as they are
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except MemoryError:  # says nothing of the file
        raise
    except Exception as fault:  # onnxruntime raises a dozen unrelated classes, all from its C++ side
        raise DataError(f"{path}: onnxruntime does not load it ({_one_line(fault)}); export it again") from fault


def _one_line(fault: Exception) -> str:
    return " ".join(str(fault).split())[:200]


def failed(path: Path, count: int, fault: Exception) -> DataError:
    """Return the error of a file that onnxruntime loads and cannot run on ``count`` rows."""
    return DataError(f"{path}: onnxruntime fails on {count} rows ({_one_line(fault)}); export it again")


def input_shape(path: Path, runner: onnxruntime.InferenceSession, purpose: str) -> list[Any]:
    """Return the shape of the one input, which takes rows of float32: the rows, a number or a name, and the sizes.

    Args:
        purpose: what such files alone are, such as "measured".

    Raises:
        DataError: the file takes something else.
    """
    inputs = runner.get_inputs()
    shape: list[Any] = inputs[0].shape if len(inputs) == 1 and inputs[0].type == "tensor(float)" else []
    if len(shape) < 2 or not all(isinstance(size, int) for size in shape[1:]):
        given = quoted(", ".join(f"{node.name}: {node.type} {node.shape}" for node in inputs) or "no input")
        raise DataError(f"{path}: takes {given}; only models of one float32 input [rows, ...] are {purpose}")
    return shape


def outputs(path: Path, runner: onnxruntime.InferenceSession, rows: NDArray[Any]) -> list[NDArray[Any]]:
    """Return all outputs of one call with ``rows`` ``[N, in]``.

    Raises:
        DataError: the file fails on them, or gives something else than arrays of numbers.
    """
    try:
        found: list[NDArray[Any]] = runner.run(None, {runner.get_inputs()[0].name: rows})
    except MemoryError:  # says nothing of the file
        raise
    except Exception as fault:  # onnxruntime raises a dozen unrelated classes, all from its C++ side
        raise failed(path, len(rows), fault) from fault
    if not found or not all(isinstance(out, np.ndarray) and out.dtype.kind in "biuf" for out in found):
        given = quoted(", ".join(f"{node.name}: {node.type}" for node in runner.get_outputs()))
        raise DataError(f"{path}: gives {given}, not arrays of numbers; export it again")
    return found


def attempt(runner: onnxruntime.InferenceSession, rows: Floats, batch: int, poll: Poll = no_poll) -> Floats | str:
    """Run the model on all ``rows`` ``[N, in]``, ``batch`` rows a call: its output, or how it fails.

    Args:
        poll: called before each call; may raise to stop.
    """
    feed = runner.get_inputs()[0].name
    found: Floats | None = None
    for first in range(0, len(rows), batch):
        poll()
        try:
            part = runner.run(None, {feed: rows[first : first + batch]})[0]
        except MemoryError:  # says nothing of the file
            raise
        except Exception as fault:  # onnxruntime raises a dozen unrelated classes, all from its C++ side
            return _one_line(fault)
        if found is None:
            found = np.empty((len(rows), *part.shape[1:]), part.dtype)
        if part.shape != (len(rows[first : first + batch]), *found.shape[1:]):
            return f"it gives shape {part.shape} for {len(rows[first : first + batch])} rows"
        found[first : first + batch] = part
    assert found is not None
    return found


def run_batches(
    path: Path, runner: onnxruntime.InferenceSession, rows: Floats, batch: int, poll: Poll = no_poll
) -> Floats:
    """Return what :func:`attempt` gives of a file that passed its checks.

    Raises:
        DataError: it fails all the same.
    """
    found = attempt(runner, rows, batch, poll)
    if isinstance(found, str):
        raise DataError(f"{path}: onnxruntime fails on {len(rows)} rows ({found}); export it again")
    return found
