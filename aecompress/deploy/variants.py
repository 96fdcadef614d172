"""The files beside the three plain ones: packed, float16, int8, scorer, sparse weights; each kept only where it pays.

A variant that loses more than allowed, or an int8 file that is not faster here, is not kept, and a note says why.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from aecompress.deploy import bench, expected, graph, pack, quantize, reference, rounding, verify
from aecompress.deploy.checkpoint import Floats, Model, torch_tensors
from aecompress.deploy.compact import Chain, run
from aecompress.deploy.expected import Expectations
from aecompress.deploy.graph import PARTS, Affine, Scorer
from aecompress.deploy.latency import Times, ratio
from aecompress.deploy.sparse import load_sparse, save_sparse
from aecompress.deploy.verify import Check
from aecompress.files import write_bytes
from aecompress.intervals import BUSY, Ratio, mean
from aecompress.polling import Poll
from aecompress.registry import VARIANTS

TIMED_BATCHES = (1, 64)
TIMED_SECONDS = 0.1
"""The most for each file and batch."""
CALIBRATION_ROWS = 4096


@dataclass(frozen=True)
class Request:
    """What is to be written, and how well it must agree."""

    opset: int
    metadata: Mapping[str, str]
    metric: str
    values: str
    """One of pack.VALUES, or smallest: that loses no more than allowed."""
    allowed: float
    """Largest rise of the loss by rounding, as a share."""
    tolerance: float
    scaling: Affine | None
    """Put into the graphs; None: files take scaled rows."""
    quantile: float
    """Share of training rows whose error lies below the scorer's threshold."""


@dataclass
class Outcome:
    """What was written and what was not."""

    checks: list[Check] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Kind -> file name, of those kept."""
    notes: list[str] = field(default_factory=list)
    """A sentence for each choice."""


@dataclass(frozen=True)
class Source:
    """What every variant is made from."""

    model: Model
    chains: Mapping[str, Chain]
    expected: Expectations
    """Of the model on scaled rows."""
    rows: Floats
    """Scaled rows ``[N, *shape]`` that losses are evaluated on."""
    training: Floats
    """Scaled training rows, for calibration and the threshold."""


Writer = Callable[[Path, Source, Request, Outcome, Poll], None]
"""Writes a variant into a folder and verifies it; adds its files and checks, or why it is not kept, to the outcome."""


def write(folder: Path, requested: tuple[str, ...], source: Source, request: Request, poll: Poll) -> Outcome:
    """Write the ``requested`` variants into ``folder``, beside the plain files, verify them, keep what is worth it."""
    outcome = Outcome()
    for name, row in VARIANTS.items():
        if name in requested:
            poll()
            writer: Writer = pkgutil.resolve_name(row.write)
            writer(folder, source, request, outcome, poll)
    return outcome


def rounded(chain: Chain, change: Callable[[Floats], Floats]) -> Chain:
    """Return the chain with every tensor put through ``change``."""
    layers = tuple(replace(one, weight=change(one.weight), bias=change(one.bias)) for one in chain.layers)
    return replace(chain, layers=layers)


def loss_with(source: Source, part: str, chain: Chain, name: str) -> float:
    """Return the mean loss of reconstruction when ``part`` of the model is ``chain``."""
    rows = source.rows
    if part == "encoder":
        out = reference.run(source.model.decoder, source.model.tensors, run(chain, rows))
    elif part == "decoder":
        out = run(chain, reference.run(source.model.encoder, source.model.tensors, rows).astype(np.float32))
    else:
        out = run(chain, rows)
    return float(reference.LOSSES[name](out, rows.astype(np.float64)).mean())


def fed(source: Source, part: str) -> Floats:
    """Return some training rows, or their latent codes, as ``part`` gets them."""
    sample = source.training[:: max(1, len(source.training) // CALIBRATION_ROWS)]
    if part != "decoder":
        return sample
    return reference.run(source.model.encoder, source.model.tensors, sample).astype(np.float32)


def put(path: Path, chain: Chain, part: str, request: Request, product: graph.Product, values: str) -> Path:
    """Write one file with rounded ``values``, which its metadata name; return its path."""
    about = dict(request.metadata) | ({graph.ROUNDED_KEY: values} if values != "float32" else {})
    proto = graph.build(chain, part, request.opset, about, product=product, scaling=request.scaling)
    write_bytes(path, proto.SerializeToString(deterministic=True))
    return path


def agreed(path: Path, chain: Chain, source: Source, request: Request, part: str, poll: Poll) -> list[Check]:
    """Check a float32 graph whose tensors are those of ``chain``."""
    cases = expected.rounded({part: source.expected[part]}, {part: chain})
    if request.scaling is not None:
        cases = expected.unscaled(cases, request.scaling)
    return verify.verify_file(path, replace(source.model, tensors={}), cases, request.tolerance, poll, part)


def packed(folder: Path, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Write ``PART.packed.onnx``, in the smallest values that lose no more than allowed."""
    exact = {part: loss_with(source, part, chain, request.metric) for part, chain in source.chains.items()}
    tried = (request.values,) if request.values != "smallest" else tuple(reversed(pack.VALUES))
    for form in tried:
        forms = {}
        for part, chain in source.chains.items():
            poll()
            near, grids = rounding.compensated(chain, fed(source, part), form)
            forms[part] = pack.pack_all(near, form, grids)
        chains = {part: pack.restored(chain, forms[part]) for part, chain in source.chains.items()}
        losses = {part: loss_with(source, part, chain, request.metric) for part, chain in chains.items()}
        worst = max(losses[part] / max(exact[part], 1e-12) - 1 for part in PARTS)
        if worst <= request.allowed or form == "float32":
            break
        outcome.notes.append(too_much(f"packed, values {form}", worst, request))
    else:
        return
    for part, chain in source.chains.items():
        name = f"{part}.packed.onnx"
        path = put(folder / name, chain, part, request, graph.gemm(pack.stored(forms[part])), form)
        outcome.checks += agreed(path, chains[part], source, request, part, poll)
        outcome.files[f"{part}-packed"] = name
    outcome.notes.append(f"packed: values {form}, the loss changes {worst:+.2%}")


