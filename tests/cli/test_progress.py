"""A run's events as lines on stderr."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aecompress.cli.progress import SUMMARY, by_metric, describe, losses_of, show
from aecompress.event_log import read_log
from aecompress.events import Finished, Generation, Paused, Started, Verified
from tests.fixtures.remake import LOG

EVENTS = read_log(LOG)


def test_a_run_is_followed_to_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    kept = show(EVENTS, 8, quiet=False)
    out, err = capsys.readouterr()
    assert out == ""
    assert kept == [event for event in EVENTS if isinstance(event, SUMMARY)]
    lines = err.splitlines()
    assert lines[0].startswith("coevo-digits: 5 models of 2,276 parameters, ")
    assert [line.split()[1] for line in lines if line.startswith("epoch ")][-1] == "8/8"
    assert any(line.startswith("resumed after epoch ") for line in lines)
    assert any(line.startswith("verified in onnxruntime: ") for line in lines)
    end = next(place for place, line in enumerate(lines) if line.startswith("sparsity "))
    assert " weights and biases are zero; " in lines[end]
    assert [line.partition(": ")[0] for line in lines[end + 1 :]] == ["l1", "mse"]


def test_a_quiet_run_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    show(EVENTS, 8, quiet=True)
    assert capsys.readouterr() == ("", "")


def test_each_event_has_its_line_or_none() -> None:
    started = next(event for event in EVENTS if isinstance(event, Started))
    assert "8 epochs on cpu" in describe(started)
    assert describe(Paused(at=0.0, generation=3, waiting=True)) == "paused by control after epoch 3"
    assert describe(Paused(at=0.0, generation=3, waiting=False)) == "resumed by control after epoch 3"
    assert describe(Verified(at=0.0, passed=True, max_difference=0.0, tolerance=1e-5, checks=1)) == ""


def test_models_of_different_budgets_show_the_densest_and_the_sparsest() -> None:
    event = next(event for event in EVENTS if isinstance(event, Generation))
    apart = vars(event) | {"sparsity": (0.0, 0.9), "validation_loss": (0.1, 0.2)}
    assert losses_of(Generation(**apart)) == "validation mse 0.10000 at 0.0% to 0.20000 at 90.0% sparsity"
    alike = vars(event) | {"sparsity": (0.5, 0.5), "actual": 0.5, "train_loss": (0.3,), "validation_loss": (0.1, 0.2)}
    assert losses_of(Generation(**alike)) == "mse 0.30000 train, 0.10000 validation; sparsity 50.0%"


def test_metrics_are_one_line_each_without_the_counts_of_the_ring() -> None:
    metrics = {
        "train_mse": 0.1, "test_mse": 0.25, "test_recall@20": 0.5, "capacity": 0.2, "train_mse_cells": 0.3,
        "train_mse_cells_median": 0.3, "test_loss_increase": 0.01,
    }  # fmt: skip
    end = next(event for event in EVENTS if isinstance(event, Finished))
    assert list(by_metric(replace(end, metrics=metrics))) == [
        "mse: train 0.10000, test 0.25000", "recall@20: test 0.50000", "loss increase: test 0.01000"
    ]  # fmt: skip


def test_a_run_that_only_prunes_says_so() -> None:
    started = next(event for event in EVENTS if isinstance(event, Started))
    line = describe(replace(started, generations=1, engine="no training (auto: about 0 s)"))
    assert line.endswith(", 1 epoch on cpu, no training")


def test_names_from_a_log_are_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    started = next(event for event in EVENTS if isinstance(event, Started))
    show([replace(started, run="\x1b]0;x\x07[red]name[/]", engine="long " * 60)], 8, quiet=False)
    _, err = capsys.readouterr()
    assert err.startswith("\\x1b]0;x\\x07[red]name[/]: 5 models")
    assert len(err.splitlines()) == 1, "a message is one line where there is no terminal"
