from __future__ import annotations

import pytest

from aecompress.errors import SpecError
from aecompress.evolve.schedules import cubic


def test_cubic_by_hand() -> None:
    share = cubic(0.25, 0.75)
    assert [share(x) for x in (0.0, 0.25, 0.5, 0.75, 1.0)] == [0.0, 0.0, 0.875, 1.0, 1.0]


@pytest.mark.parametrize(("start", "end"), [(0.5, 0.5), (0.7, 0.2), (-0.1, 0.5), (0.0, 1.1)])
def test_cubic_refuses_an_impossible_window(start: float, end: float) -> None:
    with pytest.raises(SpecError, match="need 0 <= start < end <= 1"):
        cubic(start, end)
