"""``PART.int8.onnx``: eight-bit arithmetic, where it is faster; and the same in few bytes, ``PART.int8.packed.onnx``.

All parts are of one kind. It is static, with which a row's result is its own, unless static files lose too much or are
not known to be faster than float32 where dynamic ones are, or dynamic ones are clearly faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from aecompress.deploy import bench, expected, quantize, rounding, verify
from aecompress.deploy.compact import Chain
from aecompress.deploy.graph import Product
from aecompress.deploy.latency import Times, ratio
from aecompress.deploy.pack import Grid
from aecompress.deploy.variants.base import Outcome, Request, Source, fed, loss_with, put
from aecompress.deploy.variants.scorer import Form, scorer_of
from aecompress.deploy.verify import Check
from aecompress.intervals import BUSY, Ratio, mean
from aecompress.polling import Poll

TIMED_BATCHES = (1, 64)
TIMED_SECONDS = 0.1
"""The most for each file and batch."""
CLEARLY = 1.25
"""How many times as fast as static files dynamic ones must be, at least, to be taken."""
DEPENDENT = "with dynamic ranges a row's result depends on the rows of its call"
NOT = "not kept"
GainsOf = Mapping[int, Ratio]
"""By rows of a call: how many times as fast as float32."""


class Eight(NamedTuple):
    """A part whose weights lie on grids of whole numbers."""

    chain: Chain
    grids: Mapping[str, Grid]
    seen: Mapping[str, quantize.Range]
    """What each layer reads on training rows."""

    def product(self, method: str) -> Product:
        """Return the product of a method of :data:`quantize.METHODS`."""
        return quantize.METHODS[method](self.seen, self.grids)


class Trial(NamedTuple):
    """A file that was written, and whether it loses no more than allowed."""

    path: Path
    loss: Check


def int8(folder: Path, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Write ``PART.int8.onnx`` where it pays, and its scorer."""
    if request.int8 == "never":
        outcome.notes.append("int8: left out, because export.int8 is never")
        return
    eights = {part: eight(source, part, "int7") for part in source.chains}
    methods = ["static"] if request.int8 == "always" else list(quantize.METHODS)
    trials = {method: tried(folder, source, request, eights, method, poll) for method in methods}
    for method, each in trials.items():
        for part, trial in each.items():
            if not trial.loss.passed:
                outcome.notes.append(f"{part}.int8.onnx, {method}: {NOT}, {trial.loss.detail}")
    method, notes = chosen(folder, trials, request, poll)
    for part, trial in trials[method].items():
        if part not in notes:
            continue
        outcome.notes.append(f"{part}.int8.onnx: {notes[part]}")
        if not notes[part].startswith(NOT):
            keep(trial, part, source, request, outcome, poll)
    for each in trials.values():
        for trial in each.values():
            trial.path.unlink(missing_ok=True)
    if "autoencoder-int8" in outcome.files:
        own = eights["autoencoder"]
        form = Form("int8", f"int8 {method}", own.chain, own.product(method), None)
        scorer_of(folder, form, source, request, outcome, poll)


def eight(source: Source, part: str, values: str) -> Eight:
    """Return a part with its weights on the grids of ``values``."""
    sample = fed(source, part)
    near, grids = rounding.compensated(source.chains[part], sample, values)
    return Eight(near, grids, quantize.ranges(near, sample))


def tried(
    folder: Path, source: Source, request: Request, eights: Mapping[str, Eight], method: str, poll: Poll
) -> dict[str, Trial]:
    """Write each part by a ``method``, under a name that says so, and compare its loss."""
    found = {}
    for part, own in eights.items():
        poll()
        path = folder / f"{part}.int8-{method}.onnx"
        put(path, own.chain, part, request, own.product(method), f"int8 {method}")
        right = loss_with(source, part, source.chains[part], request.metric)
        found[part] = Trial(
            path, verify.no_worse(path, source.model, source.rows, request.metric, request.allowed, right)
        )
    return found


def keep(trial: Trial, part: str, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Give a file its name, and verify it."""
    final = trial.path.replace(trial.path.with_name(f"{part}.int8.onnx"))
    cases = source.expected if request.scaling is None else expected.unscaled(source.expected, request.scaling)
    outcome.checks += [
        replace(trial.loss, name=f"{final.name} loss"),
        *verify.rounded_file(final, cases, request.tolerance, poll, part),
    ]
    outcome.files[f"{part}-int8"] = final.name


def chosen(
    folder: Path, trials: Mapping[str, Mapping[str, Trial]], request: Request, poll: Poll
) -> tuple[str, dict[str, str]]:
    """Return the method of all parts, and a note for each that loses no more than allowed: how fast it is, or why it
    is not kept.
    """
    within = {method: [part for part, trial in each.items() if trial.loss.passed] for method, each in trials.items()}
    best = max(within, key=lambda method: len(within[method]))
    if request.int8 == "always":
        return best, dict.fromkeys(within[best], f"{best}, kept untimed, because export.int8 is always")
    methods = [method for method, parts in within.items() if parts == within[best]]
    times = {}
    for part in within[best]:
        paths = [folder / f"{part}.onnx", *(trials[method][part].path for method in methods)]
        rounds = bench.rounds(paths, TIMED_BATCHES, (1,), TIMED_SECONDS, poll)
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


def note_of(method: str, gains: GainsOf) -> str:
    """Return how fast a file is; it begins with :data:`NOT` where it is not known to be faster than float32."""
    over_all = mean(list(gains.values()))
    if over_all.verdict == "busy":
        return f"{NOT}, {BUSY}; `aecompress export RUN --variants int8` times it again, `--int8 always` keeps it"
    speed = " and ".join(f"{compared_to_float32(gain)} at batch {batch}" for batch, gain in gains.items())
    kept = "" if over_all.verdict == "faster" else f"{NOT}, "
    return f"{kept}{method} is {speed} (one thread, {bench.machine()['architecture']})"


def compared_to_float32(gain: Ratio) -> str:
    """Return how many times as fast as float32, in words."""
    words = {"same": "as fast as float32", "busy": f"({BUSY})"}
    return words.get(gain.verdict, f"{gain.text} float32")
