"""Moves of values of rows: sizes of a resize, and padding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aecompress.deploy.pretrained.onnx import reader
from aecompress.errors import DataError
from tests.deploy.pretrained.onnx.graphs import drawn, graph, node, ops, same_steps

WEIGHTS = {"w": drawn(2, 2, 1, 1)}


@pytest.mark.parametrize("mode", ["asymmetric", "half_pixel", "pytorch_half_pixel"])
@pytest.mark.parametrize("rule", ["floor", "round_prefer_floor", "round_prefer_ceil"])
@pytest.mark.parametrize("times", [2, 3])
def test_a_resize_to_nearest_values_is_an_upsampling_or_refused(
    tmp_path: Path, mode: str, rule: str, times: int
) -> None:
    resize = node("Resize", "x - s", "r", coordinate_transformation_mode=mode, nearest_mode=rule)
    scales = {"s": np.array([1, 1, times, 1], np.float32)}
    proto = graph([resize, node("Conv", "r w", "y")], (2, 3, 4), scales | WEIGHTS)
    repeats = {
        "floor": mode == "asymmetric",
        "round_prefer_floor": mode != "asymmetric" or times == 2,
        "round_prefer_ceil": mode != "asymmetric",
    }[rule]
    if repeats:
        assert ops(same_steps(tmp_path, proto)) == "upsample conv2d"
        return
    (tmp_path / "a.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(DataError, match="repeats or drops values"):
        reader.followed(tmp_path / "a.onnx")


def test_an_upsample_of_old_opsets_is_one(tmp_path: Path) -> None:
    upsample = node("Upsample", "x s", "r", mode="nearest")
    scales = {"s": np.array([1, 1, 2, 3], np.float32)}
    proto = graph([upsample, node("Conv", "r w", "y")], (2, 3, 4), scales | WEIGHTS, opset=9)
    proto.ir_version = 6
    assert ops(same_steps(tmp_path, proto)) == "upsample conv2d"


def test_values_that_are_read_backwards_go_into_a_matrix(tmp_path: Path) -> None:
    numbers = {"a": np.array([-1]), "b": np.array([-(1 << 40)]), "c": np.array([1]), "d": np.array([-2])}
    nodes = [node("Slice", "x a b c d", "s"), node("MatMul", "s w", "y")]
    assert ops(same_steps(tmp_path, graph(nodes, (6,), numbers | {"w": drawn(3, 4)}))) == "linear"
