"""Rows that are read when they are taken, from an array."""

from __future__ import annotations

import numpy as np


class Array:
    """Rows ``[N, D]`` that are stored in an array."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows, self.shape = rows, rows.shape

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.rows[start:stop].copy()

    def take(self, index: np.ndarray) -> np.ndarray:
        return self.rows[index]

    def pick(self, index: np.ndarray) -> Array:
        return Array(self.rows[index])
