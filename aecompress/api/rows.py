"""Rows as people have them in memory, as arrays: tensors and data sets of torch, sparse matrices, frames.

No library is imported for it: an object that is of torch, scipy, pandas, polars or pyarrow has brought it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.data.frames import is_frame
from aecompress.data.sparse import SparseRows
from aecompress.errors import DataError
from aecompress.machine import gib, memory_bytes
from aecompress.parsing import quoted

DENSE_SHARE = 4
"""A sparse matrix is made dense where it takes no more than this part of the machine's memory."""


def is_path(value: object) -> bool:
    """Return whether rows are named by a path, or by the name of a source."""
    return isinstance(value, str | os.PathLike)


def library_of(value: object) -> str:
    """Return the library that an object is of, such as ``torch``, also through a class of the user's own."""
    for kind in type(value).__mro__:
        library = kind.__module__.partition(".")[0]
        if library in ("torch", "scipy", "pandas", "polars", "pyarrow"):
            return library
    return ""


def is_table(value: Any) -> bool:
    """Return whether rows are a frame, unless it is one of pandas or polars whose columns are all numbers."""
    if not has_columns(value):
        return False
    types = list(getattr(value, "dtypes", ())) if library_of(value) in ("pandas", "polars") else []
    return not types or not all(map(is_number, types))


def has_columns(value: Any) -> bool:
    """Return whether a value is a frame of columns; a series of pandas or polars is one column, and no frame."""
    return is_frame(value) and not (hasattr(value, "to_frame") and not hasattr(value, "columns"))


def is_number(dtype: Any) -> bool:
    """Return whether a column's type, of pandas or polars, is one of numbers or booleans."""
    if hasattr(dtype, "is_numeric"):
        return bool(dtype.is_numeric()) or str(dtype) == "Boolean"
    return getattr(dtype, "kind", "O") in "iufb"


def collected(value: Any) -> Any:
    """Return what is read when it is needed as what it holds: rows of torch, and lazy frames; anything else as it is.

    Raises:
        DataError: a data set has no rows, or its items are not rows of one shape.
    """
    if library_of(value) == "polars" and hasattr(value, "collect"):
        return value.collect()
    return from_torch(value)


def from_torch(value: Any) -> Any:
    """Return a tensor, or all rows of a torch Dataset or DataLoader, as an array ``[N, ...]``; anything else as it is.

    Of items that are tuples, such as (row, label), the first is the row. A DataLoader gives the rows of its data set,
    in their order.

    Raises:
        DataError: a data set has no rows, or its items are not rows of one shape.
    """
    if library_of(value) != "torch":
        return value
    torch = sys.modules["torch"]
    if isinstance(value, torch.Tensor):
        return array_of(value)
    data = sys.modules.get("torch.utils.data")
    if data is not None and isinstance(value, data.DataLoader):
        value = value.dataset
    if data is None or not isinstance(value, data.Dataset):
        return value
    rows = [row_of(item) for item in items(value)]
    if not rows:
        raise DataError(f"X: the data set {quoted(type(value).__name__)} is empty; give at least two rows")
    try:
        return np.stack(rows)
    except ValueError as fault:
        shapes = sorted({row.shape for row in rows})[:3]
        raise DataError(f"X: items of the data set have different shapes, {shapes}; give rows of one shape") from fault


def items(data: Any) -> Iterator[Any]:
    """Yield the items of a torch Dataset, by their places where it has a length."""
    length = len(data) if hasattr(data, "__len__") else None
    if length is None:
        yield from data
    else:
        yield from (data[place] for place in range(length))


def row_of(item: Any) -> NDArray[Any]:
    """Return the row of an item of a data set."""
    row = item[0] if isinstance(item, tuple | list) else item
    return array_of(row) if library_of(row) == "torch" else np.asarray(row)


def array_of(tensor: Any) -> NDArray[Any]:
    """Return a tensor as an array; of bfloat16, which NumPy lacks, as float32."""
    tensor = tensor.detach().cpu()
    found: NDArray[Any] = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    return found


def from_sparse(matrix: Any, keep: bool) -> NDArray[Any] | SparseRows:
    """Return a ``csr`` matrix of scipy as interactions where all its entries are 1, else as a dense array ``[N, D]``.

    Args:
        keep: whether interactions stay sparse.

    Raises:
        DataError: it has other values than 0 and 1, and is too large to be made dense.
    """
    matrix = matrix.copy()
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if keep and len(matrix.data) and (matrix.data == 1).all():
        starts, places = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
        return SparseRows(starts, places, int(matrix.shape[1]))
    count, width = map(int, matrix.shape)
    size = count * width * matrix.dtype.itemsize
    if size > memory_bytes() // DENSE_SHARE:
        raise DataError(
            f"X: sparse rows ({count} x {width}) with other values than 0 and 1 would take {gib(size)} as an array, "
            f"this machine has {gib(memory_bytes())}; give fewer columns, or zeros and ones"
        )
    dense: NDArray[Any] = matrix.toarray()
    return dense
