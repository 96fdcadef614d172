"""The results of a study's finished runs: one value per trial, and their curves, read from the event logs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.errors import DataError
from aecompress.events import Finished, Generation, Started
from aecompress.runs.ended import read_run
from aecompress.study.design import Group, Study
from aecompress.study.sweep import is_finished

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """A run by generation, ``[T]`` or ``[T, P]`` each."""

    loss: Floats
    """Training loss of every cell, ``[T, P]``."""
    nonzeros: Floats
    """Mean over the cells of the parameters that are not zero, ``[T]``."""


@dataclass(frozen=True)
class Result:
    """A finished run. Cells share ancestors, so that a trial counts once, with their mean (ALGORITHMS A8)."""

    seed: int
    folder: Path
    metric: str
    loss: float
    """Reported loss on all training rows after the last generation, mean over the cells."""
    chosen: float
    """Reported loss of the exported model, on test rows where there are any."""
    capacity: float
    """Share of parameters not zero at the lineage's last prune, mean over the cells (ALGORITHMS A7)."""
    nonzero: float
    """Share of parameters not zero at the end, mean over the cells."""
    seconds: float
    """From the first to the last generation, and what came after it; what an interruption lost is not counted."""
    metrics: dict[str, float]
    spec: dict[str, Any]
    """The complete spec."""
    curves: Curves


@dataclass(frozen=True)
class Outcome:
    """A group and its finished trials, in the order of the seeds."""

    group: Group
    results: tuple[Result, ...]

    @property
    def metric(self) -> str:
        """Return the metric of its losses."""
        return self.results[0].metric

    @property
    def losses(self) -> Floats:
        """Return the loss of each trial."""
        return np.array([result.loss for result in self.results])

    @property
    def capacities(self) -> Floats:
        """Return the capacity of each trial."""
        return np.array([result.capacity for result in self.results])


def read_outcomes(study: Study, where: Path) -> tuple[Outcome, ...]:
    """Return the finished trials of a study in ``where``, group by group, without groups that have none.

    Raises:
        DataError: no run is finished.
    """
    outcomes = []
    for group in study.groups:
        trials = [trial for trial in study.trials if trial.group is group]
        results = tuple(
            read_result(where / trial.folder, trial.seed) for trial in trials if is_finished(where / trial.folder)
        )
        if results:
            outcomes.append(Outcome(group, results))
    if not outcomes:
        raise DataError(f"{where}: none of the study's runs is finished; `aecompress sweep` resumes it")
    return tuple(outcomes)


def read_result(folder: Path, seed: int) -> Result:
    """Return a finished run's figures.

    Raises:
        DataError: its log is damaged.
    """
    log = read_run(folder)
    start = next(event for event in log if isinstance(event, Started))
    past = [event for event in log if isinstance(event, Generation)]
    ends = [event for event in log if isinstance(event, Finished)]
    if not past or not ends or f"train_{past[-1].metric}" not in ends[-1].metrics:
        raise DataError(f"{folder / 'events.jsonl'}: lacks its end; remove the folder and carry the run out again")
    metrics, metric, last = ends[-1].metrics, past[-1].metric, past[-1]
    loss = metrics.get(f"train_{metric}_cells", metrics[f"train_{metric}"])
    test = metrics.get(f"test_{metric}", metrics[f"train_{metric}"])
    curves = Curves(
        np.array([event.train_loss for event in past]),
        np.array([start.parameters * (1 - fmean(event.sparsity)) for event in past]),
    )
    capacity, nonzero = fmean(last.capacity), 1 - fmean(last.sparsity)
    seconds = max(ends[-1].seconds, sum(event.seconds for event in past))  # the last event counts from the last resume
    return Result(
        seed=seed,
        folder=folder,
        metric=metric,
        loss=loss,
        chosen=test,
        capacity=capacity,
        nonzero=nonzero,
        seconds=seconds,
        metrics=metrics,
        spec=start.spec,
        curves=curves,
    )
