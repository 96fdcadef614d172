"""What is read of a generation."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from aecompress.errors import DeviceError
from aecompress.evolve.generation import generation
from aecompress.runs import narrate
from tests.evolve.plans import make_plan, make_population, make_rows


def test_figures_are_the_tensors_and_those_of_passes_that_went_wrong_are_refused() -> None:
    plan = make_plan()
    population, report = generation(plan, make_population(plan, 4), make_rows(), lambda: None)
    figures = narrate.figures(population, report)()
    assert figures.train_loss == report.train_loss.tolist() and figures.zeros == report.layer_zeros.tolist()
    assert (figures.parents, figures.fitness) == (report.parents.tolist(), population.fitness.tolist())
    for fault in (0, 1):
        read = narrate.figures(population, dataclasses.replace(report, fault=torch.tensor([fault], dtype=torch.int32)))
        if fault:
            with pytest.raises(DeviceError, match="did not meet while it was trained"):
                read()
        else:
            assert read() == figures
