"""``PART.int8.onnx``: eight-bit arithmetic, where it is faster.

All parts are of one kind. It is static, with which a row's result is its own, unless static files lose too much or are
not known to be faster than float32 where dynamic ones are, or dynamic ones are clearly faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from aecompress.deploy import bench, quantize
from aecompress.deploy.latency import Times, ratio
from aecompress.deploy.variants.base import Outcome, Request, Source
from aecompress.deploy.variants.eight import NOT, Task, Trial, eight, keep, keep_scorer, tried
from aecompress.deploy.variants.int8_packed import int8_packed
from aecompress.intervals import BUSY, Ratio, mean
from aecompress.polling import Poll

TIMED_BATCHES = (1, 64)
TIMED_SECONDS = 0.1
"""The most for each file and batch."""
CLEARLY = 1.25
"""How many times as fast as static files dynamic ones must be, at least, to be taken."""
DEPENDENT = "with dynamic ranges a row's result depends on the rows of its call"


def int8(folder: Path, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Write ``PART.int8.onnx`` where it pays, its scorer, and both in few bytes where packed files are requested."""
    if request.int8 == "never":
        outcome.notes.append("int8: left out, because export.int8 is never")
        return
    task = Task(folder=folder, source=source, request=request, outcome=outcome, poll=poll)
    eights = {part: eight(source, part, {}) for part in source.chains}
    methods = ["static"] if request.int8 == "always" else list(quantize.METHODS)
    trials = {
        method: {part: tried(task, part, own, own.product(method), method) for part, own in eights.items()}
        for method in methods
    }
    method, notes = chosen(task, trials)
    leave_out_lossy(task, trials, method)
    for part, note in notes.items():
        if note.startswith(NOT):
            outcome.leave_out("int8", f"{part}.int8.onnx: {note}")
            continue
        outcome.notes.append(f"{part}.int8.onnx: {note}")
        keep(task, part, trials[method][part], "int8")
    for each in trials.values():
        for trial in each.values():
            trial.path.unlink(missing_ok=True)
    keep_scorer(task, eights["autoencoder"], eights["autoencoder"].product(method), "int8", method)
    if "packed" in request.variants:
        int8_packed(task, method)


def leave_out_lossy(task: Task, trials: Mapping[str, Mapping[str, Trial]], kind: str) -> None:
    """Note which files lose more than allowed; those of the ``kind`` that is kept are missing."""
    for method, each in trials.items():
        for part, trial in each.items():
            why = f"{part}.int8.onnx, {method}: {NOT}, {trial.loss.detail}"
            if not trial.loss.passed and method == kind:
                task.outcome.leave_out("int8", why)
            elif not trial.loss.passed:
                task.outcome.notes.append(why)


def chosen(task: Task, trials: Mapping[str, Mapping[str, Trial]]) -> tuple[str, dict[str, str]]:
    """Return the method of all parts, and a note for each that loses no more than allowed: speed, or why it goes."""
    within = {method: [part for part, trial in each.items() if trial.loss.passed] for method, each in trials.items()}
    best = max(within, key=lambda method: len(within[method]))
    if task.request.int8 == "always":
        return best, dict.fromkeys(within[best], f"{best}, kept untimed, because export.int8 is always")
    methods = [method for method, parts in within.items() if parts == within[best]]
    times = {}
    for part in within[best]:
        paths = [task.folder / f"{part}.onnx", *(trials[method][part].path for method in methods)]
        rounds = bench.rounds(paths, TIMED_BATCHES, (1,), TIMED_SECONDS, task.poll)
        times[part] = {batch: found for (batch, _), found in rounds.items()}
    if not times:
        return best, {}
    method, why = method_for_all(methods, list(times.values()))
    column = methods.index(method) + 1
    gains = {
        part: {batch: ratio(found[:, 0], found[:, column]) for batch, found in own.items()}
        for part, own in times.items()
    }
    notes = {part: note_of(method, own) for part, own in gains.items()}
    return method, {part: note if note.startswith(NOT) else note + why for part, note in notes.items()}


def method_for_all(methods: Sequence[str], times: Sequence[Mapping[int, Times]]) -> tuple[str, str]:
    """Return the method of int8 for all parts, and why, in words; of several methods, in the order of METHODS.

    Args:
        times: of each part, by rows of a call, ``[rounds, 1 + methods]``, float32 first.
    """
    if len(methods) == 1:
        return methods[0], f"; {DEPENDENT}" if methods[0] == "dynamic" else ""
    every = [found for own in times for found in own.values()]
    static, dynamic = (mean([ratio(found[:, 0], found[:, column]) for found in every]) for column in (1, 2))
    second = mean([ratio(found[:, 1], found[:, 2]) for found in every])
    if second.low >= CLEARLY:
        return "dynamic", f"; static is clearly slower, by {second.text}, but {DEPENDENT}"
    if dynamic.verdict == "faster" and static.verdict not in ("faster", "busy"):
        return "dynamic", f"; static is not faster than float32, but {DEPENDENT}"
    if second.verdict == "faster":
        return "static", f"; dynamic is {second.text} as fast, but {DEPENDENT}"
    return "static", ""


def note_of(method: str, gains: Mapping[int, Ratio]) -> str:
    """Return how fast a file is, from its ``gains`` by rows of a call.

    It begins with :data:`NOT` where the file is not known to be faster than float32.
    """
    over_all = mean(list(gains.values()))
    if over_all.verdict == "busy":
        return f"{NOT}, {BUSY}; `aecompress export RUN --variants int8` times it again, `--int8 always` keeps it"
    speed = " and ".join(f"{compared_to_float32(gain)} at batch {batch}" for batch, gain in gains.items())
    note = f"{method} is {speed} (one thread, {bench.machine()['architecture']})"
    return note if over_all.verdict == "faster" else f"{NOT}, {note}; `--int8 always` keeps it"


def compared_to_float32(gain: Ratio) -> str:
    """Return how many times as fast as float32, in words."""
    words = {"same": "as fast as float32", "busy": f"({BUSY})"}
    return words.get(gain.verdict, f"{gain.text} float32")
