"""Whether a GPU and a CPU give the same runs: the steps ``correct`` of benchmarks/gpu.py."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy

from aecompress import events
from aecompress.engines.registry import ENGINES
from aecompress.runs.job import Job, prepare, prepare_resume
from aecompress.runs.run import run
from aecompress.spec.resolve import resolve

if TYPE_CHECKING:
    from gpu import Bench

Fields = dict[str, Any]

UNREGROWN = {"data.source": "digits", "train.epochs": 8, "prune.regrowth": 0.0}
SPECS: dict[str, tuple[str, Fields]] = {
    "paper": ("paper-coevo-sync", {"data.source": "binary-clusters:4x20x60", "train.epochs": 40}),
    "regrowth": ("default", {"data.source": "digits", "train.epochs": 8}),
    "canonical": ("default", {**UNREGROWN, "mode": "canonical"}),
    "units": ("default", {**UNREGROWN, "prune.granularity": "unit", "prune.target_sparsity": 0.5}),
    "variational": ("default", {**UNREGROWN, "mode": "canonical", "model.family": "variational"}),
    "denoising": ("default", {**UNREGROWN, "model.family": "denoising"}),
}


@dataclass(frozen=True)
class Outcome:
    """What a run left."""

    job: Job
    generations: list[events.Generation]
    pruned: dict[int, tuple[int, ...]]
    """Cells by generation."""
    files: tuple[bytes, bytes]
    """The model, and the state of the population."""

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Return the last generation's tensors."""
        return safetensors.numpy.load(self.files[1])


def with_engine(job: Job, name: str) -> Job:
    """Return the job with the engine of this name; with its own where there is no name."""
    return dataclasses.replace(job, plan=dataclasses.replace(job.plan, engine=ENGINES[name])) if name else job


def outcome_of(
    bench: Bench, name: str, kind: str, changes: Fields, stop: int, folder: Path, *, engine: str = ""
) -> Outcome:
    """Carry a spec out to verified files, stopped after generation ``stop`` and resumed where that is not 0."""
    preset, fields = SPECS[name]
    fields = fields | changes | {"checkpoint_every": 1000} | ({} if bench.gpu else {"train.epochs": 4})
    start, seen = time.perf_counter(), list[events.Event]()
    resolved = resolve({path: ("benchmark", value) for path, value in fields.items()}, preset=preset)
    job = with_engine(prepare(resolved, folder), engine)
    going = run(job)
    for event in going:
        seen.append(event)
        if stop and isinstance(event, events.Generation) and event.generation == stop:
            break
    going.close()
    if stop:
        seen += run(with_engine(prepare_resume(folder), engine))
    verified = next(event for event in seen if isinstance(event, events.Verified))
    last = next(event for event in seen if isinstance(event, events.Finished))
    bench.emit(
        "run", spec=name, run=kind, engine=job.plan.engine.name, seconds=time.perf_counter() - start,
        verified=verified.passed, difference=verified.max_difference, zeros=last.zeros,
        onnx=(folder / "model" / "autoencoder.onnx").is_file(), validation_mse=last.metrics["validation_mse"],
    )  # fmt: skip
    state = max((folder / "checkpoint").glob("*.safetensors"))
    return Outcome(
        job,
        [event for event in seen if isinstance(event, events.Generation)],
        {event.generation: event.cells for event in seen if isinstance(event, events.Pruned)},
        ((folder / "model" / "model.safetensors").read_bytes(), state.read_bytes()),
    )


def compared(one: Outcome, other: Outcome) -> Fields:
    """Return how two runs of a spec differ, and whether they agree where the method promises it.

    Without regrowth, selections and prunes are the same on every device, and so are masks that are fixed; regrowth lets
    rounding decide between near-ties, after which whole masks part ways.
    """
    a, b = one.state, other.state
    equal = {
        "parents": all(x.parents == y.parents for x, y in zip(one.generations, other.generations, strict=True)),
        "pruned": one.pruned == other.pruned,
        "masks": bool((a["masks"] == b["masks"]).all()),
    }
    pruning = one.job.plan.pruning
    promised = not pruning or not pruning.regrowth
    norm = np.linalg.norm(b["weights"].astype(float))
    return {
        "equal": equal, "promised": promised, "kept": all(equal.values()) or not promised,
        "weights_apart": float(np.linalg.norm(a["weights"].astype(float) - b["weights"]) / norm),
    }  # fmt: skip


def correct(bench: Bench, name: str) -> None:
    """Run a spec on the GPU, again, resumed, and on the CPU with and without compiling, and compare.

    Raises:
        AssertionError: the devices disagree where they must agree, or a repeated run has other bits.
    """
    here = {"device": str(bench.device), "compile": "auto"}
    kinds: dict[str, tuple[Fields, int]] = {
        "cpu": ({"device": "cpu", "compile": "off"}, 0),
        "gpu": (here, 0),
        "gpu again": (here, 0),
        "gpu resumed": (here, 2),
        "cpu compiled": ({"device": "cpu", "compile": "on"}, 0),
    }
    with tempfile.TemporaryDirectory() as place:
        found = {
            kind: outcome_of(bench, name, kind, changes, stop, Path(place) / kind.replace(" ", "-"))
            for kind, (changes, stop) in kinds.items()
        }
    wrong = []
    for one, other in (("gpu", "cpu"), ("cpu compiled", "cpu")):
        figures = compared(found[one], found[other])
        bench.emit("compared", spec=name, runs=[one, other], **figures)
        wrong += [] if figures["kept"] else [f"{one} against {other}"]
    for one in ("gpu again", "gpu resumed"):
        same = found[one].files == found["gpu"].files
        bench.emit("compared", spec=name, runs=[one, "gpu"], same_bits=same)
        wrong += [] if same else [f"{one} against gpu"]
    assert not wrong, f"{name}: not equal where they must be: {', '.join(wrong)}"
