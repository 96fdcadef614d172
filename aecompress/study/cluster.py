"""Runs as Ray tasks on one machine: one process and one thread each."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aecompress.children import PACKAGE_ROOT
from aecompress.errors import Interrupted, SpecError
from aecompress.runs.control import Stop
from aecompress.study.guard import guarded
from aecompress.study.sweep import Carrier, Ends, Started, Task, carry_out, stop_all

LOOK_SECONDS = 0.2
STOP_SECONDS = 60.0
"""How long stopped runs may take to write their checkpoints."""


def carrier(workers: int) -> Carrier:
    """Return a function that carries tasks out in ``workers`` processes.

    Raises:
        SpecError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as fault:
        raise SpecError(
            f"--workers = {workers}: needs Ray; pip install 'aecompress[ray]', or leave it out for one run at a time"
        ) from fault

    def carried(tasks: Iterator[Task], started: Started, stop: Stop) -> Ends:
        # stdout is for data; Ray writes there, whatever its settings, when a process dies.
        with contextlib.redirect_stdout(sys.stderr):
            handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
            logging.getLogger("ray").setLevel(logging.ERROR)
            here = Path.cwd()
            # Ray puts the folder it is started in first on its workers' path: not the one that holds downloaded data.
            with contextlib.chdir(PACKAGE_ROOT):
                context: Any = ray.init(
                    num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False
                )
            for number, handler in handlers.items():  # Ray put its own in their place
                signal.signal(number, handler)
            with guarded(str(context["session_dir"])):
                stopped = False
                try:
                    yield from _carried(ray, workers, here, tasks, started, stop)
                except Interrupted:
                    stopped = True
                    raise
                finally:
                    if not stopped:  # Ray's own end takes seconds; the guard ends its processes when this one has ended
                        ray.shutdown()

    return carried


def _carried(ray: Any, workers: int, here: Path, tasks: Iterator[Task], started: Started, stop: Stop) -> Ends:
    # A run that lost its process is resumed by the sweep itself, which reports it; Ray would start it silently.
    remote = ray.remote(num_cpus=1, max_retries=0)(_in_worker)
    running: dict[Any, Task] = {}
    while True:
        while len(running) < workers and (task := next(tasks, None)) is not None:
            started(task)
            running[remote.remote(task, here)] = task
        if not running:
            return
        ready, _ = ray.wait(list(running), timeout=LOOK_SECONDS)
        for reference in ready:
            yield running.pop(reference), _outcome(ray, reference)
        number = stop()
        if number is not None:
            end = time.monotonic() + STOP_SECONDS
            while running and time.monotonic() < end:
                stop_all([task.folder for task in running.values()])  # again, for those that had not started
                for reference in ray.wait(list(running), timeout=LOOK_SECONDS)[0]:
                    running.pop(reference)
            raise Interrupted("the sweep was stopped; the same command resumes it", number, at_once=True)


def _in_worker(task: Task, here: Path) -> str:
    """Carry a run out in a process of its own, in the folder ``here``; a stop comes through its folder."""
    os.chdir(here)
    try:
        return carry_out(task)
    except Interrupted as fault:
        return str(fault)


def _outcome(ray: Any, reference: Any) -> str:
    try:
        return str(ray.get(reference))
    except ray.exceptions.RayError as fault:
        return f"its process died ({str(fault).strip().splitlines()[0]})"
