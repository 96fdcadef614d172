"""Rows that stay in their file: the bits of a run in memory, and bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from aecompress import event_log, events
from tests.commands import aecompress

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "memory.py"
SMALL = ("--hidden", "5", "--latent", "2", "--seed", "1", "--no-rows")
RING = ("--cells", "2")


def tensors(run: Path) -> dict[str, np.ndarray]:
    """All tensors that a run has written, by file and name."""
    return {
        f"{path.relative_to(run)}:{name}": tensor
        for path in sorted(run.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def losses(run: Path) -> list[object]:
    """All losses that a run has reported."""
    log = list(event_log.read_log(run / "events.jsonl"))
    figures = [(event.train_loss, event.validation_loss) for event in log if isinstance(event, events.Generation)]
    return [*figures, *(event.metrics for event in log if isinstance(event, events.Finished))]


def assert_same(folder: Path, source: Path, *flags: str) -> None:
    """Carry a run out on rows in memory and in their file, and compare all bits."""
    for held in ("yes", "no"):
        done = aecompress("prune", source, *flags, "--in-memory", held, "--output", folder / held, "--quiet")
        assert done.returncode == 0, done.stderr
    here, there = tensors(folder / "yes"), tensors(folder / "no")
    assert len(here) > 10 and here.keys() == there.keys()
    for name, tensor in here.items():
        assert np.array_equal(tensor, there[name], equal_nan=True), name
    assert losses(folder / "yes") == losses(folder / "no")


def written(folder: Path) -> Path:
    np.save(folder / "rows.npy", np.random.default_rng(0).normal(size=(700, 6)).astype(np.float32))
    return folder / "rows.npy"


@pytest.mark.parametrize("compile", ["on", pytest.param("off", marks=pytest.mark.slow)])
def test_rows_in_their_file_give_the_bits_of_rows_in_memory(tmp_path: Path, compile: str) -> None:
    assert_same(tmp_path, written(tmp_path), *SMALL, *RING, "--epochs", "2", "--compile", compile, "--batch", "16")


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ("--rule", "pair"),
        ("--rule", "opponents"),
        ("--rule", "panmictic"),
        ("--family", "variational"),
        ("--bits", "4"),
        ("--operator", "variance"),
        ("--operator", "conjunctive"),
        ("--batch", "200"),
        ("--precision", "float64"),
    ],
    ids=lambda flags: flags[1],
)
def test_whatever_is_trained_the_bits_are_those_of_memory(tmp_path: Path, flags: tuple[str, ...]) -> None:
    assert_same(tmp_path, written(tmp_path), *SMALL, *RING, "--epochs", "2", *flags)


@pytest.mark.slow
def test_one_autoencoder_has_the_bits_of_memory(tmp_path: Path) -> None:
    assert_same(tmp_path, written(tmp_path), *SMALL, "--mode", "canonical", "--epochs", "2")


@pytest.mark.slow
def test_a_million_rows_give_the_same_bits_through_both_paths(tmp_path: Path) -> None:
    rows = np.lib.format.open_memmap(tmp_path / "rows.npy", "w+", np.float32, (1_000_000, 20))
    draws = np.random.default_rng(0)
    for first in range(0, len(rows), 50_000):
        rows[first : first + 50_000] = draws.random((50_000, 20))
    rows.flush()
    assert_same(tmp_path, tmp_path / "rows.npy", *SMALL, *RING, "--epochs", "1", "--compile", "on", "--batch", "256")


def figures(*flags: str) -> dict[str, dict[str, float]]:
    command = [sys.executable, str(BENCHMARK), "--json", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, dict[str, float]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_a_run_takes_little_more_than_its_rows_as_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, found in figures("--mb", "400").items():
        assert found["of the rows"] <= (1.3 if name.endswith("yes") else 0.6), (name, found)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit counts addresses, which only Linux reports")
def test_six_gigabytes_train_under_a_limit_of_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = figures("--mb", "0", "--big", "6")["6 GB under a limit"]
    assert found["addresses, MB"] <= 2 * 1024**3 / 1e6 and found["MB"] < 1000
