"""Which int8 files are kept, of which kind, from times and losses that are given; and the same in few bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from aecompress.deploy import bench
from aecompress.deploy.checkpoint import load_rows
from aecompress.deploy.graph import PARTS
from aecompress.deploy.latency import Times
from aecompress.deploy.quantize import METHODS
from aecompress.deploy.variants.int8 import DEPENDENT, method_for_all, note_of
from aecompress.intervals import BUSY, Ratio
from tests.commands import Done, aecompress

BOTH = ["static", "dynamic"]
ALWAYS = ("--int8", "always")


def times(*gains: float, noise: float = 0.001) -> Times:
    """Times of float32 and of files that are so many times as fast."""
    draws = np.random.default_rng(0)
    seconds = 1 / np.array([1.0, *gains])
    found: Times = seconds * np.exp(noise * draws.standard_normal((50, 1 + len(gains))))
    return found


@pytest.mark.parametrize(
    ("one_row", "many_rows", "method", "words"),
    [
        ((2.0, 1.5), (2.0, 1.5), "static", ""),
        ((2.0, 2.0), (2.0, 2.0), "static", ""),
        ((2.0, 2.5), (2.0, 2.5), "static", "; dynamic is 1.14-1.38x as fast, but "),
        ((2.0, 3.0), (2.0, 3.0), "dynamic", "; static is clearly slower, by 1.36-1.65x, but "),
        ((1.0, 1.3), (1.0, 1.3), "dynamic", "; static is not faster than float32, but "),
        ((0.5, 0.6), (0.5, 0.6), "static", "; dynamic is "),
        ((1.0, 1.05), (1.05, 1.0), "static", ""),
    ],
)
def test_files_are_static_unless_dynamic_ones_are_clearly_better(
    one_row: tuple[float, float], many_rows: tuple[float, float], method: str, words: str
) -> None:
    found, why = method_for_all(BOTH, [{1: times(*one_row), 64: times(*many_rows)}] * 3)
    assert found == method
    assert why.startswith(words) and why.endswith(DEPENDENT if words else "")


def test_one_part_does_not_choose_for_all() -> None:
    parts = [{1: times(2.0, gain)} for gain in (4.0, 1.6, 1.6)]
    assert method_for_all(BOTH, parts)[0] == "static"


def test_the_only_kind_within_the_loss_is_taken() -> None:
    assert method_for_all(["dynamic"], [{1: times(2.0)}]) == ("dynamic", f"; {DEPENDENT}")
    assert list(METHODS) == BOTH, "static first: it is kept where the order is not known"


@pytest.mark.parametrize("seed", range(5))
def test_two_that_could_not_be_told_apart_are_static(seed: int) -> None:
    draws = np.random.default_rng(seed)
    assert method_for_all(BOTH, [{1: np.exp(2 * draws.standard_normal((50, 3)))}] * 3)[0] == "static"


@pytest.mark.parametrize(
    ("gains", "note"),
    [
        ({1: (1.8, 2, 2.2), 64: (3.5, 4, 4.4)}, "static is 1.80-2.20x float32 at batch 1 and 3.50-4.40x float32 at"),
        ({1: (0.9, 1, 1.1), 64: (1.5, 1.6, 1.8)}, "static is as fast as float32 at batch 1 and 1.50-1.80x float32"),
        ({1: (0.9, 1, 1.1), 64: (0.9, 1, 1.1)}, "not kept, static is as fast as float32 at batch 1 and as fast as"),
        ({1: (0.1, 0.12, 0.14), 64: (2.8, 3, 3.4)}, "not kept, static is 0.10-0.14x float32 at batch 1"),
        ({1: (0.5, 2, 8), 64: (0.5, 2, 8)}, f"not kept, {BUSY}; `aecompress export RUN --variants int8` times it "),
    ],
)
def test_a_file_is_kept_where_it_is_known_to_be_faster(
    gains: Mapping[int, tuple[float, float, float]], note: str
) -> None:
    ratios = {batch: Ratio(low=low, middle=middle, high=high) for batch, (low, middle, high) in gains.items()}
    assert note_of("static", ratios).startswith(note)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8") / "run"
    words = ["digits", "--mode", "canonical", "--epochs", "3", "--hidden", "64", "--latent", "8", "--quiet"]
    done = aecompress("prune", *words, "--granularity", "unit", "--target-sparsity", "0.3", "-o", folder)
    assert done.returncode == 0, done.stderr
    return folder


def exported(run: Path, to: Path, *words: str) -> tuple[Done, dict[str, str], list[str]]:
    """Return what `export` did, the files that are there by kind, and the notes."""
    done = aecompress("export", run, "-o", to, *words, "--json")
    report = json.loads((to / "verification.json").read_text())
    return done, report["files"], report["notes"]


def output(path: Path, rows: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    runner = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return runner.run(None, {runner.get_inputs()[0].name: rows})[0]


def timed(monkeypatch: pytest.MonkeyPatch, static: float, dynamic: float) -> None:
    """Let files take so many times as long as float32."""

    def rounds(paths: list[Path], batches: tuple[int, ...], *rest: object) -> object:
        factors = [static if "static" in path.name else dynamic if "dynamic" in path.name else 1.0 for path in paths]
        return {(batch, 1): np.tile(np.array(factors), (50, 1)) for batch in batches}

    monkeypatch.setattr(bench, "rounds", rounds)


@pytest.mark.parametrize(
    ("static", "dynamic", "kind"), [(0.5, 0.45, "static"), (0.5, 0.3, "dynamic"), (1.0, 0.5, "dynamic"), (2, 2, None)]
)
def test_all_parts_are_of_the_kind_that_the_times_choose(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, static: float, dynamic: float, kind: str | None
) -> None:
    timed(monkeypatch, static, dynamic)
    done, files, notes = exported(finished, tmp_path / "out", "--variants", "int8")
    assert done.returncode == (1 if kind is None else 0)
    assert files == ({} if kind is None else {f"{part}-int8": f"{part}.int8.onnx" for part in PARTS})
    assert {path.name for path in (tmp_path / "out").glob("*int8*")} == set(files.values())
    for part in PARTS if kind else ():
        assert (
            f"aecompress.rounded\x12{chr(5 + len(str(kind)))}int8 {kind}".encode()
            in (tmp_path / f"out/{part}.int8.onnx").read_bytes()
        )
    if kind == "dynamic":
        card = (tmp_path / "out/README.md").read_text()
        assert all(any(note.startswith(f"{part}.int8") and DEPENDENT in note for note in notes) for part in PARTS)
        assert card.count(DEPENDENT) == 3
    rows = load_rows(finished / "model/rows.safetensors")
    if kind == "static":
        path = tmp_path / "out/autoencoder.int8.onnx"
        np.testing.assert_array_equal(output(path, rows)[:1], output(path, rows[:1]))


def test_always_keeps_static_files_untimed_where_the_loss_allows(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed(monkeypatch, 2, 2)
    done, files, notes = exported(
        finished, tmp_path / "kept", "--variants", "int8,packed,scorer", *ALWAYS, "--opset", "13", "--values", "int8"
    )
    assert done.returncode == 0, done.stderr
    assert sum("static, kept untimed, because export.int8 is always" in note for note in notes) == 3
    kinds = {*(f"{part}-int8" for part in (*PARTS, "scorer")), "autoencoder-int8-packed", "scorer-int8-packed"}
    assert kinds <= set(files)
    assert any(note.startswith("encoder.int8.packed.onnx: not kept, ") for note in notes), "it has no fewer bytes"
    for kind in sorted(kinds):
        done = aecompress("verify", tmp_path / "kept" / files[kind], tmp_path / "kept")
        assert done.returncode == 0, done.stdout
    rows = load_rows(finished / "model/rows.safetensors")
    whole, packed = (tmp_path / "kept" / files[f"autoencoder-{kind}"] for kind in ("int8", "int8-packed"))
    np.testing.assert_array_equal(output(packed, rows), output(whole, rows))
    done, files, notes = exported(finished, tmp_path / "lossy", "--variants", "int8", *ALWAYS, "--variant-loss", "0")
    assert done.returncode == 1 and files == {}
    assert "autoencoder.int8.onnx, static: not kept, mse" in done.stderr


def test_never_and_flags_that_go_unread(finished: Path, tmp_path: Path) -> None:
    done, files, notes = exported(finished, tmp_path / "out", "--variants", "int8,sparse", "--int8", "never")
    assert files == {"sparse-weights": "model.sparse.safetensors"}
    assert "int8: left out, because export.int8 is never" in notes
    done = aecompress("export", finished, "--variants", "packed", *ALWAYS)
    assert done.returncode == 2
    assert "no int8 files are requested; leave it out, or add int8 to --variants" in done.stderr


def test_packed_int8_files_are_smaller_and_made_plain_give_the_same_bits(finished: Path, tmp_path: Path) -> None:
    _, files, notes = exported(
        finished, tmp_path / "four", "--variants", "int8,packed", *ALWAYS, "--variant-loss", "1", "--values", "int4"
    )
    whole, packed = (tmp_path / "four" / files[f"autoencoder-{kind}"] for kind in ("int8", "int8-packed"))
    assert packed.stat().st_size < 0.8 * whole.stat().st_size
    assert "autoencoder.int8.packed.onnx: weights of 4 bits, the kernels of autoencoder.int8.onnx" in notes
    rows = load_rows(finished / "model/rows.safetensors")
    done = aecompress("export", packed, "--dense", "-o", tmp_path / "plain.onnx")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(output(tmp_path / "plain.onnx", rows), output(packed, rows))
