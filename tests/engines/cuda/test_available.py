from __future__ import annotations

import sys

import pytest

from aecompress.engines.cuda.available import triton_fault


def test_without_triton_the_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    triton_fault.cache_clear()
    try:
        assert triton_fault().startswith("needs triton, which cannot be imported (")
    finally:
        triton_fault.cache_clear()
