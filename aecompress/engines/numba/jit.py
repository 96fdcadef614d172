"""numba's decorators, and what the loops need that NumPy has no name for: instructions, bfloat16, atomic numbers."""

from __future__ import annotations

import operator
import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from aecompress.engines.numba.cache import cached

LINE = 16
"""Floats of a cache line: rows are padded to whole lines."""
NEAREST = 3
"""The cache nearest to the core, as `llvm.prefetch` counts them."""

SUMS = {"contract", "reassoc", "nsz", "arcp"}
"""Sums may be reordered and products fused with them, which is what lets the compiler use whole vectors; infinities and
not-a-numbers keep their meaning, so a lost cell stays lost."""
ESTIMATES = SUMS | {"afn", "ninf"}
"""A quotient may also be an estimate and a step of Newton's, right to the rounding of float32."""


def compiled(function: Any) -> Any:
    """Compile a loop for this machine when it is first called; its code is kept between processes."""
    return cached(njit(nogil=True, fastmath=SUMS, error_model="numpy")(function))


def estimating(function: Any) -> Any:
    """Compile a loop whose quotients may be estimates."""
    return cached(njit(nogil=True, fastmath=ESTIMATES, error_model="numpy")(function))


@intrinsic
def _prefetch(context, array, place):
    """Ask for the cache line of ``array[place]``, to be brought to the nearest cache."""

    def generate(context, builder, signature, values):
        proxy = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=values[0])
        line = builder.bitcast(builder.gep(proxy.data, [values[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [line.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [line, number(0), number(NEAREST), number(1)])
        return context.get_dummy_value()

    return types.void(array, place), generate


@compiled
def prefetch(row):
    """Bring a row of the next batch nearer, while this one is worked on."""
    for c in range(0, row.shape[0], LINE):
        _prefetch(row, c)


@compiled
def copy_row(source, target):
    """Copy ``source`` into ``target``: a loop of one's own is done by whole vectors, an assigned slice is not."""
    for c in range(source.shape[0]):
        target[c] = source[c]


@intrinsic
def fma(context, first, second, added):
    """Compute ``first * second + added``, rounded once where the processor can.

    Of two products that are added, a compiler is free to fuse either, and does not choose alike in every loop.
    """

    def generate(context, builder, signature, values):
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType()] * 3)
        return builder.call(builder.module.declare_intrinsic("llvm.fmuladd", [ir.FloatType()], kind), values)

    return types.float32(types.float32, types.float32, types.float32), generate


def as_float32(value):
    """Return a number as float32, from itself or from the bits of a bfloat16 one, which are the upper half of it."""


@overload(as_float32)
def _as_float32(value):
    if value == types.int16:
        return lambda value: np.int32(np.int32(value) << np.int32(16)).view(np.float32)
    return lambda value: value


def store(row, place, value):
    """Set ``row[place]``; where the row holds bits of bfloat16, round to the nearest of them, ties to even."""


@overload(store)
def _store(row, place, value):
    if row.dtype != types.int16:
        return lambda row, place, value: operator.setitem(row, place, value)

    def rounded(row, place, value):
        bits = np.float32(value).view(np.int32)
        row[place] = np.int16((bits + np.int32(0x7FFF) + ((bits >> np.int32(16)) & np.int32(1))) >> np.int32(16))

    return rounded


def refresh(copy, place, value):
    """Do :func:`store` where ``copy`` holds bits of bfloat16; else it is the weights themselves, already new."""


@overload(refresh)
def _refresh(copy, place, value):
    if copy.dtype == types.int16:
        return lambda copy, place, value: store(copy, place, value)
    return lambda copy, place, value: None


@intrinsic
def atomic_load(context, gate, place):
    """Read ``gate[place]`` as every core sees it."""

    def generate(context, builder, signature, values):
        proxy = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=values[0])
        return builder.load_atomic(builder.gep(proxy.data, [values[1]]), "seq_cst", 8)

    return types.int64(gate, place), generate


@intrinsic
def atomic_increment(context, gate, place, old):
    """Add 1 to ``gate[place]`` if it is still ``old``; return whether it was."""

    def generate(context, builder, signature, values):
        proxy = cgutils.create_struct_proxy(signature.args[0])(context, builder, value=values[0])
        number, new = values[2], builder.add(values[2], ir.Constant(ir.IntType(64), 1))
        found = builder.cmpxchg(builder.gep(proxy.data, [values[1]]), number, new, "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(gate, place, old), generate


yield_core = types.ExternalFunction("SwitchToThread" if sys.platform == "win32" else "sched_yield", types.int32())
"""Lets another thread have this core."""
