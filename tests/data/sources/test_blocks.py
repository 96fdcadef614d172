"""Items made ahead come in order, with a fault in its place."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from aecompress.data.sources.blocks import AT_ONCE, ahead, mapped


def test_items_come_in_order_and_a_fault_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise ValueError("the fourth")

    made = ahead(items())
    assert [next(made) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the fourth"):
        next(made)
    assert list(ahead(iter(()))) == []


def test_the_next_item_is_made_while_one_is_used_and_no_further_one() -> None:
    made = [threading.Event() for _ in range(4)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    numbers = ahead(items())
    assert next(numbers) == 0
    assert made[1].wait(5) and not made[2].is_set()
    numbers.close()  # type: ignore[attr-defined]
    assert not made[2].is_set()


def test_work_is_done_at_once_and_its_results_come_in_order() -> None:
    together = threading.Barrier(AT_ONCE, timeout=10)

    def work(number: int) -> int:
        together.wait()
        return number**2

    assert list(mapped(work, iter(range(2 * AT_ONCE)))) == [number**2 for number in range(2 * AT_ONCE)]
    fractions = mapped(lambda number: 1 / number, iter([2, 0, 4]))
    assert next(fractions) == 0.5
    with pytest.raises(ZeroDivisionError):
        next(fractions)
