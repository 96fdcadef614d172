"""Functions of each value, found as activations however they are written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import erf, expit

from aecompress.deploy.pretrained.pointwise import Pointwise, Unknown, affine, resolved
from aecompress.layers.activations import ACTIVATIONS

Function = Callable[[Any], Any]
WRITTEN: dict[str, list[Function]] = {
    "gelu": [lambda x: x * 0.70710677, erf, lambda x: x + 1],
    "softplus": [np.exp, lambda x: x + 1, np.log],
    "hard-swish": [lambda x: x * np.clip(x + 3, 0, 6), lambda x: x / 6],
    "silu": [lambda x: x / (1 + np.exp(-x))],
    "mish": [lambda x: x * np.tanh(np.logaddexp(x, 0))],
    "relu6": [lambda x: np.maximum(x, 0), lambda x: np.minimum(x, 6)],
    "sigmoid": [lambda x: x / 2, np.tanh, lambda x: x / 2 + 0.5],
    "leaky-relu:0.25": [lambda x: np.maximum(x, 0) - 0.25 * np.maximum(-x, 0)],
}


def run_of(functions: list[Function]) -> list[Pointwise]:
    return [Pointwise(f"f{index}", function, what="F") for index, function in enumerate(functions)]


@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "gelu"])
def test_an_activation_in_several_operators_is_found(name: str) -> None:
    found = resolved([affine("a", np.ones(4), np.arange(4.0)), *run_of(WRITTEN[name])], 1)
    assert not isinstance(found, Unknown)
    assert [step.op for step in found] == ["affine", "activation"]
    assert found[1].numbers["name"] == name


def test_of_a_run_the_longest_activation_is_taken() -> None:
    found = resolved(run_of([np.tanh, lambda x: np.maximum(x, 0), lambda x: x * expit(x)]), 1)
    assert not isinstance(found, Unknown)
    assert [step.numbers["name"] for step in found] == ["tanh", "relu", "silu"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_of_the_table_is_found(name: str) -> None:
    found = resolved(run_of([ACTIVATIONS[name].value]), 1)
    assert found == [] if name == "identity" else found[0].numbers["name"] == name  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("slopes", "axis"), [(np.array([[0.1], [0.3]]), None), (np.array([0.1, 0.3]), None), (np.array([[0.1, 0.3]]), -1)]
)
def test_a_slope_for_each_unit_is_a_prelu(slopes: np.ndarray, axis: int | None) -> None:
    item = Pointwise("p", lambda x: np.where(x > 0, x, slopes * x), what="PRelu")
    found = resolved([item], slopes.ndim)
    assert not isinstance(found, Unknown)
    assert found[0].tensors["weight"].tolist() == [0.1, 0.3]
    assert found[0].numbers == {"name": "prelu"} | ({} if axis is None else {"axis": axis})


@pytest.mark.parametrize("function", [np.exp, lambda x: np.clip(x, 0, 1), lambda x: -np.maximum(x, 0), np.square])
def test_what_is_no_activation_is_named(function: Function) -> None:
    assert resolved([Pointwise("f", function, what="F")], 1) == Unknown("f", "F")
