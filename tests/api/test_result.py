"""The result of a run, held against the files it was read from."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from aecompress.api.result import Result, read_result
from aecompress.errors import DataError
from tests.api.conftest import SMALL


def test_a_result_has_what_the_files_of_the_run_have(result: Result) -> None:
    config = json.loads((result.model_folder / "config.json").read_text())
    assert result.metrics == config["metrics"] and result.sparsity == config["sparsity"]
    assert result.verification.passed and result.verification.checks > 3
    assert {"encoder", "decoder", "autoencoder", "weights", "card"} <= set(result.files)
    assert all(path.is_file() and path.parent == result.model_folder for path in result.files.values())
    assert [epoch.epoch for epoch in result.history.epochs] == [1, 2, 3, 4]
    assert result.started.setting("train.epochs") == SMALL["train.epochs"] and result.metric == result.front.metric


def test_a_result_is_read_again_and_pickled(result: Result) -> None:
    again = read_result(result.folder)
    assert again == result == pickle.loads(pickle.dumps(result))  # noqa: S301
    assert again.front == result.front


def test_a_result_reads_as_text_and_as_a_page_that_obeys_no_name(result: Result) -> None:
    lines = repr(result).splitlines()
    assert lines[0].startswith("<Result of ") and lines[-1].startswith("model: ") and "\x1b" not in repr(result)
    assert any(line.startswith("sparsity ") for line in lines) and any(line.startswith("l1: train ") for line in lines)
    page = result._repr_html_()
    assert "&lt;img src=x onerror=alert(1)&gt;" in page and "<img" not in page and "\x1b" not in page
    named = replace(result, started=replace(result.started, decisions=("column <script>x()</script> is left out",)))
    assert "<script" not in named._repr_html_() and "column &lt;script&gt;x()" in named._repr_html_()
    moved = replace(result, folder=result.folder / "moved")._repr_html_()
    assert moved.count("<svg") == 2 and "moved/model" in moved and "cannot be read" in moved
    assert page.count("<svg") == 3 and "autoencoder.onnx" in page and f"{result.sparsity:.2%}" in page


def test_a_folder_without_a_finished_run_has_no_result(result: Result, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"run\.json: cannot be read"):
        read_result(tmp_path)
    copy = tmp_path / "r"
    shutil.copytree(result.folder, copy)
    status = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(status | {"status": "stopped"}))
    with pytest.raises(DataError, match="is stopped, so it has no result; `aecompress prune --resume"):
        read_result(copy)
    (copy / "run.json").write_text(json.dumps(status))
    (copy / "model" / "encoder.onnx").write_bytes(b"")
    with pytest.raises(DataError, match=r"encoder\.onnx"):
        read_result(copy)
