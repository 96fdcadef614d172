"""Runs as Ray tasks on one machine: one process and one thread each."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

from aecompress.errors import Interrupted, SpecError
from aecompress.runs.control import Stop
from aecompress.study.sweep import Begun, Carrier, Outcomes, Task, carry_out, stop_all

LOOK_SECONDS = 0.2
STOP_SECONDS = 60.0
"""How long runs that were told to stop may take to write their checkpoints."""


def carrier(workers: int) -> Carrier:
    """Carries tasks out in ``workers`` processes.

    Raises:
        SpecError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as fault:
        raise SpecError(
            f"--workers = {workers}: needs Ray; pip install 'aecompress[ray]', or leave it out for one run at a time"
        ) from fault

    def carried(tasks: Iterator[Task], begun: Begun, stop: Stop) -> Outcomes:
        # stdout is for data; Ray writes there, whatever its settings, when a process dies.
        with contextlib.redirect_stdout(sys.stderr):
            orders = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
            logging.getLogger("ray").setLevel(logging.ERROR)
            ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False)
            for number, order in orders.items():  # Ray put its own in their place
                signal.signal(number, order)
            try:
                yield from _carried(ray, workers, tasks, begun, stop)
            finally:
                ray.shutdown()

    return carried


def _carried(ray: Any, workers: int, tasks: Iterator[Task], begun: Begun, stop: Stop) -> Outcomes:
    # A run that lost its process is resumed by the sweep itself, which says so; Ray would start it without a word.
    remote = ray.remote(num_cpus=1, max_retries=0)(_in_worker)
    going: dict[Any, Task] = {}
    while True:
        while len(going) < workers and (task := next(tasks, None)) is not None:
            begun(task)
            going[remote.remote(task)] = task
        if not going:
            return
        ready, _ = ray.wait(list(going), timeout=LOOK_SECONDS)
        for reference in ready:
            yield going.pop(reference), _outcome(ray, reference)
        number = stop()
        if number is not None:
            end = time.monotonic() + STOP_SECONDS
            while going and time.monotonic() < end:
                stop_all([task.folder for task in going.values()])  # again, for those that had not begun
                for reference in ray.wait(list(going), timeout=LOOK_SECONDS)[0]:
                    going.pop(reference)
            raise Interrupted("the sweep was stopped; the same command goes on with it", number)


def _in_worker(task: Task) -> str:
    """A run in a process of its own; a stop comes through its folder."""
    try:
        return carry_out(task)
    except Interrupted as fault:
        return str(fault)


def _outcome(ray: Any, reference: Any) -> str:
    try:
        return str(ray.get(reference))
    except ray.exceptions.RayError as fault:
        return f"its process died ({str(fault).strip().splitlines()[0]})"
