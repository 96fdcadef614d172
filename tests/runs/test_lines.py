"""A run's events as lines of text."""

from __future__ import annotations

from dataclasses import replace

from aecompress.event_log import read_log
from aecompress.events import Finished, Generation, Paused, Started, Verified
from aecompress.runs.lines import by_metric, describe, losses_of
from tests.fixtures.remake import LOG

EVENTS = read_log(LOG)


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
