"""How far a run has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from aecompress import events
from aecompress.deploy import checkpoint
from aecompress.population.state import Population
from aecompress.runs.job import Job


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
        tensors = {name: tensor.cpu().numpy() for name, tensor in self.population.tensors().items()}
        path = checkpoint.save_state(job.folder / "checkpoint", self.population.generation, tensors, job.identity)
        self.saved = self.population.generation
        return path
