"""The benchmark of a GPU, walked on the CPU, so that it runs when there is one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
STEPS = (
    "facts,ceilings,compile,correct:paper,correct:regrowth,correct:units,speed:paper 10,speed:large bf16,"
    "generation:paper 10,generation:middle,memory"
)


def called(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_ends_with_one_sentence() -> None:
    done = called()
    assert (done.returncode, done.stdout) == (2, "")
    assert "no CUDA device" in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_the_engines_for_a_gpu_are_compared_and_timed_on_the_cpu(tmp_path: Path) -> None:
    """Those that need no triton, which may not be here; steps of the others end with a fault then."""
    steps = "equal:cuda-graphs 0,whole:paper cuda-graphs,fast:wide"
    command = [sys.executable, str(SCRIPT.with_name("gpu_engines.py")), "--cpu", "--only", steps]
    done = subprocess.run([*command, "--folder", str(tmp_path)], capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    kinds = [line["kind"] for line in lines]
    assert [kinds.count(kind) for kind in ("equal", "run", "compared", "fast", "fault")] == [21, 4, 1, 3, 0]
    assert all(line["good"] and line["eager_bits"] for line in lines if line["kind"] == "equal")
    assert all(set(line["same_bits"].values()) == {True} for line in lines if line["kind"] == "compared")


@pytest.mark.slow
def test_every_kind_of_step_runs_on_the_cpu(tmp_path: Path) -> None:
    done = called("--cpu", "--only", STEPS, "--out", str(tmp_path / "out.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == lines
    kinds = [line["kind"] for line in lines]
    assert [kinds.count(kind) for kind in ("facts", "ceilings", "compile", "run", "compared")] == [1, 1, 4, 15, 12]
    assert [kinds.count(kind) for kind in ("speed", "generation", "memory", "fault")] == [2, 6, 1, 0]
    assert all(line["verified"] and line["onnx"] for line in lines if line["kind"] == "run")
    for line in lines:
        if line["kind"] == "speed":
            assert {"eager", "graph"} <= set(line["same_bits"])
            assert set(line["ms_per_step"]) == set(line["apart_over_moved"])
