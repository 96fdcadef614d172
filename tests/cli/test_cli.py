"""The command line as a user runs it: processes, exit codes, stdout and stderr."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests import commands

SMALL = ["binary-clusters:4x10x30", "--hidden", "8", "--latent", "4", "--epochs", "4", "--batch", "8"]


def aecompress(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "aecompress", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False, timeout=120)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("cli") / "run"
    return folder, aecompress("prune", *SMALL, "-o", folder, "--json")


def test_json_is_one_object_and_nothing_else(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, process = finished
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout)
    assert {"files", "metrics", "sparsity", "verification", "seconds", "run"} <= set(result)
    assert result["run"] == str(folder)
    assert {"kind", "path", "bytes"} == set(result["files"][0])
    assert all(Path(file["path"]).stat().st_size == file["bytes"] for file in result["files"])
    assert result["verification"]["passed"] is True
    assert "test_l1" in result["metrics"]
    assert "epoch 4/4" in process.stderr


def test_plain_output_is_one_line_per_file_and_quiet_is_quiet(tmp_path: Path) -> None:
    process = aecompress("prune", *SMALL, "-o", tmp_path / "r", "--quiet", "--no-rows")
    assert process.returncode == 0
    assert process.stderr == ""
    rows = [line.split("\t") for line in process.stdout.splitlines()]
    assert {len(row) for row in rows} == {3}
    assert all(Path(path).stat().st_size == int(size) for _, path, size in rows)
    assert "rows" not in {kind for kind, _, _ in rows}


def test_the_before_and_after_table_comes_last(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    head, dense, ours, constant, pca = finished[1].stderr.rstrip().splitlines()[-5:]
    assert constant.startswith("constant ") and pca.startswith("PCA, same code ")
    assert head.split()[:3] == ["file", "bytes", "smaller"]
    assert (dense.split()[0], ours.split()[0]) == ("dense", "autoencoder.onnx")
    assert int(ours.split()[1].replace(",", "")) == (finished[0] / "model" / "autoencoder.onnx").stat().st_size


def test_verify_passes_on_what_prune_wrote_and_fails_on_one_weight_changed_by_a_hundredth(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    model = finished[0] / "model"
    good = commands.aecompress("verify", model / "autoencoder.onnx", model)
    assert good.returncode == 0, good.stderr
    proto = onnx.load(model / "autoencoder.onnx")
    initializer = next(part for part in proto.graph.initializer if part.name.endswith(".weight"))
    values = numpy_helper.to_array(initializer).copy()
    place = np.unravel_index(np.abs(values).argmax(), values.shape)
    values[place] *= 1.01
    initializer.CopyFrom(numpy_helper.from_array(values, initializer.name))
    onnx.save(proto, tmp_path / "bad.onnx")
    bad = commands.aecompress("verify", tmp_path / "bad.onnx", model, "--json")
    assert bad.returncode == 3
    assert json.loads(bad.stdout)["passed"] is False
    assert "is not the model" in bad.stderr


def test_verify_takes_raw_rows_from_a_file(
    finished: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    model = finished[0] / "model"
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).random((9, 30)))
    process = commands.aecompress("verify", model / "encoder.onnx", model, "--rows", tmp_path / "rows.npy")
    assert process.returncode == 0
    assert "all 9 rows, batch 9" in process.stdout
    np.save(tmp_path / "narrow.npy", np.zeros((9, 3)))
    narrow = commands.aecompress("verify", model / "encoder.onnx", model, "--rows", tmp_path / "narrow.npy")
    assert narrow.returncode == 2
    assert "3 inputs" in narrow.stderr and "Traceback" not in narrow.stderr


def test_inspect_counts_the_zeros_of_the_run(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, process = finished
    result = json.loads(process.stdout)
    table = json.loads(aecompress("inspect", folder, "--json").stdout)
    assert table["zeros"] == result["zeros"] == sum(layer["zeros"] for layer in table["layers"])
    plain = aecompress("inspect", folder / "model")
    assert plain.stdout.splitlines()[0].split("\t")[0] == "layer"
    assert len(plain.stdout.splitlines()) == 1 + 4 + 1


def test_data_describes_and_writes(tmp_path: Path) -> None:
    process = commands.aecompress("data", "binary-clusters:4x10x30", "--json", "-o", tmp_path / "rows.npz")
    facts = json.loads(process.stdout)
    assert (facts["inputs"], facts["train_rows"], facts["values"]) == (30, 40, "0/1")
    with np.load(tmp_path / "rows.npz", allow_pickle=False) as arrays:
        assert {name: arrays[name].shape for name in arrays} == dict.fromkeys(("train", "validation", "test"), (40, 30))
    assert "fingerprint\t" in commands.aecompress("data").stdout


def test_spec_prints_sources_and_reads_back(tmp_path: Path) -> None:
    process = commands.aecompress("spec", "--batch", "32", "--set", "prune.end=0.6")
    values = tomllib.loads(process.stdout)
    assert (values["train"]["batch"], values["prune"]["end"]) == (32, 0.6)
    assert "batch = 32  # --batch" in process.stdout
    assert "hidden = [32]  # from the data" in process.stdout
    (tmp_path / "spec.toml").write_text(process.stdout)
    again = commands.aecompress("spec", "--spec", tmp_path / "spec.toml")
    assert tomllib.loads(again.stdout) == values
    schema = json.loads(commands.aecompress("spec", "--schema").stdout)
    assert "train" in schema["properties"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--device", "cuda:99"], "device = 'cuda:99'"),
        (["--epochs", "0"], "train.epochs = 0:"),
        (["--hidden", "a,b"], "model.hidden"),
        (["--set", "train.batch"], "write it as section.field=value"),
        (["--preset", "nope"], "no such preset"),
        (["--spec", "missing.toml"], "missing.toml: cannot be read"),
        (["--set", "prune.per_generation=1000"], "a pass has"),
        (["--test", "missing.npy"], "missing.npy: no such file"),
    ],
)
def test_bad_input_is_one_sentence_exit_2_and_no_folder(tmp_path: Path, arguments: list[str], message: str) -> None:
    # One of them as a process of its own, as a user runs it; the others need not start Python again.
    run = aecompress if "--device" in arguments else commands.aecompress
    done = run("prune", *SMALL, "-o", tmp_path / "r", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "r").exists()


def test_shell_completion_is_offered() -> None:
    process = subprocess.run(
        [sys.executable, "-c", "from aecompress.cli.main import app; app(prog_name='aecompress')"],
        env={"_AECOMPRESS_COMPLETE": "complete_bash", "COMP_WORDS": "aecompress ver", "COMP_CWORD": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout.split() == ["verify"]


def test_a_pipeline_from_gzip_rows_to_json(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).random((60, 8))
    text = "\n".join(",".join(f"{value:.4f}" for value in row) for row in rows)
    with gzip.open(tmp_path / "rows.csv.gz", "wt") as file:
        file.write("a,b,c,d,e,f,g,h\n" + text)
    script = (
        f"zcat rows.csv.gz | {sys.executable} -m aecompress prune - --mode coevo --epochs 3 -o R --json | "
        f"{sys.executable} -c \"import json,sys; print(json.load(sys.stdin)['files'])\""
    )
    process = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert "autoencoder.onnx" in process.stdout
    assert "Traceback" not in process.stderr
    assert (tmp_path / "R" / "model" / "verification.json").exists()


def test_a_reader_that_goes_away_is_no_traceback(tmp_path: Path) -> None:
    script = f"{sys.executable} -m aecompress data | true; exit ${{PIPESTATUS[0]}}"
    process = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
