"""Bad specs, flags and datasets: exit 2, one sentence naming the field or file, no traceback, no output folder."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from aecompress.cli.main import app

CLUSTERS = "binary-clusters:4x10x30"
GOOD = np.random.default_rng(0).random((20, 6))


def with_value(value: float) -> np.ndarray:
    rows = GOOD.copy()
    rows[3, 2] = value
    return rows


FLAGS: dict[str, tuple[list[str], str]] = {
    "no epochs": ([CLUSTERS, "--epochs", "0"], "train.epochs = 0:"),
    "epochs in words": ([CLUSTERS, "--epochs", "many"], "train.epochs"),
    "batch below one": ([CLUSTERS, "--batch", "-3"], "train.batch = -3"),
    "half a batch": ([CLUSTERS, "--batch", "2.5"], "train.batch = 2.5"),
    "rate of zero": ([CLUSTERS, "--lr", "0"], "train.learning_rate"),
    "rate not a number": ([CLUSTERS, "--lr", "nan"], "train.learning_rate"),
    "hidden in words": ([CLUSTERS, "--hidden", "a,b"], "model.hidden"),
    "empty layer": ([CLUSTERS, "--hidden", "8,0"], "model.hidden"),
    "unknown network": ([CLUSTERS, "--network", "huge"], "model.network"),
    "unknown family": ([CLUSTERS, "--family", "gan"], "model.family"),
    "unknown mode": ([CLUSTERS, "--mode", "solo"], "mode = "),
    "unknown operator": ([CLUSTERS, "--operator", "wish"], "prune.operator"),
    "unknown schedule": ([CLUSTERS, "--schedule", "linear"], "prune.schedule"),
    "unknown rule": ([CLUSTERS, "--rule", "chaos"], "evolve.rule"),
    "no cells": ([CLUSTERS, "--cells", "0"], "evolve.cells = 0"),
    "interactions with labels": (["interactions:p.csv", "--labels", "l.npy"], "interactions are split by user"),
    "interactions that are not there": (["interactions:p.csv"], "p.csv: cannot be read"),
    "unknown topology": ([CLUSTERS, "--topology", "star"], "evolve.topology"),
    "opponents compiled": ([CLUSTERS, "--rule", "opponents", "--compile", "on"], "change partners"),
    "code without trust": ([CLUSTERS, "--model", "net.py:Net"], "runs that file with all your rights; read it, then"),
    "code of --init without trust": ([CLUSTERS, "--init", "net.py:Net"], "add --trust-code"),
    "code that is not there": ([CLUSTERS, "--model", "net.py:Net", "--trust-code"], "net.py: cannot be read"),
    "code without a name": ([CLUSTERS, "--model", "net.py", "--trust-code"], "name the module in it, as net.py:NAME"),
    "a model that is no code": ([CLUSTERS, "--model", "net.pt", "--trust-code"], "is not FILE.py:NAME; --init takes"),
    "two models": (
        [CLUSTERS, "--model", "net.py:Net", "--trust-code", "--init", "net.pt"],
        "--init sets model.init too",
    ),
    "trust in nothing": ([CLUSTERS, "--trust-code"], "no code is named"),
    "space without space": ([CLUSTERS, "--rule", "panmictic", "--radius", "2"], "has no space"),
    "panmictic prunes": (
        [CLUSTERS, "--rule", "panmictic", "--set", "prune.per_generation=2"],
        "prune.per_generation = 2",
    ),
    "a billion cells": ([CLUSTERS, "--cells", "1000000000"], "evolve.cells = 1000000000"),
    "a billion steps of radius": ([CLUSTERS, "--radius", "1000000000"], "evolve.radius = 1000000000"),
    "a thousand hidden layers": ([CLUSTERS, "--hidden", ",".join(["4"] * 1000)], "at most 100 items"),
    "a layer of a billion": ([CLUSTERS, "--hidden", "1000000000"], "choose smaller layers"),
    "a tournament of a billion": ([CLUSTERS, "--set", "evolve.tournament=1000000000"], "evolve.tournament"),
    "a billion rows of guidance": ([CLUSTERS, "--set", "prune.guide_rows=1000000000"], "prune.guide_rows"),
    "negative radius": ([CLUSTERS, "--radius", "-1"], "evolve.radius = -1"),
    "target of one": ([CLUSTERS, "--target-sparsity", "1"], "prune.target_sparsity = 1"),
    "target that empties": ([CLUSTERS, "--target-sparsity", "0.9999"], "would empty a layer"),
    "target without operator": (
        [CLUSTERS, "--operator", "none", "--target-sparsity", "0.5"],
        "cannot reach prune.target_sparsity",
    ),
    "target and probability": (
        [CLUSTERS, "--operator", "random", "--schedule", "fixed", "--probability", "0.5", "--target-sparsity", "0.5"],
        "leave out the target or the probability",
    ),
    "probability above one": ([CLUSTERS, "--probability", "1.5"], "prune.probability"),
    "cubic by chance": ([CLUSTERS, "--operator", "random", "--probability", "0.5"], "choose another schedule"),
    "magnitude by chance": ([CLUSTERS, "--schedule", "fixed", "--probability", "0.5"], "has no published form"),
    "a schedule that never triggered": (
        [CLUSTERS, "--mode", "canonical", "--schedule", "prune_after", "--epochs", "5"],
        "never prunes in 5 generations",
    ),
    "granularity": ([CLUSTERS, "--granularity", "layer"], "prune.granularity"),
    "split of two": (["digits", "--split", "0.5,0.5"], "data.split"),
    "split above one": (["digits", "--split", "0.9,0.9,0.1"], "must add up to 1"),
    "no training rows": (["digits", "--split", "0,0.5,0.5"], "of training rows, must be above 0"),
    "unknown scaling": ([CLUSTERS, "--scaling", "log"], "data.scaling"),
    "old opset": ([CLUSTERS, "--opset", "9"], "export.opset = 9"),
    "seed below zero": ([CLUSTERS, "--seed", "-1"], "seed = -1"),
    "unknown device": ([CLUSTERS, "--device", "gpu"], "choose auto, cpu, cuda"),
    "device that is not there": ([CLUSTERS, "--device", "cuda:99"], "device = 'cuda:99'"),
    "device without its number": ([CLUSTERS, "--device", "cuda:"], "choose auto, cpu, cuda"),
    "unknown precision": ([CLUSTERS, "--precision", "int1"], "precision"),
    "unknown preset": ([CLUSTERS, "--preset", "nope"], "choose one of default, paper-canonical"),
    "unknown field": ([CLUSTERS, "--set", "train.bach=3"], "did you mean train.batch?"),
    "assignment without value": ([CLUSTERS, "--set", "train.batch"], "write it as section.field=value"),
    "missing spec": ([CLUSTERS, "--spec", "missing.toml"], "missing.toml: cannot be read"),
    "bad clusters": (["binary-clusters:10x100"], "write it as binary-clusters:"),
    "empty clusters": (["binary-clusters:0x5x5"], "write it as binary-clusters:"),
    "missing file": (["missing.npy"], "missing.npy: no such file"),
    "unknown kind of file": (["rows.xlsx"], "not a data source"),
    "variational with relu": (
        [CLUSTERS, "--family", "variational", "--set", "model.latent_activation=relu"],
        "samples its latent",
    ),
    "cross-entropy of real rows": (
        [CLUSTERS, "--scaling", "standard", "--set", "train.loss=bce"],
        "needs rows in [0, 1]",
    ),
    "more epochs than anyone has": ([CLUSTERS, "--epochs", "1e14"], "train.epochs"),
    "layers beyond memory": ([CLUSTERS, "--hidden", "1e12"], "choose smaller layers"),
    "rows beyond memory": (["binary-clusters:1x1000000000x1000000"], "ask for fewer rows or inputs"),
    "true as a number": ([CLUSTERS, "--set", "train.batch=true"], "train.batch = true"),
    "unknown field of a layer": (
        [CLUSTERS, "--set", "model.encoder=[{out = 4, oot = 3}]", "--set", "model.decoder=[{out = 30}]"],
        "layer 0: a dense layer has no 'oot'; leave it out",
    ),
    "validation from standard input": ([CLUSTERS, "--val", "-"], "data.val = '-'"),
    "cells of one autoencoder": ([CLUSTERS, "--mode", "canonical", "--cells", "3"], "has no ring"),
    "key of a built-in set": (["digits", "--key", "x"], "leave out data.key"),
    "columns of a built-in set": (["digits", "--columns", "1"], "leave out data.columns"),
    "split of a set that has its own": ([CLUSTERS, "--split", "0.5,0.25,0.25"], "brings its own three splits"),
    "more prunes than steps": ([CLUSTERS, "--batch", "10", "--set", "prune.per_generation=9"], "a pass has 4 steps"),
    "units do not reach it": (
        [CLUSTERS, "--hidden", "8", "--latent", "8", "--granularity", "unit", "--target-sparsity", "0.9"],
        "whole hidden units",
    ),
    "variance before training": (
        [CLUSTERS, "--rule", "pair-prune-first", "--operator", "variance"],
        "needs activations of several batches",
    ),
    "regrowth after the last prune": (
        [CLUSTERS, "--rule", "pair-prune-first", "--set", "prune.masks=free"],
        "the target would be missed",
    ),
    "target under a paper preset": (
        [CLUSTERS, "--preset", "paper-coevo", "--target-sparsity", "0.5"],
        "set prune.drive to 'target'",
    ),
    "resume with flags": ([CLUSTERS, "--resume", "somewhere"], "leave out DATA"),
}
ROWS: dict[str, tuple[str, Any, str]] = {
    "nan": ("rows.npy", with_value(np.nan), "row 3, column 2 is nan"),
    "infinity": ("rows.npy", with_value(np.inf), "row 3, column 2 is inf"),
    "no rows": ("rows.npy", GOOD[:0], "no values"),
    "one row": ("rows.npy", GOOD[:1], "at least 2 are needed"),
    "one axis": ("rows.npy", GOOD[0], "shape (rows, inputs)"),
    "objects": ("rows.npy", np.array([[{}, {}], [{}, {}]], dtype=object), "save plain numbers"),
    "text array": ("rows.npy", np.array([["a", "b"], ["c", "d"]]), "not numbers"),
    "complex": ("rows.npy", GOOD.astype(complex), "not numbers"),
    "truncated npy": ("rows.npy", b"\x93NUMPY\x01\x00v\x00{'descr'", "cannot be read as a NumPy array"),
    "truncated npz": ("rows.npz", b"PK\x03\x04abc", "cannot be read as a NumPy array"),
    "empty csv": ("rows.csv", b"", "has no rows"),
    "header only": ("rows.csv", b"a,b,c\n", "has a header and no rows"),
    "text cell": ("rows.csv", b"1,2\n3,x\n", "column 1 has 1 cell without a number (line 2 is 'x'); --missing drop"),
    "gap": ("rows.csv", b"1,2\n3,\n", "column 1 has 1 missing cell (line 2 is empty); --missing drop"),
    "ragged": ("rows.csv", b"1,2\n3\n", "line 2 has 1 cells, the first line 2"),
    "csv nan": ("rows.csv", b"1,2\n3,nan\n", "column 1 has 1 missing cell"),
    "bytes as csv": ("rows.csv", b"\x00\x01\x02\n\x03\x00\xff", "is not text"),
    "truncated gzip": ("rows.csv.gz", gzip.compress(b"1,2\n3,4\n" * 50)[:-12], "is damaged gzip"),
}


def refused(folder: Path, arguments: list[str], message: str, stdin: bytes | None = None) -> None:
    result = CliRunner().invoke(app, ["prune", *arguments, "-o", str(folder)], input=stdin)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert len(sentences(result.stderr)) == 1
    assert not folder.exists()


def sentences(stderr: str) -> list[str]:
    """The lines of stderr, without those that say what is being read, and which command works."""
    beside = ("reading ", "aecompress: this works: ")
    return [line for line in stderr.strip().splitlines() if not line.startswith(beside)]


def test_the_tables_hold_at_least_forty_cases() -> None:
    assert len(FLAGS) + len(ROWS) >= 60


@pytest.mark.parametrize(("arguments", "message"), FLAGS.values(), ids=FLAGS)
def test_bad_flags(tmp_path: Path, arguments: list[str], message: str) -> None:
    refused(tmp_path / "r", arguments, message)


@pytest.mark.parametrize(("name", "content", "message"), ROWS.values(), ids=ROWS)
def test_bad_rows(tmp_path: Path, name: str, content: Any, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else np.save(path, content)
    refused(tmp_path / "r", [str(path)], message)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "is empty"), (b"1,2\n3\n", "line 2"), (b"\x93NUMPY", "NumPy array")]
)
def test_bad_standard_input(tmp_path: Path, content: bytes, message: str) -> None:
    refused(tmp_path / "r", ["-"], message, content)


def test_an_npz_key_and_csv_columns_that_are_not_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "rows.npz", a=GOOD, b=GOOD)
    refused(tmp_path / "r", [str(tmp_path / "rows.npz")], "choose one, as in")
    refused(tmp_path / "r", [str(tmp_path / "rows.npz:c")], "has no array 'c'; it holds a, b")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n")
    refused(tmp_path / "r", [str(tmp_path / "rows.csv"), "--columns", "c"], "has no column 'c'")


def test_every_fault_of_a_spec_file_at_once(tmp_path: Path) -> None:
    spec = tmp_path / "spec.toml"
    spec.write_text('[train]\nbatch = 0\nepoch = 3\n[prune]\noperator = "wish"\n')
    result = CliRunner().invoke(app, ["prune", CLUSTERS, "--spec", str(spec), "--set", "x", "-o", str(tmp_path / "r")])
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 4
    for part in ("train.batch = 0", "did you mean train.epochs?", "prune.operator", "--set x"):
        assert part in result.stderr
    assert not (tmp_path / "r").exists()


def test_a_missing_file_does_not_hide_another_fault(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["prune", "--spec", "missing.toml", "--preset", "nope", "--set", "train.batch=0"])
    assert result.exit_code == 2
    assert [part in result.stderr for part in ("missing.toml", "preset = 'nope'", "train.batch = 0")] == [True] * 3


def test_an_output_that_is_a_file_or_not_empty(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for place, message in ((tmp_path / "file", "is a file"), (tmp_path, "is not empty")):
        result = CliRunner().invoke(app, ["prune", CLUSTERS, "-o", str(place)])
        assert result.exit_code == 2 and message in result.stderr
    assert (tmp_path / "file").read_text() == "mine"
