"""What is exact about a bench. Times themselves are the business of benchmarks."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from aecompress.deploy import bench, graph, reading
from aecompress.errors import DataError, RunError
from aecompress.intervals import EQUAL
from tests.deploy.models import edit, edit_tensor, tiny_model, write_onnx


def test_every_file_is_called_at_every_batch_and_number_of_threads(tmp_path: Path) -> None:
    write_onnx(tmp_path, tiny_model("relu"))
    paths = [tmp_path / f"{part}.onnx" for part in ("autoencoder", "encoder", "decoder")]
    found = bench.bench_files(paths, (1, 5), (1, 0), 0.01)
    assert [one.path for one in found] == [str(path) for path in paths]
    for one, path in zip(found, paths, strict=True):
        assert one.bytes == path.stat().st_size
        assert one.load_milliseconds > 0
        assert [(t.threads, t.batch) for t in one.timings] == [(1, 1), (1, 5), (0, 1), (0, 5)]
        for timing in one.timings:
            assert timing.rows_per_second == pytest.approx(timing.batch / timing.milliseconds * 1e3)
        assert one.milliseconds(5) == one.timings[1].milliseconds
        given = one.to_json()["timings"][0]
        assert given["batch"] == 1
        assert set(given["faster"]) == {"low", "middle", "high", "verdict"}


def network(path: Path, sizes: tuple[int, ...], seed: int) -> Path:
    """A chain of products with random weights."""
    draws = np.random.default_rng(seed)
    pairs = list(pairwise(sizes))
    weights = [
        numpy_helper.from_array(draws.standard_normal(pair).astype(np.float32) / 30, f"w{index}")
        for index, pair in enumerate(pairs)
    ]
    nodes = [helper.make_node("MatMul", [str(n), f"w{n}"], [str(n + 1)]) for n in range(len(pairs))]
    ends = [(str(0), sizes[0]), (str(len(pairs)), sizes[-1])]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in ends]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_the_first_file_is_compared_with_an_equal_and_a_larger_one(tmp_path: Path) -> None:
    sizes = {"a": (64, 32, 64), "b": (64, 32, 64), "c": (64, *[256] * 9, 64)}
    paths = [network(tmp_path / f"{name}.onnx", size, seed) for seed, (name, size) in enumerate(sizes.items())]
    found = [one.timing(16) for one in bench.bench_files(paths, (16,), (1,), 0.05)]
    assert found[0].faster == EQUAL
    assert found[1].faster.verdict in ("same", "busy")
    assert found[2].faster.verdict in ("slower", "busy")
    assert found[2].faster.middle < 0.5
    for timing in found:
        low, high = timing.quartiles
        assert low <= timing.milliseconds <= high
        assert timing.text.startswith(f"{timing.milliseconds if high <= 1.5 * low else low:.4f}")


@pytest.mark.slow
def test_beside_four_busy_processes_no_file_is_called_faster_than_its_equal(tmp_path: Path) -> None:
    paths = [network(tmp_path / f"{seed}.onnx", (784, 256, 64, 256, 784), seed) for seed in (0, 1)]
    busy = [subprocess.Popen([sys.executable, "-c", "while True: sum(range(100000))"]) for _ in range(4)]
    try:
        found = [bench.bench_files(paths, (1, 64), (1, 0), 0.1)[1] for _ in range(10)]
    finally:
        for process in busy:
            process.kill()
            process.wait()
    verdicts = {timing.faster.verdict for one in found for timing in one.timings}
    assert verdicts <= {"same", "busy"}
    assert "same" in verdicts


def test_files_of_the_same_arithmetic_are_called_once_and_are_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_onnx(tmp_path, tiny_model("relu"))
    path, other = tmp_path / "encoder.onnx", tmp_path / "other.onnx"
    proto = onnx.load(path)
    proto.producer_name = "someone"
    onnx.save(proto, other)
    files = []
    real = bench.take_turns

    def recorded(calls: list[object], *rest: object) -> object:
        files.append(len(calls))
        return real(calls, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(bench, "take_turns", recorded)
    found = bench.bench_files([path, tmp_path / "decoder.onnx", other], (1,), (1,), 0.01)
    assert files == [2]
    assert found[2].timings == found[0].timings
    assert found[2].timing(1).faster == EQUAL


def test_a_poll_that_raises_ends_it(tmp_path: Path) -> None:
    write_onnx(tmp_path, tiny_model("relu"))

    def poll() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.bench_files([tmp_path / "encoder.onnx"], (1,), (1,), 0.01, poll)


def test_a_model_that_gives_infinite_values_is_told(tmp_path: Path) -> None:
    write_onnx(tmp_path, tiny_model("relu"))
    path = edit(
        tmp_path / "encoder.onnx", lambda proto: edit_tensor(proto, "encoder.1.bias", lambda bias: bias + np.inf)
    )
    with pytest.raises(RunError, match=r"encoder\.onnx: gives .* not finite"):
        bench.bench_files([path], (1,), (1,), 0.01)


def graph_of(path: Path, nodes: list[onnx.NodeProto], *tensors: onnx.TensorProto) -> Path:
    """Write a graph from ``x`` to ``y``, both ``[n, 3]``."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], list(tensors))
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_a_file_on_which_onnxruntime_fails_is_told(tmp_path: Path) -> None:
    width = numpy_helper.from_array(np.array([0, 5], np.int64), "width")
    path = graph_of(tmp_path / "a.onnx", [helper.make_node("Reshape", ["x", "width"], ["y"])], width)
    with pytest.raises(DataError, match=r"a\.onnx: onnxruntime fails on 2 rows \(.*\); export it again"):
        bench.bench_files([path], (2,), (1,), 0.01)


def test_a_graph_of_too_many_nodes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST_NODES", 2)
    nodes = [helper.make_node("Neg", [a], [b]) for a, b in pairwise(["x", "a", "b", "y"])]
    with pytest.raises(DataError, match=r"a\.onnx: has 3 nodes; at most 2 are read, so simplify it"):
        bench.bench_files([graph_of(tmp_path / "a.onnx", nodes)], (1,), (1,), 0.01)


def test_rows_that_the_memory_does_not_hold_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = graph_of(tmp_path / "a.onnx", [helper.make_node("Neg", ["x"], ["y"])])
    monkeypatch.setattr(bench, "memory_bytes", lambda: 1000)
    with pytest.raises(DataError, match=r"a\.onnx: 64 such rows would need .*; give fewer rows \(--batch\)"):
        bench.bench_files([path], (64,), (1,), 0.01)


@pytest.mark.parametrize(
    ("kind", "shape", "said"),
    [
        (TensorProto.DOUBLE, ["n", 3], "only models of one float32 input"),
        (TensorProto.FLOAT, ["n"], "only models of one float32 input"),
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
        bench.bench_files([path], (1, 2), (1,), 0.01)


def test_the_machine_is_named() -> None:
    here = bench.machine()
    assert here["cores"] >= 1
    assert here["processor"]
    assert here["onnxruntime"].count(".") == 2


def test_a_file_with_the_scaling_inside_is_given_raw_rows(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((5, 6), dtype=np.float32)
    model, scaling = tiny_model(), graph.Affine(np.full(6, 2020, np.float32), np.full(6, 0.5, np.float32))
    chain = graph.chains(model)["autoencoder"]
    proto = graph.build(chain, "autoencoder", 18, {graph.SCALING_KEY: "minmax"}, scaling=scaling)
    assert np.array_equal(bench.in_range(proto, rows), rows * np.float32(0.5) + np.float32(2020))
    assert bench.in_range(graph.build(chain, "autoencoder", 18, {}), rows) is rows
