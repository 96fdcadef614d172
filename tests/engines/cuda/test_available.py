from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from aecompress.engines.cuda.available import triton_fault


def test_without_the_drivers_library_the_reason_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def target() -> None:
        raise AssertionError("libcuda.so cannot found!\nrun ldconfig")

    driver = SimpleNamespace(active=SimpleNamespace(get_current_target=target))
    monkeypatch.setitem(sys.modules, "triton", SimpleNamespace(runtime=SimpleNamespace(driver=driver)))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    triton_fault.cache_clear()
    try:
        assert triton_fault() == (
            "needs triton, which cannot find the driver's library: libcuda.so cannot found! run ldconfig"
        )
    finally:
        triton_fault.cache_clear()


def test_without_triton_the_reason_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    triton_fault.cache_clear()
    try:
        assert triton_fault().startswith("needs triton, which cannot be imported (")
    finally:
        triton_fault.cache_clear()
