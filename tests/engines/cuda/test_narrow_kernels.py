"""A step in three launches, in Triton's interpreter: with one block a cell and with several."""

from __future__ import annotations

import pytest

from aecompress.engines.cuda import graphs, passes
from tests.engines.cuda.cases import (
    OTHER,
    PLAIN,
    Case,
    assert_close,
    assert_equal,
    eagerly,
    mostly_slow,
    needs_interpreter,
    trained,
    work_of,
)

CASES = PLAIN | {
    "batch of 33": Case(batch=33, rows=40),
    "of shorter numbers": Case(batch=9, masked=True),
    "many": Case(loss="l1", optimizer="fresh-adam", stats=True, batch=5, rows=14),
}
MANY = ("of shorter numbers", "masks", "many")


@needs_interpreter
@pytest.mark.parametrize("name", mostly_slow(CASES, "two layers"))
def test_narrow_steps_compute_what_the_eager_engine_does(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "STRETCH", 32 if name == "adam" else 16)  # inputs of a block, of 20
    monkeypatch.setattr(passes, "MANY_BLOCKS", 1 if name in MANY else 1000)
    monkeypatch.setattr(graphs, "in_kernels", lambda work: True)
    work = work_of(CASES[name])
    assert graphs.narrow(work)
    got = trained(graphs.train, work)
    assert_close(got, eagerly(work))
    assert_equal(trained(graphs.train, work), got)
    assert bool((got.weights[~work.block.masks] == 0).all())
    assert len(graphs.graphs_for(work).replays) == 1  # one for all sizes of a batch


def test_what_is_trained_in_narrow_steps() -> None:
    """Plain float32 networks whose tiles are small enough for plain products."""
    wide, large = Case(sizes=(90, 65, 3, 9, 90)), Case(sizes=(90, 33, 3, 9, 90), batch=64, rows=64)
    found = {name: passes.in_narrow_steps(work_of(case)) for name, case in (PLAIN | OTHER).items()}
    assert found == dict.fromkeys(PLAIN, True) | dict.fromkeys(OTHER, False)
    assert not passes.in_narrow_steps(work_of(wide)) and not passes.in_narrow_steps(work_of(large))
    assert not graphs.narrow(work_of(Case()))  # on a CPU


@pytest.mark.parametrize(
    ("cells", "sizes", "product"),
    [
        (10, (1000, 30, 10, 30, 1000), passes.PLAIN),
        (100, (1000, 30, 10, 30, 1000), passes.SHORT),
        (100, (1000, 40, 10, 30, 1000), passes.PLAIN),
    ],
)
def test_many_narrow_cells_have_products_of_shorter_numbers(cells: int, sizes: tuple[int, ...], product: str) -> None:
    assert passes.step_form(work_of(Case(sizes=sizes)).net, 9, cells).product == product


def test_many_narrow_cells_of_few_rows_sum_over_tiles() -> None:
    net = work_of(Case(sizes=(1000, 30, 10, 30, 1000))).net
    few, many = passes.step_form(net, 5, 10), passes.step_form(net, 5, 1000)
    assert (few.product, few.warps, many.product, many.warps) == (passes.MIXED, 4, passes.ROWS, 2)
    assert passes.step_form(work_of(Case(sizes=(1000, 60, 10, 60, 1000))).net, 5, 1000).warps == 4
