"""onnx's own evaluator, a second implementation beside onnxruntime, with the operators that it lacks or gets wrong."""

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


class ConvTranspose(OpRun):
    """Evaluate a transposed convolution with explicit pads; the class is named as the operator is."""

    op_domain = ""

    def _run(self, x: Floats, w: Floats, b: Floats | None = None, **numbers: Any) -> tuple[Floats]:
        """Return ``[N, out, *places]`` of ``x`` ``[N, in, *places]`` and ``w`` ``[in, out of a group, *kernel]``."""
        axes, group = x.ndim - 2, numbers["group"] or 1
        strides, dilations = (numbers[name] or [1] * axes for name in ("strides", "dilations"))
        pads, more = (numbers[name] or [0] * 2 * axes for name in ("pads", "output_padding"))
        reach = [
            s * (size - 1) + d * (k - 1) + 1
            for s, d, size, k in zip(strides, dilations, x.shape[2:], w.shape[2:], strict=True)
        ]
        x = x.reshape(len(x), group, -1, *x.shape[2:])
        w = w.reshape(group, -1, *w.shape[1:])
        total = np.zeros((len(x), group, w.shape[2], *map(sum, zip(reach, more, strict=False))), x.dtype)
        for place in np.ndindex(*w.shape[3:]):
            spots = tuple(
                slice(at * d, at * d + s * (size - 1) + 1, s)
                for at, d, s, size in zip(place, dilations, strides, x.shape[3:], strict=True)
            )
            given = np.einsum("ngi...,gio->ngo...", x, w[(..., *place)])
            total[(slice(None), slice(None), slice(None), *spots)] += given
        kept = tuple(slice(pads[at], total.shape[3 + at] - pads[axes + at]) for at in range(axes))
        found = total.reshape(len(x), -1, *total.shape[3:])[(slice(None), slice(None), *kept)]
        return (found if b is None else found + b.reshape(-1, *[1] * axes),)


class Evaluated(NamedTuple):
    """What the evaluator gives."""

    output: NDArray[Any] | str
    """The first output; how it failed, where it is text."""
    lent: str
    """Which operators it has from here, in words; empty: none."""


def evaluate(model: onnx.ModelProto, feed: str, rows: Floats) -> Evaluated:
    """Return the first output of a model for ``rows`` ``[N, ...]`` as its input ``feed``.

    The evaluator knows DequantizeLinear from opset 19 on; below, it gets :class:`DequantizeLinear`. Its ConvTranspose,
    which is slow and wrong in groups, is always replaced.
    """
    given: list[type[OpRun]] = []
    words: list[str] = []
    if any(node.op_type == "ConvTranspose" for node in model.graph.node):
        given, words = [ConvTranspose], ["ConvTranspose, which it computes wrongly in groups, is ours"]
    try:
        with np.errstate(all="ignore"):
            try:
                runner = ReferenceEvaluator(model, new_ops=given)
            except RuntimeError:
                runner = ReferenceEvaluator(model, new_ops=[*given, DequantizeLinear])
                words = [*words, "DequantizeLinear, which it lacks below opset 19, is ours"]
            output = cast(list[Any], runner.run(None, {feed: rows}))[0]
    except MemoryError:  # says nothing of the file
        raise
    except Exception as fault:  # whatever an operator's Python code raises
        return Evaluated(_one_line(fault), "; ".join(words))
    return Evaluated(output, "; ".join(words))
