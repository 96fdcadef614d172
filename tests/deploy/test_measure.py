"""Measuring: what is exact about it. Times themselves are the business of benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from aecompress.deploy import measure
from aecompress.errors import DataError, RunError
from tests.deploy.models import edit, edit_tensor, tiny_model, write_onnx


def test_every_file_is_called_at_every_batch_and_number_of_threads(tmp_path: Path) -> None:
    write_onnx(tmp_path, tiny_model("relu"))
    paths = [tmp_path / f"{part}.onnx" for part in ("autoencoder", "encoder", "decoder")]
    found = measure.bench(paths, (1, 5), (1, 0), 0.01)
    assert [one.path for one in found] == [str(path) for path in paths]
    for one, path in zip(found, paths, strict=True):
        assert one.bytes == path.stat().st_size
        assert one.load_milliseconds > 0
        assert [(t.threads, t.batch) for t in one.timings] == [(1, 1), (1, 5), (0, 1), (0, 5)]
        for timing in one.timings:
            assert timing.rows_per_second == pytest.approx(timing.batch / timing.milliseconds * 1e3)
        assert one.milliseconds(5) == one.timings[1].milliseconds
        assert one.to_json()["timings"][0]["batch"] == 1


def test_files_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_onnx(tmp_path, tiny_model("relu"))
    called = []
    real = measure._called

    def recorded(runner: object, rows: np.ndarray, times: int) -> float:
        called.append(runner.get_outputs()[0].name)  # type: ignore[attr-defined]
        return real(runner, rows, times)  # type: ignore[arg-type]

    monkeypatch.setattr(measure, "_called", recorded)
    measure.bench([tmp_path / "encoder.onnx", tmp_path / "decoder.onnx"], (1,), (1,), 0.01)
    assert called[6:] == ["latent", "reconstruction"] * measure.FEWEST_ROUNDS


def test_a_poll_that_raises_ends_it(tmp_path: Path) -> None:
    write_onnx(tmp_path, tiny_model("relu"))

    def poll() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure.bench([tmp_path / "encoder.onnx"], (1,), (1,), 0.01, poll)


def test_a_model_that_gives_infinite_values_is_told(tmp_path: Path) -> None:
    write_onnx(tmp_path, tiny_model("relu"))
    path = edit(
        tmp_path / "encoder.onnx", lambda proto: edit_tensor(proto, "encoder.1.bias", lambda bias: bias + np.inf)
    )
    with pytest.raises(RunError, match=r"encoder\.onnx: gives .* not finite"):
        measure.bench([path], (1,), (1,), 0.01)


@pytest.mark.parametrize(
    ("kind", "shape", "said"),
    [
        (TensorProto.DOUBLE, ["n", 3], "only models of one float32 input"),
        (TensorProto.FLOAT, ["n", 3, 2], "only models of one float32 input"),
        (TensorProto.FLOAT, ["n", "m"], "only models of one float32 input"),
        (TensorProto.FLOAT, [1, 3], "fixed batch 1"),
    ],
)
def test_a_file_that_takes_no_rows_is_refused(tmp_path: Path, kind: int, shape: list[int | str], said: str) -> None:
    value = [helper.make_tensor_value_info(name, kind, shape) for name in ("x", "y")]
    made = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", value[:1], value[1:])
    path = tmp_path / "other.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    with pytest.raises(DataError, match=said):
        measure.bench([path], (1, 2), (1,), 0.01)


def test_the_machine_is_named() -> None:
    here = measure.machine()
    assert here["cores"] >= 1
    assert here["processor"]
    assert here["onnxruntime"].count(".") == 2
