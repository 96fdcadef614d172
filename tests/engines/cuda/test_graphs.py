"""The step that a GPU captures, run as it is: it must compute what the eager engine does, and own all it reads."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from aecompress.engines import eager
from aecompress.engines.cuda import graphs, steps
from aecompress.nets.rows import SparseTensor
from tests.engines.cuda.cases import (
    OTHER,
    PLAIN,
    Case,
    assert_close,
    assert_equal,
    eagerly,
    needs_interpreter,
    sparse,
    trained,
    work_of,
)

CASES = PLAIN | OTHER


@pytest.mark.parametrize("name", CASES)
def test_a_captured_step_has_the_bits_of_the_eager_one(name: str) -> None:
    work = work_of(CASES[name])
    wanted = eagerly(work)
    assert not torch.equal(wanted.weights, work.block.weights)
    assert_equal(trained(graphs.train, work), wanted)
    assert_equal(trained(graphs.train, work), wanted)  # by the steps that are held


@pytest.mark.parametrize("name", ["adam", "masks", "denoising", "fewer rows than a batch"])
def test_sparse_rows_have_the_bits_of_dense_ones(name: str) -> None:
    work = work_of(CASES[name])
    assert_equal(trained(graphs.train, dataclasses.replace(work, rows=sparse(work.rows))), eagerly(work))


def test_sparse_rows_of_a_device_are_of_a_size_that_a_graph_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a graph captures on a device, where the CPU takes another way."""
    work = work_of(CASES["adam"])
    rows = sparse(work.rows)
    monkeypatch.setattr(SparseTensor, "index_select", lambda self, dim, index: self.padded(index))
    assert_equal(trained(graphs.train, dataclasses.replace(work, rows=rows)), eagerly(work))


@needs_interpreter
def test_sparse_rows_are_updated_in_the_fused_kernel_and_multiplied_by_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    from aecompress.engines.cuda.update_kernel import fused_update

    monkeypatch.setattr(graphs, "kernels_on", lambda device: True)
    work = work_of(CASES["masks"])
    one = dataclasses.replace(work, rows=sparse(work.rows))
    assert not graphs.narrow(one) and graphs.pieces_for(one) == (steps.torch_gradient, fused_update)
    assert_close(trained(graphs.train, one), eagerly(work))


def test_a_later_generation_and_another_loss_use_the_same_buffers() -> None:
    work = work_of(Case(noise="input"))
    losses = dataclasses.replace(work.training, loss=lambda generation: ("mse", "l1")[generation])
    work = dataclasses.replace(work, training=losses)
    held = graphs.graphs_for(work)
    for generation in (0, 1):
        work.block.generation = generation
        assert_equal(trained(graphs.train, work), eagerly(work))
    assert graphs.graphs_for(work) is held
    assert {loss for loss, _ in held.replays} == {"mse", "l1"}
    assert {rows for _, rows in held.replays} == {6, 5}


def test_blocks_of_other_cells_share_a_graph_and_other_sizes_do_not() -> None:
    work = work_of(Case(cells=4))
    pick = [dataclasses.replace(work, block=work.block.pick(torch.tensor(places))) for places in ([0, 1], [3, 2], [1])]
    for one in pick:
        assert_equal(trained(graphs.train, one), eagerly(one))
    assert graphs.graphs_for(pick[0]) is graphs.graphs_for(pick[1])
    assert graphs.graphs_for(pick[0]) is not graphs.graphs_for(pick[2])


def test_graphs_of_another_run_are_let_go_of_and_at_most_some_are_held() -> None:
    work = work_of(Case(cells=graphs.HELD + 3))
    for size in range(1, graphs.HELD + 3):
        graphs.graphs_for(dataclasses.replace(work, block=work.block.part(0, size)))
    assert len(graphs._held) == graphs.HELD
    graphs.graphs_for(work_of(Case()))
    assert len(graphs._held) == 1


def test_large_blocks_are_not_held_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    work = work_of(Case(cells=4))
    sizes = [dataclasses.replace(work, block=work.block.part(0, size)) for size in (1, 2, 3, 4)]
    monkeypatch.setattr(graphs, "HELD_BYTES", graphs.block_bytes(sizes[2].block))
    graphs.graphs_for(work_of(Case()))
    for one in sizes[:2]:
        graphs.graphs_for(one)
    assert [len(held.buffers.block) for held in graphs._held.values()] == [1, 2]
    for one in sizes[2:]:
        graphs.graphs_for(one)
        assert [len(held.buffers.block) for held in graphs._held.values()] == [len(one.block)]


def test_what_a_step_reads_is_its_own() -> None:
    work = work_of(PLAIN["masks"])
    trained(graphs.train, work)
    buffers = graphs.graphs_for(work).buffers
    given = {tensor.data_ptr() for tensor in [*work.block.tensors().values(), work.block.cells]}
    mine = [*buffers.block.tensors().values(), buffers.block.cells, buffers.order, buffers.tables, buffers.kept]
    assert not given & {tensor.data_ptr() for tensor in mine if tensor is not None}
    assert buffers.rows is work.rows  # which it keeps alive


def test_nothing_is_trained_in_no_steps() -> None:
    work = dataclasses.replace(work_of(Case()), steps=range(0))
    before = work.block.copy()
    graphs.train(work)
    assert_equal(work.block, before)


def test_on_a_cpu_a_step_is_made_of_torchs_operations() -> None:
    assert graphs.pieces_for(work_of(Case())) == graphs.TORCH == (steps.torch_gradient, eager.masked_update)
