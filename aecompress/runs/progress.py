"""How far a run has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from aecompress import events
from aecompress.deploy import checkpoint
from aecompress.plan.first import first_population
from aecompress.population.state import Population, load_tensors
from aecompress.runs.job import Job
from aecompress.transfer import beside


@dataclass
class Progress:
    """What a stop saves and reports."""

    population: Population | None = None
    """Of the last completed generation."""
    saved: int = -1
    """Generation of the last checkpoint."""
    pending: list[events.Event] = field(default_factory=list)
    """Events of a pause, which are in the log and not yet yielded."""

    def save(self, job: Job) -> Path | None:
        """Write a checkpoint of the last completed generation, unless it is on disk; return the path written."""
        if self.population is None or self.saved == self.population.generation:
            return None
        with beside(self.population.weights.device):
            tensors = {name: tensor.cpu().numpy() for name, tensor in self.population.tensors().items()}
        path = checkpoint.save_state(job.folder / "checkpoint", self.population.generation, tensors, job.identity)
        self.saved = self.population.generation
        return path


def last_population(job: Job) -> tuple[Population, list[str]]:
    """Return the population of the run's last whole checkpoint, and a sentence per checkpoint passed over.

    Without one it is that of before generation 0.
    """
    population = first_population(job.first, job.net, job.dataset, job.device)
    last, arrays, notes = checkpoint.load_state(job.folder / "checkpoint", job.identity)
    if arrays:
        load_tensors(population, {name: torch.from_numpy(array) for name, array in arrays.items()}, last)
    return population, notes
