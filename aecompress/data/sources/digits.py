"""``digits``: real images without a download."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from aecompress.data.base import Array, Floats, Raw, Request
from aecompress.data.sources.builtin import check_whole


def read_digits(request: Request) -> Raw[Array]:
    """Return the handwritten digits.

    Raises:
        DataError: a key or columns were given.
    """
    check_whole(request)
    return Raw(name="digits", train=digits())


def digits() -> Floats:
    """Return scikit-learn's 1,797 handwritten digits, pixels 0 .. 16 as float32 in [0, 1]: ``[1797, 8, 8]``."""
    with gzip.open(digits_file(), "rt", encoding="ascii") as file:
        cells = np.fromstring(file.read().replace("\n", ","), sep=",")
    images: Floats = (cells.reshape(-1, 65)[:, :64].reshape(-1, 8, 8) / 16).astype(np.float32)
    return images


def digits_file() -> Path:
    """Return the file of scikit-learn that has the digits, a row of 64 pixels and its digit a line.

    The package is found, not imported: that takes seconds.
    """
    found = find_spec("sklearn")
    assert found is not None and found.origin is not None  # a dependency of ours
    return Path(found.origin).parent / "datasets" / "data" / "digits.csv.gz"
