"""Statistics of units, of which some have several values on a row."""

from __future__ import annotations

import torch

from aecompress.nets.units import mean_of_units, norm_of_units


def test_a_unit_with_several_values_counts_by_their_mean_and_their_root_mean_square() -> None:
    values = torch.rand((2, 3, 4, 5, 6), generator=torch.Generator().manual_seed(0)).double() - 0.5
    means, norms = mean_of_units(values), norm_of_units(values)
    for cell in range(2):
        for unit in range(6):
            for row in range(3):
                torch.testing.assert_close(means[cell, row, unit], values[cell, row, :, :, unit].mean())
            torch.testing.assert_close(norms[cell, unit], values[cell, ..., unit].square().mean().sqrt())


def test_a_unit_with_one_value_is_that_value() -> None:
    values = torch.rand((2, 3, 6))
    assert mean_of_units(values) is values
    torch.testing.assert_close(norm_of_units(values), values.square().mean(1).sqrt())
