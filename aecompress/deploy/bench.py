"""Bytes and milliseconds of ONNX files in onnxruntime on this machine, measured side by side."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from aecompress import rng
from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.fingerprint import fingerprint
from aecompress.deploy.graph import SCALING_KEY
from aecompress.deploy.latency import Times, ratio, take_turns
from aecompress.deploy.reading import read_onnx
from aecompress.deploy.session import failed, input_shape, load, outputs, session
from aecompress.digests import check_listed
from aecompress.errors import DataError, RunError
from aecompress.intervals import EQUAL, Ratio, milliseconds_text
from aecompress.machine import gib, memory_bytes
from aecompress.parsing import quoted
from aecompress.polling import Poll, no_poll

BATCHES = (1, 16, 64, 256)
LOADS = 3


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One way of calling a file."""

    batch: int
    threads: int
    """0: all cores."""
    milliseconds: float
    """Median of a call."""
    quartiles: tuple[float, float]
    """Between them lie half of the turns' medians, in milliseconds."""
    rows_per_second: float
    faster: Ratio
    """How many times as fast as the first file."""

    @property
    def text(self) -> str:
        """Return the milliseconds as a cell of a table."""
        return milliseconds_text(self.milliseconds, self.quartiles)


@dataclass(frozen=True)
class Benched:
    """What a file takes."""

    path: str
    bytes: int
    load_milliseconds: float
    """Median time from the file to a session that can be called."""
    timings: tuple[Timing, ...]

    def timing(self, batch: int, threads: int = 1) -> Timing:
        """Return the timing of calls with so many rows."""
        return next(t for t in self.timings if (t.batch, t.threads) == (batch, threads))

    def milliseconds(self, batch: int, threads: int = 1) -> float:
        """Return the median of a call with so many rows."""
        return self.timing(batch, threads).milliseconds

    def to_json(self) -> dict[str, Any]:
        """Return the object of ``--json``."""
        fields = asdict(self)
        for given, timing in zip(fields["timings"], self.timings, strict=True):
            given["faster"]["verdict"] = timing.faster.verdict
        return fields


def bench_files(
    paths: Sequence[Path],
    batches: Sequence[int] = BATCHES,
    threads: Sequence[int] = (1, 0),
    seconds: float = 0.2,
    poll: Poll = no_poll,
) -> list[Benched]:
    """Load and call every file, the files taking turns, and compare each with the first one.

    Args:
        batches: rows of a call.
        threads: threads inside an operator; 0 is all cores.
        seconds: the most that is measured for each file, batch and number of threads.
        poll: called between rounds of turns; may raise to stop.

    Raises:
        DataError: a file cannot be loaded, was changed, or does not take float32 rows.
        RunError: a file gives values that are not finite.
    """
    for path in paths:
        check_listed(path)
    loads = [[_loading(path) for path in paths] for _ in range(LOADS)]
    found = rounds(paths, batches, threads, seconds, poll)
    return [
        Benched(
            path=str(path),
            bytes=path.stat().st_size,
            load_milliseconds=statistics.median(load[index] for load in loads) * 1e3,
            timings=tuple(_timing(*way, times, index) for way, times in found.items()),
        )
        for index, path in enumerate(paths)
    ]


def rounds(
    paths: Sequence[Path], batches: Sequence[int], threads: Sequence[int], seconds: float, poll: Poll
) -> dict[tuple[int, int], Times]:
    """Call the files in turns, as :func:`bench_files` does: times ``[rounds, files]`` by rows and threads of a call.

    Files of the same arithmetic share one session, and have the same times.

    Raises:
        RunError: a file gives another number of rows, or values that are not finite.
    """
    models = [read_onnx(path) for path in paths]
    arithmetic = [fingerprint(model) for model in models]
    column = [arithmetic.index(one) for one in arithmetic]
    apart = sorted(set(column))
    found = {}
    for count in threads:
        runners = [session(paths[index], count) for index in apart]
        rows = [
            in_range(models[index], _rows(paths[index], runner, max(batches)))
            for index, runner in zip(apart, runners, strict=True)
        ]
        for batch in batches:
            files = zip(apart, runners, rows, strict=True)
            calls = [_call(paths[index], runner, given[:batch]) for index, runner, given in files]
            times = take_turns(calls, seconds, poll)
            found[batch, count] = times[:, [apart.index(index) for index in column]]
            for index, runner, given in zip(apart, runners, rows, strict=True):
                out = outputs(paths[index], runner, given[:batch])[0]
                if out.shape[:1] != (batch,):
                    raise DataError(f"{paths[index]}: gives {quoted(out.shape)} for {batch} rows; export it again")
                if not np.isfinite(out).all():
                    raise RunError(f"{paths[index]}: gives values that are not finite for {batch} rows")
    return found


def _timing(batch: int, threads: int, times: Times, index: int) -> Timing:
    """Return what the ``times`` ``[rounds, files]`` say about one of the files."""
    baseline, own = times[:, 0], times[:, index]
    low, middle, high = (float(value) * 1e3 for value in np.quantile(own, (0.25, 0.5, 0.75)))
    return Timing(
        batch=batch,
        threads=threads,
        milliseconds=middle,
        quartiles=(low, high),
        rows_per_second=batch / middle * 1e3,
        faster=EQUAL if np.array_equal(own, baseline) else ratio(baseline, own),
    )


def _loading(path: Path) -> float:
    data = read_onnx(path).SerializeToString()  # looked through before, and outside the time
    begin = time.perf_counter()
    load(path, data, 1)
    return time.perf_counter() - begin


def _rows(path: Path, runner: onnxruntime.InferenceSession, count: int) -> Floats:
    """Draw uniform rows ``[count, *shape]`` as the file's one input takes them."""
    shape = input_shape(path, runner, "measured")
    if isinstance(shape[0], int) and shape[0] != count:
        raise DataError(f"{path}: has the fixed batch {shape[0]}; export it with a dynamic one")
    needed = 4 * count * math.prod(shape[1:]) * 4
    if needed > memory_bytes():
        raise DataError(f"{path}: {count} such rows would need {gib(needed)}; give fewer rows (--batch)")
    return rng.host(0, "bench-rows").random((count, *shape[1:]), dtype=np.float32)


def in_range(model: onnx.ModelProto, rows: Floats) -> Floats:
    """Return uniform ``rows`` ``[N, *shape]`` over the range of the raw rows that a file of ours takes, if it does."""
    stored = {one.name.rpartition(".")[2]: one for one in model.graph.initializer}
    if all(entry.key != SCALING_KEY for entry in model.metadata_props):
        return rows
    for name, change in (("divisor", np.multiply), ("offset", np.add)):
        values = numpy_helper.to_array(stored[name]) if name in stored else np.zeros(0)
        if values.dtype == np.float32 and values.shape in ((), rows.shape[1:]):
            rows = change(rows, values)
    return rows


def _call(path: Path, runner: onnxruntime.InferenceSession, rows: Floats) -> Callable[[], float]:
    """Return a function that runs the ``rows`` once and returns the seconds that took."""
    feed = {runner.get_inputs()[0].name: rows}

    def call() -> float:
        begin = time.perf_counter()
        try:
            runner.run(None, feed)
        except Exception as fault:  # onnxruntime raises a dozen unrelated classes, all from its C++ side
            raise failed(path, len(rows), fault) from fault
        return time.perf_counter() - begin

    return call


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
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
