"""Layers on views, and sums of branches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aecompress.deploy.pretrained.building import affine_of, function_of, linear, residual, steps_of
from aecompress.deploy.pretrained.views import Refused, View, start
from tests.deploy.pretrained.modules import run_steps
from tests.deploy.pretrained.onnx.graphs import drawn, ops


def values(view: View, rows: np.ndarray) -> np.ndarray:
    return run_steps(steps_of(view, "y"), torch.from_numpy(rows))


def relu(view: View) -> View:
    return function_of([view], "r", "Relu", lambda x: np.maximum(x, 0))


def test_a_matrix_leaves_out_and_adds_up_what_a_view_does() -> None:
    rows, taken, weight = drawn(3, 6), [4, 0, 0, 2], drawn(4, 5)
    view = linear(start((3, 6)).moved(lambda index: index[:, taken]), "l", weight)
    assert values(view, rows) == pytest.approx(rows[:, taken] @ weight, abs=1e-5)


def test_the_columns_of_a_matrix_are_moved_where_its_values_are() -> None:
    rows, weight, shift = drawn(3, 4), drawn(4, 6), drawn(6)
    view = affine_of(linear(start((3, 4)), "l", weight), "b", 1.0, shift)
    view = relu(view).moved(lambda index: index.reshape(3, 2, 3).transpose(0, 2, 1))
    expected = np.maximum(rows @ weight + shift, 0).reshape(3, 2, 3).transpose(0, 2, 1)
    assert ops(steps_of(view, "y")) == "linear affine relu reshape"
    assert values(view, rows) == pytest.approx(expected, abs=1e-5)


def test_branches_of_one_value_are_one_function() -> None:
    view = linear(start((3, 4)), "l", drawn(4, 4))
    gate = function_of([view], "s", "Sigmoid", lambda x: 1 / (1 + np.exp(-x)))
    assert ops(steps_of(function_of([view, gate], "m", "Mul", np.multiply), "y")) == "linear silu"


def test_a_residual_addition_is_a_chain() -> None:
    rows, first, inner = drawn(3, 4), drawn(4, 4), drawn(4, 4, seed=1)
    view = relu(linear(start((3, 4)), "a", first))
    total = residual(view, linear(view, "b", inner), "add")
    hidden = np.maximum(rows @ first, 0)
    assert values(total, rows) == pytest.approx(hidden + hidden @ inner, abs=1e-5)


def test_branches_that_no_chain_computes_are_refused() -> None:
    view = linear(start((3, 4)), "a", drawn(4, 4))
    with pytest.raises(Refused, match="joins branches of the graph by Mul"):
        function_of([view, linear(view, "b", drawn(4, 4))], "m", "Mul", np.multiply)
    with pytest.raises(Refused, match="in different orders"):
        residual(view, view.moved(lambda index: index[:, ::-1]), "add")
