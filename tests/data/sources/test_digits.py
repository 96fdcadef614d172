"""The built-in digits."""

from __future__ import annotations

import numpy as np
import pytest

from aecompress.data.base import Request
from aecompress.data.sources.digits import digits
from aecompress.data.sources.registry import read


def test_digits_are_the_1797_images_of_scikit_learn_in_0_to_1() -> None:
    images = digits()
    assert images.shape == (1797, 8, 8)
    assert images.dtype == np.float32
    assert (images.min(), images.max()) == (0, 1)
    assert np.array_equal(images * 16, np.round(images * 16))
    assert float(images.mean(dtype=float)) == pytest.approx(0.305260, abs=1e-6)
    raw = read(Request(source="digits"))
    assert raw.name == "digits"
    assert np.array_equal(raw.train, images)


def test_the_bits_are_those_that_scikit_learn_reads() -> None:
    from sklearn.datasets import load_digits

    assert np.array_equal(digits(), (load_digits().images / 16).astype(np.float32))
