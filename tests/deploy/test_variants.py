"""Every variant of the registry, written, verified and listed.

What the files hold is tested with the package.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from aecompress.deploy.grid import VALUES
from aecompress.deploy.variants.packed import coarsest
from aecompress.registry import VARIANTS
from tests.commands import aecompress


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
    flags = ("--int8", "always") if name == "int8" else ()
    files = printed("export", finished, "--variants", name, *flags)
    added = {path.name for path in model.iterdir() if path.suffix in (".onnx", ".safetensors")} - plain
    assert added <= {file["path"] for file in files}
    notes = json.loads((model / "verification.json").read_text())["notes"]
    assert added or "not kept" in " ".join(notes)
    for path in sorted(added):
        if path.endswith(".onnx"):
            done = aecompress("verify", model / path, model)
            assert done.returncode == 0, done.stdout + done.stderr
    assert printed("prune", "--resume", finished, "--quiet") == files


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
