"""Bytes and milliseconds of ONNX files in onnxruntime on this machine, measured side by side."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from aecompress import rng
from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.reading import read_onnx
from aecompress.deploy.session import load, session
from aecompress.errors import DataError, RunError

BATCHES = (1, 16, 64, 256)
TURN_SECONDS = 2e-3
"""How long a file is called before the next one has its turn: long against the clock, short against the noise."""
LOADS = 3
FEWEST_ROUNDS = 5


@dataclass(frozen=True)
class Timing:
    """One way of calling a file."""

    batch: int
    threads: int
    """0: all cores."""
    milliseconds: float
    """Median of a call."""
    rows_per_second: float


@dataclass(frozen=True)
class Measured:
    """What a file takes."""

    path: str
    bytes: int
    load_milliseconds: float
    """Median time from the file to a session that can be called."""
    timings: tuple[Timing, ...]

    def milliseconds(self, batch: int, threads: int = 1) -> float:
        """The median of a call with so many rows."""
        return next(t.milliseconds for t in self.timings if (t.batch, t.threads) == (batch, threads))

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def bench(
    paths: Sequence[Path],
    batches: Sequence[int] = BATCHES,
    threads: Sequence[int] = (1, 0),
    seconds: float = 0.2,
    poll: Callable[[], None] = lambda: None,
) -> list[Measured]:
    """Load and call every file, the files taking turns, so that what disturbs the machine disturbs all alike.

    Args:
        batches: rows of a call.
        threads: threads inside an operator; 0 is all cores.
        seconds: measured for each file, batch and number of threads.
        poll: called between turns; may raise to stop.

    Raises:
        DataError: a file cannot be loaded, or does not take float32 rows.
        RunError: a file gives values that are not finite.
    """
    loads = [[_loading(path) for _ in range(LOADS)] for path in paths]
    found: list[list[Timing]] = [[] for _ in paths]
    for count in threads:
        runners = [session(path, count) for path in paths]
        rows = [_rows(path, runner, max(batches)) for path, runner in zip(paths, runners, strict=True)]
        for batch in batches:
            medians = _turns(runners, [given[:batch] for given in rows], seconds, poll)
            for timings, path, runner, given, median in zip(found, paths, runners, rows, medians, strict=True):
                timings.append(Timing(batch, count, median * 1e3, batch / median))
                (out,) = runner.run([runner.get_outputs()[0].name], {runner.get_inputs()[0].name: given[:batch]})
                if len(out) != batch or not np.isfinite(out).all():
                    raise RunError(f"{path}: gives {out.shape} with values that are not finite for {batch} rows")
    return [
        Measured(str(path), path.stat().st_size, statistics.median(load) * 1e3, tuple(timings))
        for path, load, timings in zip(paths, loads, found, strict=True)
    ]


def _loading(path: Path) -> float:
    data = read_onnx(path).SerializeToString()  # looked through before, and outside the time
    begin = time.perf_counter()
    load(path, data, 1)
    return time.perf_counter() - begin


def _rows(path: Path, runner: onnxruntime.InferenceSession, count: int) -> Floats:
    """Uniform random rows as wide as the file's one input."""
    inputs = runner.get_inputs()
    shape, kind = inputs[0].shape, inputs[0].type
    if len(inputs) != 1 or kind != "tensor(float)" or len(shape) != 2 or not isinstance(shape[1], int):
        given = ", ".join(f"{node.name}: {node.type} {node.shape}" for node in inputs)
        raise DataError(f"{path}: takes {given}; only models of one float32 input [rows, width] are measured")
    if isinstance(shape[0], int) and shape[0] != count:
        raise DataError(f"{path}: has the fixed batch {shape[0]}; export it with a dynamic one")
    return rng.host(0, "bench-rows").random((count, shape[1]), dtype=np.float32)


def _turns(
    runners: Sequence[onnxruntime.InferenceSession], rows: Sequence[Floats], seconds: float, poll: Callable[[], None]
) -> list[float]:
    """The median seconds of a call of each, in turns of some calls."""
    calls = []
    for runner, given in zip(runners, rows, strict=True):
        for _ in range(3):
            once = _called(runner, given, 1)
        calls.append(max(1, round(TURN_SECONDS / once)))
    spent: list[list[float]] = [[] for _ in runners]
    rounds = max(FEWEST_ROUNDS, round(seconds / TURN_SECONDS))
    for _ in range(rounds):
        poll()
        for index, (runner, given) in enumerate(zip(runners, rows, strict=True)):
            spent[index].append(_called(runner, given, calls[index]))
    return [statistics.median(times) for times in spent]


def _called(runner: onnxruntime.InferenceSession, rows: Floats, times: int) -> float:
    """Seconds of one of so many calls."""
    feed = {runner.get_inputs()[0].name: rows}
    begin = time.perf_counter()
    for _ in range(times):
        runner.run(None, feed)
    return (time.perf_counter() - begin) / times


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "architecture": platform.machine(),
        "onnxruntime": onnxruntime.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
