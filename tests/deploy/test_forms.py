"""One packed tensor: the values that come back, and the code of where they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aecompress.deploy import forms
from aecompress.deploy.grid import VALUES, Grid
from tests.deploy.models import sparse


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([forms.DENSE, 0, 3]),
    st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.0, 1.0, -2.5, 1e-30]), min_size=1, max_size=700),
    st.integers(0, 2000),
)
def test_float32_values_come_back_bit_for_bit(low: int, values: list[float], gap: int) -> None:
    flat = np.array([*values, *[0.0] * gap, *values[:3]], np.float32)
    assert forms.decode(forms.encode(flat, "float32", low)).tobytes() == flat.tobytes()


@pytest.mark.parametrize("low", [1, 2, 5])
@pytest.mark.parametrize("places", [[0], [1], [31], [32], [33], [0, 1, 2], [0, 15, 31, 1000], [254, 255, 256, 600]])
def test_the_ones_and_low_bits_lead_to_the_places(places: list[int], low: int) -> None:
    bits = forms.ones_of(np.array(places), low)
    gaps = forms.gaps_of(np.array(places))
    rest = iter((gaps % 2**low).tolist())
    at, found = -1, []
    for bit in bits.tolist():
        if bit:
            at += next(rest) + 1
            found.append(at)
        else:
            at += 2**low
    assert found == places
    assert forms.place_bits(np.array(places), 1001, (0, low)) == {0: 1001, low: len(bits) + low * len(places)}


@pytest.mark.parametrize("values", VALUES)
def test_a_zero_stays_a_zero_and_what_rounds_to_zero_needs_no_place(values: str) -> None:
    weight = sparse((100, 80), 0.2)
    weight[0, 0] = 1e-6  # no level of int8 is so near to zero
    form = forms.encode(weight, values, 2)
    right = forms.decode(form)
    assert ((weight == 0) <= (right == 0)).all()
    assert len(form.places) == np.count_nonzero(right)
    assert (len(form.places) < np.count_nonzero(weight)) == (values == "int8")
    errors = np.abs(right - weight)
    assert errors.max() <= {"float32": 0, "float16": 2**-11 * np.abs(weight).max()}.get(values, np.abs(weight).max())


def test_any_levels_can_be_packed() -> None:
    weight = sparse((40, 30), 0.3)
    for count in (2, 3, 11, 200, 256):
        levels = np.sort(np.random.default_rng(count).normal(size=count).astype(np.float32))
        grid = Grid(np.full(1, 0.5, np.float16), levels)
        rounded = np.where(weight != 0, grid.value(grid.codes(weight)), 0).astype(np.float32)
        form = forms.encode(rounded, "", 1, grid)
        assert (form.values, form.code_bits) == ("codes", max(1, int(np.ceil(np.log2(count)))))
        assert np.array_equal(forms.decode(form), rounded)


@pytest.mark.parametrize("low", [forms.DENSE, 0, 4])
def test_a_tensor_of_zeros_comes_back(low: int) -> None:
    for values in ("float32", "int8", "int4"):
        assert not forms.decode(forms.encode(np.zeros((3, 50), np.float32), values, low)).any() or (
            (low, values) == (forms.DENSE, "int4")  # no level is zero; pack leaves that out
        )
