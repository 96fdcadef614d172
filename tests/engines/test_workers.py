"""Threads that share the items: in order, all of them, also from inside, and a fault comes out."""

from __future__ import annotations

import pytest
import torch

from aecompress.engines import workers


def test_every_item_is_done_and_the_order_kept() -> None:
    assert workers.each(lambda item: item * item, range(50)) == [item * item for item in range(50)]
    assert workers.each(str, []) == []


def test_work_inside_work_waits_for_nobody() -> None:
    def inner(item: int) -> list[int]:
        return workers.each(lambda other: item * other, range(5))

    assert workers.each(inner, range(8)) == [[item * other for other in range(5)] for item in range(8)]


def test_a_fault_comes_out_and_the_next_work_goes_on() -> None:
    def fail(item: int) -> int:
        if item == 3:
            raise ValueError("item 3")
        return item

    with pytest.raises(ValueError, match="item 3"):
        workers.each(fail, range(6))
    assert workers.each(int, range(3)) == [0, 1, 2]


def test_denormals_are_flushed_at_work_and_as_before_afterwards() -> None:
    def tiny(_: int) -> float:
        return float(torch.tensor([1e-40]) * 1)

    assert tiny(0) > 0
    assert workers.each(tiny, range(4)) == [0.0] * 4
    assert tiny(0) > 0
    torch.set_flush_denormal(True)
    try:
        with workers.no_denormals():
            pass
        assert tiny(0) == 0
    finally:
        torch.set_flush_denormal(False)


def test_a_product_in_a_thread_of_the_pool_takes_that_thread_alone() -> None:
    """Its last bits depend on how many threads share it, and with them on which core took it."""
    before = torch.get_num_threads()
    workers.pool.cache_clear()
    torch.set_num_threads(before + 1)
    try:
        assert workers.pool().submit(torch.get_num_threads).result() == 1
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
        workers.pool.cache_clear()
