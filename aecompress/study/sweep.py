"""The runs of a study, one after the other or several at once: resumed where they stopped, retried once, never redone.

A run is a pure function of its spec: it does not matter which process carries it out, or how often it was stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from aecompress.errors import AecompressError, Interrupted, OutputError, RunError
from aecompress.files import append_own, read_own, write_text
from aecompress.parsing import parse_json, quoted
from aecompress.runs import folder as run_folder
from aecompress.runs.control import Stop
from aecompress.runs.job import prepare, prepare_resume
from aecompress.runs.run import run
from aecompress.spec.resolve import Resolved
from aecompress.steering import order, read_status
from aecompress.study.design import Study

ATTEMPTS = 2
"""A run that fails is tried once more."""
THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Task:
    """A run to carry out."""

    resolved: Resolved
    folder: Path


@dataclass
class Progress:
    """How far a sweep has come: what ``sweep.json`` holds."""

    study: str
    runs: int
    workers: int
    status: str = "running"
    """running, finished, stopped, or failed when runs have."""
    finished: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Of the finished ones, those that were finished before this sweep started."""
    running: list[str] = field(default_factory=list)
    retried: dict[str, str] = field(default_factory=dict)
    """Runs that failed once, with the reason."""
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    specs: dict[str, str] = field(default_factory=dict)
    """The hash of each run's spec, also of runs in earlier forms of the study."""


Report = Callable[[Progress], None]
"""Called at each change of a sweep."""
Started = Callable[[Task], None]
"""Called when a task starts."""
Ends = Iterator[tuple[Task, str]]
"""Tasks as they end, with the fault where they failed."""
Carrier = Callable[[Iterator[Task], Started, Stop], Ends]
"""Carries tasks out; raises Interrupted on a stop, once every run has stopped."""


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let runs inside take one core: a sweep has many runs, which use the cores better side by side."""
    threads, variable = torch.get_num_threads(), os.environ.get(THREADS)
    torch.set_num_threads(1)
    os.environ[THREADS] = "1"
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if variable is None:
            del os.environ[THREADS]
        else:
            os.environ[THREADS] = variable


def carry_out(task: Task, stop: Stop = lambda: None) -> str:
    """Carry one run out, from its last checkpoint where it has one, and return the fault where it fails.

    Raises:
        Interrupted: it was stopped.
    """
    try:
        with one_thread():
            try:
                resumable = read_status(task.folder)["status"] != "failed" and (task.folder / "checkpoint").is_dir()
            except AecompressError:  # there is no run yet, or one that ended before its first checkpoint
                resumable = False
            job = prepare_resume(task.folder) if resumable else prepare(task.resolved, task.folder, force=True)
            for _ in run(job, stop):
                pass
    except Interrupted:
        raise
    except AecompressError as fault:
        return str(fault)
    except Exception as fault:  # whatever the fault of one run, the others are carried out
        return f"{type(fault).__name__}: {fault}"
    return ""


def serial(tasks: Iterator[Task], started: Started, stop: Stop) -> Ends:
    """Carry out one run after the other, in this process."""
    for task in tasks:
        started(task)
        yield task, carry_out(task, stop)


def is_finished(folder: Path) -> bool:
    """Return whether the folder holds a complete run."""
    try:
        return str(read_status(folder)["status"]) == "finished"
    except AecompressError:
        return False


def sweep(study: Study, where: Path, carrier: Carrier, workers: int, stop: Stop, report: Report) -> Progress:
    """Carry out every run of a study that is not finished in ``where``, and return how that went.

    Raises:
        OutputError: the folder holds something else, or a run of the study with another spec.
        Interrupted: on a stop; every run that was being carried out has a checkpoint.
    """
    tasks = {trial.folder: Task(trial.resolved, where / trial.folder) for trial in study.trials}
    hashes = {name: task.resolved.spec.hash for name, task in tasks.items()}
    specs = check_folder(where, hashes) | hashes
    progress = Progress(study.name, len(tasks), workers, specs=specs)
    where.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    def note() -> None:
        progress.seconds = time.perf_counter() - start
        write_text(where / "sweep.json", json.dumps(asdict(progress), indent=1) + "\n")
        report(progress)

    with append_own(where / ".lock") as lock:
        if not run_folder.lock(lock):
            raise OutputError(f"{where}: another process carries out the study in it; wait for it, or stop it")
        write_text(where / "study.toml", study.text)
        progress.skipped = [name for name, task in tasks.items() if is_finished(task.folder)]
        progress.finished = list(progress.skipped)
        note()
        try:
            attempts(
                [task for name, task in tasks.items() if name not in progress.skipped], carrier, progress, stop, note
            )
            progress.status = "failed" if progress.failed else "finished"
        except BaseException:
            progress.status = "stopped"
            raise
        finally:
            progress.running = []
            note()
    return progress


def attempts(tasks: list[Task], carrier: Carrier, progress: Progress, stop: Stop, note: Callable[[], None]) -> None:
    """Carry tasks out, those that fail once more; ``note`` is called at each change of ``progress``."""

    def started(task: Task) -> None:
        progress.running.append(task.folder.name)
        note()

    for _ in range(ATTEMPTS):
        if not tasks:  # starting workers takes seconds
            break
        again = []
        for task, fault in carrier(iter(tasks), started, stop):
            name = task.folder.name
            progress.running.remove(name)
            if not fault:
                progress.finished.append(name)
            elif name in progress.retried:
                progress.failed[name] = fault
            else:
                progress.retried[name] = fault
                again.append(task)
            note()
        tasks = again


def check_folder(where: Path, specs: dict[str, str]) -> dict[str, str]:
    """Refuse a folder in which a study must not be carried out; return the spec hashes of the runs in it.

    Raises:
        OutputError: it is a file, holds something else, or runs of the same names with other specs.
    """
    if where.exists() and not where.is_dir():
        raise OutputError(f"{where}: is a file; choose a folder with -o")
    path = where / "sweep.json"
    if not path.exists():
        if where.exists() and any(where.iterdir()) and not (where / "study.toml").exists():
            raise OutputError(f"{where}: is not empty and holds no study; choose another folder with -o")
        return {}
    try:
        progress = parse_json(read_own(path))
    except (OSError, ValueError) as fault:
        raise OutputError(f"{path}: is damaged ({quoted(fault)}); remove it, the runs beside it are kept") from fault
    before: dict[str, str] | None = progress.get("specs") if isinstance(progress, dict) else None
    if not isinstance(before, dict):
        raise OutputError(f"{path}: is damaged (it has no specs); remove it, the runs beside it are kept")
    other = [name for name, spec in specs.items() if before.get(name, spec) != spec and (where / name).exists()]
    if other:
        raise OutputError(
            f"{where / other[0]}: holds a run with another spec than the study has now; "
            "choose another folder with -o, or remove that one"
        )
    return before


def stop_all(folders: list[Path]) -> None:
    """Stop runs in other processes; those that ended by themselves are left alone."""
    for folder in folders:
        with contextlib.suppress(AecompressError):
            order(folder, "stop")


def failures(progress: Progress) -> RunError:
    """Return the error of a sweep with runs that failed twice."""
    lines = [f"{name}: {fault}" for name, fault in progress.failed.items()]
    return RunError(f"{len(lines)} of {progress.runs} runs failed twice:\n" + "\n".join(lines))
