"""A run's events as records of TensorBoard or MLflow, which are extras. They get what the event log holds, no more."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aecompress.errors import RunError, SpecError
from aecompress.events import Event, Finished, Generation, Resumed, Started

Write = Callable[[dict[str, float], int], None]
"""Records numbers by name, and the generation they belong to."""
Describe = Callable[[dict[str, Any]], None]
"""Records the spec."""
Record = tuple[Write, Describe]
NOTE = ".mlflow"
"""File with the identity of MLflow's record of a run, so that a resumed run continues it."""


def numbers(event: Event) -> dict[str, float]:
    """Return the numbers of an event to plot, by name; values that are not finite are left out."""
    if isinstance(event, Generation):
        train, validation = (
            [loss for loss in losses if math.isfinite(loss)] for losses in (event.train_loss, event.validation_loss)
        )
        named = {
            f"train_{event.metric}_best": min(train, default=math.nan),
            f"train_{event.metric}_mean": sum(train) / len(train) if train else math.nan,
            f"validation_{event.metric}_best": min(validation, default=math.nan),
            "sparsity": event.actual,
            "sparsity_target": event.target,
            "learning_rate": sum(event.learning_rate) / len(event.learning_rate),
            "seconds": event.seconds,
        }
    elif isinstance(event, Finished):
        named = {**event.metrics, "zeros": float(event.zeros), "final_sparsity": event.sparsity}
    else:
        return {}
    return {name: value for name, value in named.items() if math.isfinite(value)}


@contextmanager
def tensorboard(folder: Path, start: int) -> Iterator[Record]:
    """Record in ``folder/tensorboard``; what was recorded after generation ``start`` no longer holds."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder / "tensorboard"), purge_step=start + 1) as writer:

        def write(values: dict[str, float], generation: int) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, generation)

        yield write, lambda spec: writer.add_text("spec", f"```\n{json.dumps(spec, indent=1)}\n```")


@contextmanager
def mlflow(folder: Path, start: int) -> Iterator[Record]:
    """Record a run of the experiment "aecompress" at MLFLOW_TRACKING_URI, else in MLflow's own default place."""
    import mlflow as library

    client = library.MlflowClient()
    note = folder / NOTE
    known = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
    existing = client.get_experiment_by_name("aecompress")
    experiment = existing.experiment_id if existing is not None else client.create_experiment("aecompress")
    run = known or client.create_run(experiment, run_name=folder.name).info.run_id
    note.write_text(run, encoding="utf-8")

    def write(values: dict[str, float], generation: int) -> None:
        stamp = int(time.time() * 1000)
        client.log_batch(run, [library.entities.Metric(n, v, stamp, generation) for n, v in values.items()])

    def describe(spec: dict[str, Any]) -> None:
        client.log_batch(run, params=[library.entities.Param(name, value) for name, value in _flat(spec)])

    try:
        yield write, describe
    except BaseException:
        client.set_terminated(run, "KILLED")
        raise
    client.set_terminated(run, "FINISHED")


def _flat(spec: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in spec.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, json.dumps(value)[:500]


TRACKERS = {"tensorboard": tensorboard, "mlflow": mlflow}


def check(names: Iterable[str]) -> None:
    """Check, before any work, that the trackers exist and are installed.

    Raises:
        SpecError: no such tracker, or it is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise SpecError(f"--track = {name}: no such tracker; choose {' or '.join(TRACKERS)}")
        if find_spec(name) is None:
            raise SpecError(f"--track {name}: is not installed; pip install 'aecompress[{name}]'")


def tracked(run: Iterable[Event], names: Iterable[str], folder: Path) -> Iterator[Event]:
    """Yield the events of a run in ``folder``, each after it was recorded.

    Raises:
        RunError: a tracker cannot record.
    """
    with ExitStack() as stack:
        records: list[Record] | None = None
        generation = 0
        for event in run:
            if isinstance(event, Generation | Resumed):
                generation = event.generation
            try:
                if records is None:  # not before the first event: a run that cannot begin leaves nothing behind
                    records = [stack.enter_context(TRACKERS[name](folder, generation)) for name in names]
                values = numbers(event)
                for write, describe in records:
                    if isinstance(event, Started):
                        describe(event.spec)
                    if values:
                        write(values, generation)
            except Exception as fault:  # a tracker's own: its server is gone, its disk is full
                reason = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
                raise RunError(
                    f"--track: cannot record ({reason[:200]}); the run has stopped with a checkpoint, "
                    f"`aecompress prune --resume {folder}` continues it without the tracker"
                ) from fault
            yield event