def too_much(name: str, worse: float, request: Request) -> str:
    """Return why a rounded variant is not kept."""
    return f"{name}: not kept, the loss changes {worse:+.2%}, allowed +{request.allowed:.2%}"


def fp16(folder: Path, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Write ``PART.fp16.onnx``: weights stored in half the bytes, computed in float32."""
    chains = {
        part: rounded(chain, lambda tensor: tensor.astype(np.float16).astype(np.float32))
        for part, chain in source.chains.items()
    }
    worst = 0.0
    for part, chain in source.chains.items():
        right = loss_with(source, part, chain, request.metric)
        worst = max(worst, loss_with(source, part, chains[part], request.metric) / max(right, 1e-12) - 1)
    if not worst <= request.allowed:
        outcome.notes.append(too_much("fp16", worst, request))
        return
    for part, chain in source.chains.items():
        name = f"{part}.fp16.onnx"
        path = put(folder / name, chain, part, request, graph.gemm(graph.half), "float16")
        outcome.checks += agreed(path, chains[part], source, request, part, poll)
        outcome.files[f"{part}-fp16"] = name
    outcome.notes.append(f"fp16: the loss changes {worst:+.2%}")


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


def scorer(folder: Path, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Write ``scorer.onnx``: the reconstruction error of each row, with a threshold in its metadata."""
    chain, kind = source.chains["autoencoder"], score_metric(request.metric)
    errors = row_errors(source.model, source.training, kind)
    threshold = float(np.quantile(errors, request.quantile))
    about = {
        **request.metadata,
        "aecompress.score": kind,
        "aecompress.threshold": f"{threshold:.9g}",
        "aecompress.threshold.quantile": f"{request.quantile:g}",
    }
    proto = graph.build(chain, "autoencoder", request.opset, about, scaling=request.scaling, scorer=Scorer(kind))
    path = folder / "scorer.onnx"
    write_bytes(path, proto.SerializeToString(deterministic=True))
    cases = expected.scored(source.expected, kind)
    if request.scaling is not None:
        cases = expected.unscaled(cases, request.scaling)
    outcome.checks += verify.verify_file(path, source.model, cases, request.tolerance, poll, "scorer")
    outcome.files["scorer"] = path.name
    outcome.notes.append(
        f"scorer.onnx: {kind} of a row; {request.quantile:.2%} of the training rows are at or below {threshold:.6g}"
    )


def score_metric(name: str) -> str:
    """Return the metric that a scorer reports: the run's where it is l1, else mse."""
    return "l1" if name == "l1" else "mse"


def row_errors(model: Model, rows: Floats, kind: str) -> np.ndarray:
    """Return the reconstruction error of each row ``[N]``."""
    return reference.row_losses(kind, reference.reconstruct(model, rows)[1], rows)


def sparse(folder: Path, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Write ``model.sparse.safetensors``: all weights in their original shapes, without the zeros."""
    path = folder / "model.sparse.safetensors"
    tensors = torch_tensors(source.model)
    save_sparse(path, tensors)
    loaded = load_sparse(path)
    wrong = [name for name in tensors if name not in loaded or not np.array_equal(loaded[name], tensors[name])]
    outcome.checks.append(
        Check(f"{path.name} rebuilds", not wrong, ", ".join(wrong) or f"{len(loaded)} tensors, bit for bit")
    )
    outcome.files["sparse-weights"] = path.name
