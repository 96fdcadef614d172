"""Packed tensors: what is stored, what comes back, and what onnxruntime makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from scipy.cluster.vq import vq
from scipy.stats import entropy

from aecompress.deploy import graph, pack
from aecompress.deploy.compact import chain_of
from aecompress.digests import write_sums
from aecompress.errors import DataError, OutputError, VerifyError
from aecompress.layers.dense import dense
from tests.deploy.models import tiny_rows

each_form = pytest.mark.parametrize(
    ("index", "values"), [(index, values) for index in pack.INDEXES for values in pack.VALUES]
)
LEVELS = onnxruntime.GraphOptimizationLevel


def sparse(shape: tuple[int, ...], density: float, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.normal(size=shape) * (random.random(shape) < density)).astype(np.float32)


def layer_graph(weight: np.ndarray, index: str, values: str) -> onnx.ModelProto:
    """One linear layer ``[in, out]`` whose weight is stored in the given form."""
    tensors = {"encoder.0.weight": weight, "encoder.0.bias": np.zeros(weight.shape[1], np.float32)}
    chain = chain_of([dense("encoder.0", *weight.shape, "identity")], tensors)

    def store(draft: graph.Draft, name: str, tensor: np.ndarray) -> str:
        form = pack.encode(tensor, index, values) if tensor.ndim == 2 else pack.pack(tensor, "float32")
        return pack.write(draft, name, form)

    return graph.build(chain, "encoder", 18, {}, product=graph.gemm(store))


def runner(
    proto: onnx.ModelProto, level: LEVELS = LEVELS.ORT_ENABLE_ALL, keep: Path | None = None
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.graph_optimization_level = level
    if keep is not None:
        options.optimized_model_filepath = str(keep)
    return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])


@each_form
@pytest.mark.parametrize("density", [0.0, 0.002, 0.05, 0.3, 1.0])
def test_onnxruntime_rebuilds_a_tensor_at_every_level(index: str, values: str, density: float, tmp_path: Path) -> None:
    weight = sparse((37, 29), density)
    proto = layer_graph(weight, index, values)
    onnx.checker.check_model(proto, full_check=True)
    right = pack.decode(pack.encode(weight, index, values))
    if (index, values) != ("dense", "int4"):  # where no level is zero; pack() leaves that out where there are zeros
        assert ((weight == 0) <= (right == 0)).all()
    # The identity reads the weight off, value by value.
    eye = np.eye(37, dtype=np.float32)
    for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_BASIC, LEVELS.ORT_ENABLE_ALL):
        assert np.array_equal(runner(proto, level).run(None, {"input": eye})[0], right)
    assert np.array_equal(ReferenceEvaluator(proto).run(None, {"input": eye})[0], right)
    keep = tmp_path / "optimised.onnx"
    runner(proto, LEVELS.ORT_ENABLE_BASIC, keep)
    assert [node.op_type for node in onnx.load(keep).graph.node] == ["Gemm"]
    (rebuilt,) = (
        numpy_helper.to_array(t) for t in pack.unpack(proto).graph.initializer if t.name == "encoder.0.weight"
    )
    assert np.array_equal(rebuilt, right)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(pack.INDEXES),
    st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.0, 1.0, -2.5, 1e-30]), min_size=1, max_size=700),
    st.integers(0, 2000),
)
def test_float32_values_come_back_bit_for_bit(index: str, values: list[float], gap: int) -> None:
    flat = np.array([*values, *[0.0] * gap, *values[:3]], np.float32)
    assert pack.decode(pack.encode(flat, index, "float32")).tobytes() == flat.tobytes()
    smallest = pack.pack(flat, "float32")
    assert pack.decode(smallest).tobytes() == flat.tobytes()


@pytest.mark.parametrize("density", [0.05, 0.2, 1.0])
def test_rounding_stays_within_half_a_step(density: float) -> None:
    weight = sparse((100, 80), density)
    largest = np.abs(weight).max()
    errors = {values: np.abs(pack.decode(pack.encode(weight, "bitmask", values)) - weight) for values in pack.VALUES}
    assert errors["float32"].max() == 0
    assert errors["float16"].max() <= largest * 2**-11
    steps = np.abs(weight).max(0) / 127
    assert (errors["int8"] <= (steps if density * 100 >= pack.SHARED else steps.max()) * 0.5005).all()
    assert ((weight == 0) <= (errors["int4"] == 0)).all()  # a zero stays a zero
    assert errors["int4"].max() < largest


def test_a_codebook_is_a_fixed_point_of_lloyds_method_and_the_nearest_code_is_taken() -> None:
    values = np.random.default_rng(0).normal(size=(5000, 1)).astype(np.float32)
    form = pack.encode(values, "dense", "int4")
    scale, book = (form.arrays[key].astype(np.float64) for key in ("scale", "codebook"))
    assert scale == pytest.approx([1], rel=0.03)
    codes, _ = vq(values / scale, book[:, None])
    assert pack.decode(form)[:, 0] == pytest.approx(book[codes] * scale, rel=1e-6)
    error = float(np.square(pack.decode(form) - values).mean())
    assert error == pytest.approx(0.0095, rel=0.15)  # Max (1960): 0.009497 is the least of 16 levels on a normal


@pytest.mark.parametrize("longest", [15, 255])
@pytest.mark.parametrize("places", [[0], [14], [15], [16], [0, 15, 31, 1000], [254, 255, 256, 600]])
def test_gaps_lead_to_their_places(places: list[int], longest: int) -> None:
    symbols = pack.to_gaps(np.array(places), longest)
    at, found = -1, []
    for symbol in symbols.tolist():
        at += symbol if symbol == longest else symbol + 1
        if symbol != longest:
            found.append(at)
    assert found == places


@pytest.mark.parametrize(("density", "index"), [(0.5, "bitmask"), (0.1, "gaps4"), (0.01, "gaps8")])
def test_the_smallest_index_is_taken(density: float, index: str) -> None:
    form = pack.pack(sparse((400, 300), density), "int8")
    assert form.places == index
    others = [pack.encode(sparse((400, 300), density), other, "int8").bytes for other in pack.INDEXES]
    assert form.bytes == min(others)


@pytest.mark.parametrize("values", pack.VALUES)
@pytest.mark.parametrize("density", [0.5, 0.2, 0.1, 0.05, 0.02])
def test_a_large_tensor_takes_at_most_a_third_more_than_its_entropy(density: float, values: str) -> None:
    weight = sparse((784, 256), density)
    bits = {"float32": 32, "float16": 16, "int8": 8, "int4": 4}[values]
    share = np.count_nonzero(weight) / weight.size
    bound = (np.count_nonzero(weight) * bits + weight.size * entropy([share, 1 - share], base=2)) / 8
    proto = layer_graph(weight, pack.pack(weight, values).places, values)
    assert bound * 0.97 < proto.ByteSize() - 256 * 4 <= bound * (1.36 if density < 0.03 else 1.33)


def test_the_estimate_of_the_ops_bytes_is_near() -> None:
    weight = sparse((200, 100), 0.1)
    bare = layer_graph(weight, "dense", "float32").ByteSize() - weight.nbytes
    for index in pack.INDEXES:
        for values in pack.VALUES:
            form = pack.encode(weight, index, values)
            assert abs(layer_graph(weight, index, values).ByteSize() - bare - form.bytes) < 260


def test_a_packed_file_is_made_plain(tmp_path: Path) -> None:
    weight = sparse((50, 40), 0.1)
    packed = tmp_path / "a.packed.onnx"
    packed.write_bytes(layer_graph(weight, "gaps4", "int8").SerializeToString())
    pack.make_plain(packed, tmp_path / "a.onnx")
    plain = onnx.load(tmp_path / "a.onnx")
    assert [node.op_type for node in plain.graph.node] == ["Gemm"]
    rows = tiny_rows(3, 50)
    assert np.array_equal(
        runner(plain).run(None, {"input": rows})[0], runner(onnx.load(packed)).run(None, {"input": rows})[0]
    )
    with pytest.raises(DataError, match="cannot be read"):
        pack.make_plain(tmp_path / "none.onnx", tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()


def test_a_plain_file_that_is_another_function_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "a.packed.onnx"
    packed.write_bytes(layer_graph(sparse((5, 4), 0.5), "bitmask", "float32").SerializeToString())
    wrong = layer_graph(sparse((5, 4), 0.5, seed=1), "dense", "float32")
    monkeypatch.setattr(pack, "unpack", lambda model: wrong)
    with pytest.raises(VerifyError, match="would not give"):
        pack.make_plain(packed, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_the_place_of_a_plain_file_is_checked_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "a.packed.onnx"
    packed.write_bytes(layer_graph(sparse((5, 4), 0.5), "bitmask", "float32").SerializeToString())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.onnx").write_bytes(b"ours")
    write_sums(tmp_path / "model")
    monkeypatch.setattr(pack, "session", None)  # any work would fail
    for name, words in {
        "model": "is a folder",
        "none/a.onnx": "none is not a folder; make it",
        "a.packed.onnx": "is the packed file itself",
        "model/a.onnx": "belongs to a model folder",
    }.items():
        with pytest.raises(OutputError, match=f"{words}.*name another file with -o"):
            pack.make_plain(packed, tmp_path / name)
    assert (tmp_path / "model" / "a.onnx").read_bytes() == b"ours"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.packed.onnx", "model"]
