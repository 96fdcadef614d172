"""``PART.int8.onnx``: eight-bit arithmetic, where it is faster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aecompress.deploy import bench, expected, quantize, rounding, verify
from aecompress.deploy.latency import Times, ratio
from aecompress.deploy.variants.base import Outcome, Request, Source, fed, loss_with, put
from aecompress.intervals import BUSY, Ratio, mean
from aecompress.polling import Poll

TIMED_BATCHES = (1, 64)


TIMED_SECONDS = 0.1
"""The most for each file and batch."""


def int8(folder: Path, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Write ``PART.int8.onnx``, static or dynamic, whichever is faster, where it is faster than the plain file."""
    cases = source.expected if request.scaling is None else expected.unscaled(source.expected, request.scaling)
    at_least = replace(request, opset=max(request.opset, quantize.MIN_OPSET))
    for part, chain in source.chains.items():
        near, grids = rounding.compensated(chain, fed(source, part), "int7")
        seen = quantize.ranges(near, fed(source, part))
        right = loss_with(source, part, chain, request.metric)
        candidates = {}
        for method, product in quantize.METHODS.items():
            path = folder / f"{part}.int8-{method}.onnx"
            put(path, near, part, at_least, product(seen, grids), f"int8 {method}")
            check = verify.no_worse(path, source.model, source.rows, request.metric, request.allowed, right)
            if check.passed:
                candidates[path] = (method, check)
            else:
                outcome.notes.append(f"{part}.int8.onnx, {method}: not kept, {check.detail}")
                path.unlink()
        if not candidates:
            continue
        paths = [folder / f"{part}.onnx", *candidates]
        times = bench.rounds(paths, TIMED_BATCHES, (1,), TIMED_SECONDS, poll)
        chosen, note = faster_method(
            [method for method, _ in candidates.values()], {batch: found for (batch, _), found in times.items()}
        )
        outcome.notes.append(f"{part}.int8.onnx: {note}")
        for path, (method, check) in candidates.items():
            if method != chosen:
                path.unlink()
                continue
            final = path.replace(folder / f"{part}.int8.onnx")
            outcome.checks += [
                replace(check, name=f"{final.name} loss"),
                *verify.rounded_file(final, cases, request.tolerance, poll, part),
            ]
            outcome.files[f"{part}-int8"] = final.name


def faster_method(methods: Sequence[str], times: Mapping[int, Times]) -> tuple[str | None, str]:
    """Return the method of int8 that is faster than float32, None where none is known to be; and a note.

    Args:
        methods: in the order of METHODS.
        times: by rows of a call, ``[rounds, 1 + methods]``, float32 first.
    """
    gains = {
        method: [ratio(found[:, 0], found[:, column]) for found in times.values()]
        for column, method in enumerate(methods, start=1)
    }
    over_all = {method: mean(each) for method, each in gains.items()}
    winners = [method for method in methods if over_all[method].verdict == "faster"]
    if not winners and any(one.verdict == "busy" for one in over_all.values()):
        return None, f"not kept, {BUSY}; `aecompress export RUN --variants int8` times it again"
    chosen, why = max(methods, key=lambda method: over_all[method].middle), ""
    if len(winners) == 1:
        chosen = winners[0]
    elif winners:
        chosen, why = of_two(winners, mean([ratio(found[:, 1], found[:, 2]) for found in times.values()]))
    speed = " and ".join(
        f"{compared_to_float32(gain)} at batch {batch}" for gain, batch in zip(gains[chosen], times, strict=True)
    )
    return chosen if winners else None, (
        f"{'' if winners else 'not kept, '}{chosen} is {speed} (one thread, {bench.machine()['architecture']}){why}"
    )


def of_two(methods: Sequence[str], second: Ratio) -> tuple[str, str]:
    """Return the one of two methods to keep, and why: the first unless the ``second`` is known to be faster.

    The first is static, with which a row's result does not depend on the rows beside it.
    """
    reason = f"{methods[0]} treats each row apart"
    if second.verdict == "same":
        return methods[0], f"; {methods[1]} is as fast, but {reason}"
    if second.verdict == "busy":
        return methods[0], f"; whether {methods[1]} is faster: {BUSY}; {reason}"
    return methods[second.verdict == "faster"], ""


def compared_to_float32(gain: Ratio) -> str:
    """Return how many times as fast as float32, in words."""
    words = {"same": "as fast as float32", "busy": f"({BUSY})"}
    return words.get(gain.verdict, f"{gain.text} float32")
