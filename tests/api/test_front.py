"""The front of a run as rows, text, page and figure."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aecompress.api.front import Front, dense_loss, read_front
from aecompress.api.result import Result
from aecompress.deploy.checkpoint import load_model
from aecompress.event_log import read_log
from aecompress.events import Generation, Started
from tests.commands import aecompress as command


def test_a_front_has_a_row_for_each_model_of_the_run(result: Result) -> None:
    front = result.front
    assert isinstance(front, Sequence) and len(front) == len(list((result.folder / "front").glob("[0-9]*"))) > 2
    listed = json.loads(command("front", result.folder, "--json").stdout)["members"]
    assert [(row["nonzeros"], row["knee"]) for row in front.rows] == [(one["nonzeros"], one["knee"]) for one in listed]
    for row, model in zip(front.rows, front, strict=True):
        assert model.folder is not None and row["folder"] == str(model.folder)
        tensors = load_model(model.folder).tensors.values()
        assert row["nonzeros"] == sum(int(np.count_nonzero(tensor)) for tensor in tensors)
        assert row["sparsity"] == pytest.approx(1 - row["nonzeros"] / sum(tensor.size for tensor in tensors))
    assert front[-1] in front and front[:2] == front.models[:2]


def test_a_loss_is_held_against_the_lowest_of_a_dense_model(result: Result) -> None:
    last = [event for event in read_log(result.folder / "events.jsonl") if isinstance(event, Generation)][-1]
    dense = last.validation_loss[0]  # the cell whose budget is 0; constant inputs have weights of 0 all the same
    assert [model.against_dense for model in result.front] == [model.loss / dense for model in result.front]
    assert result.dense_loss == dense
    assert {model.against_dense for model in read_front(result.folder, None, result.export)} == {None}


def test_a_model_whose_first_weights_have_zeros_is_dense_where_its_budget_is_0(result: Result) -> None:
    log = read_log(result.folder / "events.jsonl")
    started = next(event for event in log if isinstance(event, Started))
    last = [event for event in log if isinstance(event, Generation)][-1]
    assert result.dense_loss is not None
    budgets = started.setting("evolve.budgets")
    constant = replace(last, sparsity=tuple(max(0.01, share) for share in last.sparsity))  # of constant inputs
    assert budgets[0] == 0 and dense_loss([started, constant]) == last.validation_loss[0]
    assert dense_loss([constant]) is None


def test_bytes_are_about_those_of_an_export(result: Result) -> None:
    (exported,) = [one for one in result.front if one.sparsity == result.sparsity]
    assert exported.bytes == pytest.approx(result.files["autoencoder"].stat().st_size, rel=0.05)
    packed = read_front(result.folder, None, replace(result.export, variants=("packed",)))
    assert all(small.bytes <= plain.bytes for small, plain in zip(packed, result.front, strict=True))
    assert packed[0].bytes < result.front[0].bytes


def test_a_run_without_a_front_has_its_exported_model(result: Result, tmp_path: Path) -> None:
    shutil.copytree(result.folder / "model", tmp_path / "model")
    front = read_front(tmp_path, result.dense_loss, result.export)
    (model,) = front
    assert (model.folder, model.sparsity, model.knee) == (tmp_path / "model", result.sparsity, True)
    assert model.loss == result.metrics[f"validation_{result.metric}"] and front.split == "validation"
    assert front.plot().axes and "<svg" not in front._repr_html_()


def test_a_front_reads_as_text_and_as_a_page(result: Result) -> None:
    front: Front = result.front
    lines = repr(front).splitlines()
    assert len(lines) == 2 + len(front) and sum(line.endswith("*") for line in map(str.rstrip, lines)) == 1
    page = front._repr_html_()
    assert page.count("<tr") == 1 + len(front) and page.count("<svg") == 1 and page.count("<circle") == 1 + len(front)


def test_the_figure_has_the_points_and_rings_the_knee(result: Result) -> None:
    (axes,) = result.front.plot().axes
    np.testing.assert_allclose(axes.get_lines()[0].get_xydata(), [(one.nonzeros, one.loss) for one in result.front])
    (ring,) = axes.collections
    knee = next(one for one in result.front if one.knee)
    np.testing.assert_allclose(ring.get_offsets(), [(knee.nonzeros, knee.loss)])
