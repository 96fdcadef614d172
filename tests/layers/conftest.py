"""Three toy kinds beside the real ones, each added by one row in each registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from aecompress.layers import kinds
from aecompress.nets import layers as nets
from tests.layers import gain, maxout, pointwise


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for toy, module in ((gain.Gain, gain), (maxout.Maxout, maxout), (pointwise.Pointwise, pointwise)):
        monkeypatch.setitem(kinds.KINDS, toy.kind, toy)
        monkeypatch.setitem(nets.KINDS, toy.kind, module.TORCH)
    yield
