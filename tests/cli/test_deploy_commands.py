"""``aecompress export`` and ``aecompress bench`` as their users call them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.commands import aecompress as call
from tests.deploy.models import tiny_model, write_onnx


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("commands") / "run"
    done = call("prune", "digits", "--mode", "canonical", "--epochs", 2, "--hidden", 32, "-o", where, "--quiet")
    assert done.returncode == 0, done.stderr
    return where


def test_prune_ends_with_the_before_and_after_table(tmp_path: Path) -> None:
    done = call(
        *("prune", "digits", "--mode", "canonical", "--epochs", 1, "-o", tmp_path / "run"),
        *("--variants", "packed,scorer", "--values", "float32"),
    )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    head = next(index for index, line in enumerate(lines) if line.split()[:2] == ["file", "bytes"])
    assert [line.split()[0] for line in lines[head:]] == [
        "file",
        "dense",
        "autoencoder.onnx",
        "autoencoder.packed.onnx",
        "constant",
        "PCA,",
    ]
    assert len({len(line) for line in lines[head:]}) == 1
    kinds = [line.split("\t")[0] for line in done.stdout.splitlines()]
    assert {"autoencoder", "autoencoder-packed", "scorer", "card"} <= set(kinds)


def test_export_writes_variants_beside_the_plain_files(finished: Path, tmp_path: Path) -> None:
    done = call("export", finished, "--variants", "packed,sparse", "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    files = {file["kind"]: file for file in json.loads(done.stdout)["files"]}
    assert files["autoencoder-packed"]["bytes"] < files["autoencoder"]["bytes"]
    assert all(Path(file["path"]).stat().st_size == file["bytes"] for file in files.values())
    plain = call("export", files["autoencoder-packed"]["path"], "--dense", "-o", tmp_path / "plain.onnx")
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout == f"plain\t{tmp_path / 'plain.onnx'}\t{(tmp_path / 'plain.onnx').stat().st_size}\n"
    assert {node.op_type for node in onnx.load(tmp_path / "plain.onnx").graph.node} == {"Gemm", "Relu", "Sigmoid"}


def test_a_named_file_that_is_not_kept_is_an_error_after_the_others_were_written(
    finished: Path, tmp_path: Path
) -> None:
    words = ("export", finished, "--variants", "packed,sparse", "--values", "int2", "--json", "-o")
    done = call(*words, tmp_path / "out", "--variant-loss", "1e-9")
    assert done.returncode == 1
    printed = json.loads(done.stdout)
    assert "sparse-weights" in {file["kind"] for file in printed["files"]}
    assert (tmp_path / "out" / "model.sparse.safetensors").exists()
    assert not list((tmp_path / "out").glob("*packed*"))
    last = done.stderr.splitlines()[-1]
    found = re.fullmatch(
        r"aecompress: packed, values int2: not kept, the loss changes \+([0-9.]+)%, allowed \+0\.00%; "
        r"`aecompress export RUN --variant-loss ([0-9.]+)` writes it",
        last,
    )
    assert found, last
    assert 0 < float(found[1]) / 100 <= float(found[2]) < float(found[1]) / 100 + 0.011
    assert printed["missing"] == [last.removeprefix("aecompress: ")]
    again = call(*words, tmp_path / "again", "--variant-loss", found[2])
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["missing"] == []
    assert (tmp_path / "again" / "autoencoder.packed.onnx").exists()


def test_exports_of_one_model_are_equal_whatever_else_is_requested(finished: Path, tmp_path: Path) -> None:
    for name, words in (("one", ["packed"]), ("two", ["packed,sparse", "--variant-loss", "2"])):
        call("export", finished, "--values", "float32", "-o", tmp_path / name, "--variants", *words)
    names = {path.name for path in (tmp_path / "one").glob("*.onnx")}
    assert names >= {"autoencoder.onnx", "autoencoder.packed.onnx", "encoder.packed.onnx", "decoder.packed.onnx"}
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["export", "none"], "none"),
        (["export", "{run}", "--values", "int4", "-o", "{new}"], "not requested; add --variants packed"),
        (["export", "{run}", "--variants", "packed", "--variant-loss", "much"], "export.variant_loss"),
        (["export", "{run}", "--variants", "packed,zip"], "export.variants"),
        (["export", "{run}", "--variants", "packed", "--values", "int1", "-o", "{new}"], 'export.values = "int1"'),
        (["export", "{run}/model/autoencoder.onnx"], "only made plain"),
        (["export", "{run}", "-o", "{run}/model"], "is not empty"),
        (["bench", "none.onnx"], "none.onnx: cannot be read"),
        (["bench", "{text}"], "is not ONNX"),
        (["bench", "{run}/model/encoder.onnx", "--batch", "0"], "--batch = '0'"),
        (["bench", "{run}/model/encoder.onnx", "--batch", ""], "--batch = ''"),
        (["bench", "{run}/model/encoder.onnx", "--threads", "many"], "--threads"),
        (["bench", "{run}/model/encoder.onnx", "--plot", "a.jpg"], "--plot = a.jpg"),
        (["bench", "{foreign}"], "uses 'com.evil'"),
        (["verify", "{foreign}", "{run}"], "uses 'com.evil'"),
    ],
)
def test_bad_use_is_one_sentence(finished: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 64]) for name in ("x", "y")]
    node = helper.make_node("Steal", ["x"], ["y"], domain="com.evil")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.evil", 1)]
    made = helper.make_graph([node], "g", value[:1], value[1:])
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=10), tmp_path / "foreign.onnx")
    names = {"run": finished, "new": tmp_path / "new", "text": tmp_path / "text.onnx"}
    names["foreign"] = tmp_path / "foreign.onnx"
    done = call(*(argument.format(**names) for argument in arguments), cwd=tmp_path)
    assert done.returncode == (3 if arguments[0] == "verify" else 2), done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()


def test_bench_measures_files_side_by_side(tmp_path: Path) -> None:
    write_onnx(tmp_path, tiny_model("relu"))
    files = [tmp_path / f"{part}.onnx" for part in ("autoencoder", "encoder")]
    done = call("bench", *files, "--batch", "1,4", "--threads", "1", "--seconds", "0.01")
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    times = ["ms_1_rows_1_threads", "faster", "ms_4_rows_1_threads", "faster"]
    assert rows[0] == ["file", "bytes", "smaller", "load_ms", *times]
    assert [row[0] for row in rows[1:]] == [str(file) for file in files]
    assert [int(row[1]) for row in rows[1:]] == [file.stat().st_size for file in files]
    assert (rows[1][2], rows[1][5], rows[1][7]) == ("1.00x", "1.00x", "1.00x")
    again = call("bench", files[0], files[0], "--batch", "4", "--threads", "1", "--seconds", "0.01")
    assert [line.split("\t")[5] for line in again.stdout.splitlines()] == ["faster", "1.00x", "same"]
    done = call("bench", *files, "--batch", "2", "--seconds", "0.01", "--json", "--plot", tmp_path / "a.svg")
    found = json.loads(done.stdout)
    assert found["machine"]["cores"] >= 1
    timings = [timing for file in found["files"] for timing in file["timings"]]
    assert [timing["threads"] for timing in timings] == [1, 0] * 2
    assert [timing["faster"]["verdict"] for timing in timings[:2]] == ["same"] * 2
    text = (tmp_path / "a.svg").read_text()
    assert text.count("<svg") == 1


def test_a_file_started_from_is_named_on_the_command_line(finished: Path, tmp_path: Path) -> None:
    done = call(
        *("prune", "digits", "--init", finished / "model/model.safetensors", "--epochs", 0, "--mode", "canonical"),
        *("--target-sparsity", 0.9, "-o", tmp_path / "cut", "--quiet", "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sparsity"] == pytest.approx(0.9, abs=1e-3)


def test_a_budget_that_is_missed_exits_with_one(tmp_path: Path) -> None:
    done = call(
        *("prune", "digits", "--mode", "canonical", "--epochs", 1, "-o", tmp_path / "run", "--quiet"),
        *("--max-params", 100, "--target-sparsity", 0.5),
    )
    assert done.returncode == 1
    assert "budget.max_params = 100" in done.stderr
    assert (tmp_path / "run/model/autoencoder.onnx").exists()


def test_a_damaged_model_folder_fails_verification_and_is_bad_input_elsewhere(finished: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished / "model", tmp_path / "model")
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-2] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    for command, code in ((("verify", finished / "model" / "encoder.onnx", folder), 3), (("inspect", folder), 2)):
        done = call(*command)
        assert (done.returncode, done.stdout) == (code, "")
        assert "model.safetensors: was changed or damaged" in done.stderr
