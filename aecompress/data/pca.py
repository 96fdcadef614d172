"""The principal components of rows: what a linear code of the same size keeps (Baldi and Hornik 1989)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress import rng
from aecompress.data.base import Floats
from aecompress.data.sparse import Rows

Doubles = NDArray[np.float64]

SMALL = 1024
"""Inputs, or rows, up to which all components are computed; of more, the first by subspace iteration."""
MORE = 10
"""Directions that subspace iteration carries beside those requested (Halko, Martinsson and Tropp 2011)."""
PASSES = 6
"""Over the rows, of subspace iteration."""
PRECISE = 1 << 34
"""Products up to which rows are multiplied as float64, which takes about half a second; beyond, as float32."""
MOST_PRODUCTS = 1 << 39
"""That components may cost: about eight seconds on one core."""
SLOWER = 4
"""Times that a product with a narrow matrix takes."""
MOST_HELD = 1 << 27
"""Values of few rows of many inputs that are held at once."""
BLOCK_VALUES = 1 << 20
"""Of rows that are multiplied at once."""
ZERO = 1e-12
"""Share of the greatest variance below which a direction has none."""


class Components(NamedTuple):
    """The mean of N rows and their first principal components, the greatest variance first."""

    mean: Doubles
    """``[D]``"""
    directions: Doubles
    """``[D, K]``, orthonormal columns; of each, the value furthest from 0 is positive."""
    variances: Doubles
    """``[K]``, with N - 1 as the divisor, falling, above 0."""

    def reconstruct(self, rows: Floats) -> Floats:
        """Return rows ``[N, D]`` projected onto the components."""
        code = (rows - self.mean) @ self.directions
        return (code @ self.directions.T + self.mean).astype(np.float32)


def why_no_components(rows: Rows, count: int) -> str:
    """Return why components of these rows are not computed, as a clause; empty: they are."""
    products = _products(rows, count)
    if products <= MOST_PRODUCTS:
        return ""
    return f"it would take too long on {rows.shape[0]:,} rows of {rows.shape[1]:,} inputs"


def principal_components(rows: Rows, count: int) -> Components:
    """Return the mean and the first components of rows ``[N, D]``, the same bits on any number of threads.

    All components are computed from the covariance matrix where inputs are few, and from the rows' inner products
    where rows are; else the first ones by subspace iteration on the covariance matrix, which is not formed: then the
    variance that is not explained is near its least value, within a per cent.

    Args:
        count: K; as many or fewer are returned where the rows vary in fewer directions.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):  # the last bits of a product depend on how many threads share it
        if _is_iterated(rows):
            return _iterated(rows, count)
        return _of_covariance(rows, count) if rows.shape[1] <= SMALL else _of_products(rows, count)


def _is_iterated(rows: Rows) -> bool:
    """Return whether rows and inputs are too many for all components."""
    count, inputs = len(rows), int(rows.shape[1])
    return min(count, inputs) > SMALL or (inputs > SMALL and count * inputs > MOST_HELD)


def _products(rows: Rows, wanted: int) -> int:
    """Return how many products of two numbers components cost, about."""
    count, inputs = len(rows), int(rows.shape[1])
    if _is_iterated(rows):
        return SLOWER * 2 * PASSES * count * inputs * (wanted + MORE)
    return count * inputs * min(count, inputs)


def _type(rows: Rows, count: int) -> type[np.float64 | np.float32]:
    return np.float64 if _products(rows, count) <= PRECISE else np.float32


def _blocks(rows: Rows) -> Iterator[Floats]:
    """Yield rows, dense, a block ``[K, D]`` at a time."""
    step = max(1, BLOCK_VALUES // rows.shape[1])
    for start in range(0, len(rows), step):
        yield np.asarray(rows[start : start + step], np.float32)


def _shift(rows: Rows) -> Floats:
    """Return about the mean of each input ``[D]``: sums of what is left lose no digits."""
    first: Floats = next(iter(_blocks(rows)))
    shift: Floats = first.mean(axis=0)
    return shift


def _of_covariance(rows: Rows, count: int) -> Components:
    """Return components by the covariance matrix ``[D, D]``, in one pass over the rows."""
    inputs, kind, shift = rows.shape[1], _type(rows, count), _shift(rows)
    sums, squares = np.zeros(inputs), np.zeros((inputs, inputs))
    for block in _blocks(rows):
        centred = np.subtract(block, shift, dtype=kind)
        sums += centred.sum(axis=0, dtype=float)
        squares += centred.T @ centred
    offset = sums / len(rows)
    squares -= len(rows) * np.outer(offset, offset)
    values, vectors = np.linalg.eigh(squares / max(len(rows) - 1, 1))
    return _first(shift + offset, vectors[:, ::-1], values[::-1], count)


def _of_products(rows: Rows, count: int) -> Components:
    """Return components by the products of N rows with each other, ``[N, N]``: rows are few, inputs many."""
    held = np.concatenate(list(_blocks(rows)))
    mean, kind = held.mean(axis=0, dtype=float), _type(rows, count)
    centred = np.subtract(held, mean.astype(np.float32), dtype=kind)
    centred -= centred.mean(axis=0, dtype=float).astype(kind)
    values, vectors = np.linalg.eigh((centred @ centred.T).astype(float))
    kept = _above_zero(values[::-1])[:count]
    directions, _ = np.linalg.qr((centred.T @ vectors[:, ::-1][:, : len(kept)].astype(centred.dtype)).astype(float))
    return _first(mean, directions, kept / max(len(rows) - 1, 1), count)


def _iterated(rows: Rows, count: int) -> Components:
    """Return components by subspace iteration on the covariance matrix, in :data:`PASSES` passes over the rows.

    Source: Halko, Martinsson and Tropp 2011, algorithm 4.4, with the products of both sides in one pass.
    """
    inputs, shift, kind = rows.shape[1], _shift(rows), _type(rows, count)
    width = min(count + MORE, *rows.shape)
    basis, _ = np.linalg.qr(rng.host(0, "principal components").standard_normal((inputs, width)))
    for _ in range(PASSES):
        last = basis
        sums, product = np.zeros(inputs), np.zeros((inputs, width))
        narrow = basis.astype(kind)
        for block in _blocks(rows):
            centred = np.subtract(block, shift, dtype=kind)
            sums += centred.sum(axis=0, dtype=float)
            product += centred.T @ (centred @ narrow)
        offset = sums / len(rows)
        product -= len(rows) * np.outer(offset, offset @ last)
        basis, _ = np.linalg.qr(product)
    within = last.T @ product / max(len(rows) - 1, 1)
    values, vectors = np.linalg.eigh((within + within.T) / 2)
    return _first(shift + offset, last @ vectors[:, ::-1], values[::-1], count)


def _above_zero(values: Doubles) -> Doubles:
    """Return the variances that are above 0, of falling ones."""
    return values[: int(np.sum(values > ZERO * max(float(values[0]), math.ulp(0.0))))]


def _first(mean: Doubles, directions: Doubles, variances: Doubles, count: int) -> Components:
    """Return the first ``count`` of the directions that rows vary in, each with its greatest value positive."""
    kept = _above_zero(variances)[:count]
    chosen = directions[:, : len(kept)]
    signs = np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(len(kept))]) if len(kept) else np.ones(0)
    return Components(mean, np.ascontiguousarray(chosen * signs), kept.copy())
