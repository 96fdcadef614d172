"""``digits``: real images without a download."""

from __future__ import annotations

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
    from sklearn.datasets import load_digits

    images: Floats = (load_digits().images / 16).astype(np.float32)
    return images
