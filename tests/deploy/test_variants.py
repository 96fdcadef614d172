"""Every variant of the registry, written, verified and listed; the choice of an int8 file, from times that are given.

What the files hold is tested with the package.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aecompress.deploy.grid import VALUES
from aecompress.deploy.latency import Times
from aecompress.deploy.quantize import METHODS
from aecompress.deploy.variants.int8 import faster_method
from aecompress.deploy.variants.packed import coarsest
from aecompress.intervals import BUSY
from aecompress.registry import VARIANTS
from tests.commands import aecompress

BOTH = ["static", "dynamic"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variants") / "run"
    words = ["binary-clusters:2x5x20", "--mode", "canonical", "--epochs", "2", "--quiet"]
    done = aecompress("prune", *words, "-o", folder)
    assert done.returncode == 0, done.stderr
    return folder


def printed(*words: object) -> list[dict[str, Any]]:
    """Return the files that a command prints."""
    done = aecompress(*words, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == bool(found.get("missing")), done.stderr
    files: list[dict[str, Any]] = found["files"]
    return [file | {"path": Path(file["path"]).name} for file in files]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_written_verified_and_listed_under_its_kinds(finished: Path, name: str) -> None:
    model = finished / "model"
    plain = {"encoder.onnx", "decoder.onnx", "autoencoder.onnx", "model.safetensors", "rows.safetensors"}
    files = printed("export", finished, "--variants", name)
    added = {path.name for path in model.iterdir() if path.suffix in (".onnx", ".safetensors")} - plain
    assert added <= {file["path"] for file in files}
    notes = json.loads((model / "verification.json").read_text())["notes"]
    assert added or "not kept" in " ".join(notes)
    for path in sorted(added):
        if path.endswith(".onnx"):
            done = aecompress("verify", model / path, model)
            assert done.returncode == 0, done.stdout + done.stderr
    assert printed("prune", "--resume", finished, "--quiet") == files


def times(*gains: float, noise: float = 0.001) -> Times:
    """Times of float32 and of files that are so many times as fast."""
    draws = np.random.default_rng(0)
    seconds = 1 / np.array([1.0, *gains])
    found: Times = seconds * np.exp(noise * draws.standard_normal((50, 1 + len(gains))))
    return found


@pytest.mark.parametrize(
    ("one_row", "many_rows", "chosen", "words"),
    [
        ((2.0, 1.5), (2.0, 1.5), "static", "1.82-2.20x float32 at batch 1 and 1.82-2.20x float32 at batch 64"),
        ((1.5, 2.0), (1.5, 2.0), "dynamic", "dynamic is 1.82-2.20x float32"),
        ((2.0, 2.0), (2.0, 2.05), "static", "; dynamic is as fast, but static treats each row apart"),
        ((1.0, 2.0), (1.0, 2.0), "dynamic", "dynamic is 1.82-2.20x float32"),
        ((1.0, 1.0), (1.6, 1.0), "static", "as fast as float32 at batch 1 and 1.45-1.76x float32 at batch 64"),
        ((1.0, 1.05), (1.05, 1.0), None, "not kept, "),
        ((0.13, 0.5), (3.0, 0.5), None, "not kept, static is 0.12-0.14x float32 at batch 1"),
    ],
)
def test_the_file_that_is_known_to_be_faster_is_chosen(
    one_row: tuple[float, float], many_rows: tuple[float, float], chosen: str | None, words: str
) -> None:
    found, note = faster_method(BOTH, {1: times(*one_row), 64: times(*many_rows)})
    assert found == chosen
    assert words in note
    assert note.startswith("not kept, ") == (chosen is None)


@pytest.mark.parametrize("seed", range(5))
def test_a_busy_machine_keeps_no_file_and_the_note_says_so(seed: int) -> None:
    draws = np.random.default_rng(seed)
    noisy = {batch: np.exp(2 * draws.standard_normal((50, 3))) for batch in (1, 64)}
    found, note = faster_method(BOTH, noisy)
    assert found is None
    assert note == f"not kept, {BUSY}; `aecompress export RUN --variants int8` times it again"


def test_two_that_could_not_be_told_apart_give_static() -> None:
    draws = np.random.default_rng(1)
    quiet = times(3.0, 3.0)
    assert faster_method(BOTH, {1: quiet, 64: quiet})[0] == "static"
    loose = np.exp(0.2 * draws.standard_normal((400, 3))) / np.array([1, 40.0, 40.0])
    found, _ = faster_method(BOTH, {1: loose, 64: loose})
    assert found == "static"


def test_one_candidate_is_compared_with_float32_alone() -> None:
    assert faster_method(["dynamic"], {1: times(2.0), 64: times(2.0)})[0] == "dynamic"
    assert list(METHODS) == BOTH, "static first: it is kept where the order is not known"


@pytest.mark.parametrize("last", VALUES)
def test_the_coarsest_values_that_are_allowed_are_found_in_few_tries(last: str) -> None:
    tried = []

    def allowed(values: str) -> bool:
        tried.append(values)
        return VALUES.index(values) <= VALUES.index(last)

    assert coarsest(allowed) == last
    assert len(tried) == len(set(tried)) <= 3
    assert "float32" not in tried


def test_a_packed_file_that_is_not_smaller_is_not_kept(finished: Path) -> None:
    done = aecompress("export", finished, "--variants", "packed", "--json")
    files = {file["kind"]: file["bytes"] for file in json.loads(done.stdout)["files"]}
    found = {kind.removesuffix("-packed") for kind in files if kind.endswith("-packed")}
    assert all(files[f"{part}-packed"] < files[part] for part in found)
    missing = json.loads(done.stdout)["missing"]
    assert missing and done.returncode == 1
    assert {line.split(".")[0] for line in missing} == {"encoder", "decoder", "autoencoder"} - found
    assert all(re.search(r"packed\.onnx: not kept, [\d,]+ bytes; \w+\.onnx has [\d,]+$", line) for line in missing)
