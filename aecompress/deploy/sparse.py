"""``model.sparse.safetensors``: the weights with their zeros taken out, readable with numpy and safetensors alone.

The layout is the one known as sparse-bitmask: for a weight ``[out, in]`` its ``.shape``, ``.compressed`` (the non-zero
values in row order), ``.bitmask`` (uint8 ``[out, ceil(in / 8)]``, little-endian bits along the last axis) and
``.row_offsets`` (where each row begins in ``.compressed``). A weight with more axes, as of a convolution, is a matrix
of as many rows as its first axis has. Biases, and weights that this would not shrink, stay dense.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy.checkpoint import FORMAT, Floats, pack, unpack
from aecompress.errors import DataError
from aecompress.files import write_bytes

PARTS = ("shape", "compressed", "bitmask", "row_offsets")


def compressed(weight: Floats) -> dict[str, NDArray[Any]]:
    """Return the four parts of one weight ``[out, in]`` or ``[out, ...]``."""
    matrix = weight.reshape(len(weight), -1)
    mask = matrix != 0
    return {
        "shape": np.array(weight.shape, np.int64),
        "compressed": matrix[mask],
        "bitmask": np.packbits(mask, axis=-1, bitorder="little"),
        "row_offsets": np.concatenate([[0], np.cumsum(mask.sum(1))[:-1]]).astype(np.int64),
    }


def save_sparse(path: Path, tensors: Mapping[str, Floats]) -> None:
    """Write all ``tensors`` of a model, weights compressed where that is smaller."""
    stored: dict[str, NDArray[Any]] = {}
    for name, tensor in tensors.items():
        parts = compressed(tensor) if tensor.ndim >= 2 else {}
        if parts and sum(part.nbytes for part in parts.values()) < tensor.nbytes:
            stored |= {f"{name}.{part}": array for part, array in parts.items()}
        else:
            stored[name] = tensor
    write_bytes(path, pack(stored, {"format": FORMAT, "layout": "sparse-bitmask"}))


def load_sparse(path: Path) -> dict[str, Floats]:
    """Load the dense tensors of a file that :func:`save_sparse` wrote.

    Raises:
        DataError: missing, damaged, or its parts do not fit together.
    """
    stored: dict[str, NDArray[Any]] = dict(unpack(path))
    names = [name.removesuffix(".bitmask") for name in stored if name.endswith(".bitmask")]
    tensors = {name: tensor for name, tensor in stored.items() if name.rpartition(".")[2] not in PARTS}
    for name in names:
        try:
            shape, values, bitmask = (stored[f"{name}.{part}"] for part in PARTS[:3])
            rows, columns = int(shape[0]), int(np.prod(shape[1:]))
            if rows != len(bitmask) or bitmask.dtype != np.uint8 or bitmask.shape[1] != -(-columns // 8):
                raise ValueError(f"bitmask {bitmask.shape} does not cover {rows} x {columns}")
            mask = np.unpackbits(bitmask, axis=-1, count=columns, bitorder="little").astype(bool)
            if np.count_nonzero(mask) != values.size:
                raise ValueError(f"bitmask has {np.count_nonzero(mask)} places, {values.size} values are stored")
            tensor = np.zeros((rows, columns), values.dtype)
            tensor[mask] = values
            tensors[name] = tensor.reshape([int(size) for size in shape])
        except (KeyError, ValueError, IndexError) as fault:
            raise DataError(f"{path}: {name} cannot be rebuilt ({fault}); make the file again") from fault
    return tensors
