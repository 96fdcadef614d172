"""Packed files made plain: the same function, verified before it is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from aecompress.deploy import forms, plain
from aecompress.deploy.session import load
from aecompress.digests import write_sums
from aecompress.errors import DataError, OutputError, VerifyError
from tests.deploy.models import packed_layer, sparse, tiny_rows


def some_layer(seed: int = 0) -> onnx.ModelProto:
    weight = sparse((5, 4), 0.5, seed)
    return packed_layer(weight, forms.encode(weight, "float32", 0))


def test_a_packed_file_is_made_plain(tmp_path: Path) -> None:
    weight = sparse((50, 40), 0.1)
    packed = tmp_path / "a.packed.onnx"
    packed.write_bytes(packed_layer(weight, forms.encode(weight, "int8", 3)).SerializeToString())
    plain.make_plain(packed, tmp_path / "a.onnx")
    made = onnx.load(tmp_path / "a.onnx")
    assert [node.op_type for node in made.graph.node] == ["Gemm"]
    rows = tiny_rows(3, 50)
    one, other = (load(tmp_path, each.SerializeToString(), 1) for each in (made, onnx.load(packed)))
    assert np.array_equal(one.run(None, {"input": rows})[0], other.run(None, {"input": rows})[0])
    with pytest.raises(DataError, match="cannot be read"):
        plain.make_plain(tmp_path / "none.onnx", tmp_path / "b.onnx")
    assert not (tmp_path / "b.onnx").exists()


def test_a_plain_file_that_is_another_function_is_not_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "a.packed.onnx"
    packed.write_bytes(some_layer().SerializeToString())
    wrong = some_layer(seed=1)
    monkeypatch.setattr(plain, "unpack", lambda model: wrong)
    with pytest.raises(VerifyError, match="would not give"):
        plain.make_plain(packed, tmp_path / "a.onnx")
    assert not (tmp_path / "a.onnx").exists()


def test_the_place_of_a_plain_file_is_checked_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = tmp_path / "a.packed.onnx"
    packed.write_bytes(some_layer().SerializeToString())
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.onnx").write_bytes(b"ours")
    write_sums(tmp_path / "model")
    monkeypatch.setattr(plain, "session", None)  # any work would fail
    for name, words in {
        "model": "is a folder",
        "none/a.onnx": "none is not a folder; make it",
        "a.packed.onnx": "is the packed file itself",
        "model/a.onnx": "belongs to a model folder",
    }.items():
        with pytest.raises(OutputError, match=f"{words}.*name another file with -o"):
            plain.make_plain(packed, tmp_path / name)
    assert (tmp_path / "model" / "a.onnx").read_bytes() == b"ours"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.packed.onnx", "model"]
