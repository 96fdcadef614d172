"""``PART.packed.onnx``: the zeros cost almost nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aecompress.deploy import graph, pack, rounding
from aecompress.deploy.compact import Chain
from aecompress.deploy.forms import Packed
from aecompress.deploy.graph import PARTS
from aecompress.deploy.grid import VALUES
from aecompress.deploy.variants.base import Outcome, Request, Source, agreed, fed, loss_with, put, too_much
from aecompress.deploy.variants.scorer import Form, scorer_of
from aecompress.polling import Poll


@dataclass(frozen=True)
class Attempt:
    """The parts of a model in some form of values."""

    values: str
    forms: Mapping[str, Mapping[str, Packed]]
    """By part and tensor."""
    chains: Mapping[str, Chain]
    """What they stand for."""
    worse: float
    """Largest rise of a part's loss, as a share."""


def packed(folder: Path, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Write ``PART.packed.onnx``, in the smallest values that lose no more than allowed, where it is smaller."""
    exact = {part: loss_with(source, part, chain, request.metric) for part, chain in source.chains.items()}
    attempt = cache(lambda values: attempted(source, request.metric, exact, values, poll))
    values = request.values
    if values == "smallest":
        values = coarsest(lambda values: fits(attempt(values), request, outcome))
    found = attempt(values)
    if found.worse > request.allowed and values != "float32":
        outcome.leave_out("packed", too_much(f"packed, values {values}", found.worse, request, cure=True))
        return
    for part, chain in source.chains.items():
        name, plain = f"{part}.packed.onnx", folder / f"{part}.onnx"
        path = put(folder / name, chain, part, request, graph.gemm(pack.stored(found.forms[part])), values)
        size, plain_size = path.stat().st_size, plain.stat().st_size
        if size >= plain_size:
            path.unlink()
            outcome.leave_out("packed", f"{name}: not kept, {size:,} bytes; {plain.name} has {plain_size:,}")
            continue
        outcome.checks += agreed(path, found.chains[part], source, request, part, poll)
        outcome.files[f"{part}-packed"] = name
    outcome.notes.append(f"packed: values {values}, the loss changes {found.worse:+.2%}")
    if "autoencoder-packed" in outcome.files:
        product, near = graph.gemm(pack.stored(found.forms["autoencoder"])), found.chains["autoencoder"]
        form = Form("packed", values, source.chains["autoencoder"], product, near)
        scorer_of(folder, form, source, request, outcome, poll)


def attempted(source: Source, metric: str, exact: Mapping[str, float], values: str, poll: Poll) -> Attempt:
    """Return the parts of a model in the form ``values``, and how much worse than ``exact`` their losses are."""
    forms = {}
    for part, chain in source.chains.items():
        poll()
        near, grids = rounding.compensated(chain, fed(source, part), values)
        forms[part] = pack.pack_all(near, values, grids)
    chains = {part: pack.restored(chain, forms[part]) for part, chain in source.chains.items()}
    losses = {part: loss_with(source, part, chain, metric) for part, chain in chains.items()}
    worse = max(losses[part] / max(exact[part], 1e-12) - 1 for part in PARTS)
    return Attempt(values, forms, chains, worse)


def fits(attempt: Attempt, request: Request, outcome: Outcome) -> bool:
    """Return whether the loss of an attempt is allowed; a note says where it is not."""
    allowed = attempt.worse <= request.allowed
    if not allowed:
        outcome.notes.append(too_much(f"packed, values {attempt.values}", attempt.worse, request))
    return allowed


def coarsest(allowed: Callable[[str], bool]) -> str:
    """Return the last of the values that are ``allowed``; what is coarser than a refused one is not tried.

    float32, the first, is taken where no other is allowed.
    """
    first, last = 0, len(VALUES) - 1
    while first < last:
        middle = (first + last + 1) // 2
        first, last = (middle, last) if allowed(VALUES[middle]) else (first, middle - 1)
    return VALUES[first]
