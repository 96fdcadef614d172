"""onnx's own evaluator, a second implementation beside onnxruntime, with the one operator it lacks in old opsets."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.session import _one_line


class DequantizeLinear(OpRun):
    """Evaluate (x - zero point) x scale, as opsets 13 to 18 define it; the class is named as the operator is."""

    op_domain = ""

    def _run(
        self, x: NDArray[Any], scale: Floats, zero: NDArray[Any] | None = None, axis: int = 1, **newer: Any
    ) -> tuple[NDArray[np.float32]]:
        """Return float32 values of the shape of ``x``; scale and zero point are one number, or lie along ``axis``.

        Args:
            newer: attributes of later opsets, which the evaluator passes with their defaults.
        """
        along = [1] * x.ndim
        if scale.ndim:
            along[axis] = -1
        # In 64 bits, where the difference of two numbers of 32 bits is exact.
        moved = x.astype(np.int64) - (0 if zero is None else zero.astype(np.int64).reshape(along if zero.ndim else ()))
        return (np.float32(moved) * scale.reshape(along if scale.ndim else ()),)


class Evaluated(NamedTuple):
    """What the evaluator gives."""

    output: NDArray[Any] | str
    """The first output; how it failed, where it is text."""
    lent: str
    """Which operators it has from here, in words; empty: none."""


def evaluate(model: onnx.ModelProto, feed: str, rows: Floats) -> Evaluated:
    """Return the first output of a model for ``rows`` ``[N, ...]`` as its input ``feed``.

    The evaluator knows DequantizeLinear from opset 19 on; below, it gets :class:`DequantizeLinear`.
    """
    lent = ""
    try:
        with np.errstate(all="ignore"):
            try:
                runner = ReferenceEvaluator(model)
            except RuntimeError:
                runner = ReferenceEvaluator(model, new_ops=[DequantizeLinear])
                lent = "DequantizeLinear, which it lacks below opset 19, is ours"
            output = cast(list[Any], runner.run(None, {feed: rows}))[0]
    except MemoryError:  # says nothing of the file
        raise
    except Exception as fault:  # whatever an operator's Python code raises
        return Evaluated(_one_line(fault), lent)
    return Evaluated(output, lent)
