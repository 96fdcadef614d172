"""``scorer.onnx``: the reconstruction error of each row, with a threshold; and that of every other variant.

A scorer that is rounded has other errors than the plain one, so each has a threshold of its own, and, where labels were
given, figures of its own.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from aecompress.deploy import expected, graph, reference, verify
from aecompress.deploy.checkpoint import Floats, Model
from aecompress.deploy.compact import Chain
from aecompress.deploy.expected import Expectations, score_metric
from aecompress.deploy.graph import Product, Scorer
from aecompress.deploy.session import LARGEST_BATCH, load, run_batches
from aecompress.deploy.variants.base import Outcome, Request, Source, about
from aecompress.files import write_bytes
from aecompress.polling import Poll


class Form(NamedTuple):
    """How a variant stores and computes the autoencoder."""

    name: str
    """Of its files, such as packed."""
    values: str
    """What it rounds, for the metadata."""
    chain: Chain
    """What it is written from."""
    product: Product
    exact: Chain | None
    """What it computes in float32; None: it computes in eight bits."""


def scorer(folder: Path, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Write ``scorer.onnx``: the reconstruction error of each row, with a threshold in its metadata."""
    form = Form("", "float32", source.chains["autoencoder"], graph.gemm(graph.plain), None)
    path = put(folder / "scorer.onnx", form, source, request, outcome, poll)
    cases = cases_of(expected.scored(source.expected, request.metric), request)
    outcome.checks += verify.verify_file(path, source.model, cases, request.tolerance, poll, "scorer")
    outcome.files["scorer"] = path.name


def scorer_of(folder: Path, form: Form, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Write the scorer of a variant, ``scorer.NAME.onnx``, where scorers are requested and it loses no more than is
    allowed.

    Its threshold is of its own errors on training rows, and its figures of its own scores.
    """
    if "scorer" not in request.variants:
        return
    poll()
    kind, exact = score_metric(request.metric), expected.scored(source.expected, request.metric)
    right = float(reference.row_losses(kind, reference.reconstruct(source.model, source.rows)[1], source.rows).mean())
    trial = Outcome()
    path = put(folder / f"scorer.{form.name}.onnx", form, source, request, trial, poll)
    lost = verify.no_worse(path, source.model, source.rows, kind, request.allowed, right)
    if not lost.passed:
        outcome.notes.append(f"{path.name}: not kept, {lost.detail}")
        path.unlink()
        return
    if form.exact is None:
        checks = verify.rounded_file(path, cases_of(exact, request), request.tolerance, poll, "scorer")
    else:
        near = expected.rounded({"autoencoder": source.expected["autoencoder"]}, {"autoencoder": form.exact})
        cases = cases_of(expected.scored(near, request.metric), request)
        nameless = replace(source.model, tensors={})
        checks = verify.verify_file(path, nameless, cases, request.tolerance, poll, "scorer")
    outcome.checks += [lost, *checks]
    outcome.files[f"scorer-{form.name.replace('.', '-')}"] = path.name
    outcome.notes += trial.notes
    if source.labelled is not None:
        found = source.labelled.figures(scores(path, path.read_bytes(), source.labelled.rows, request, poll))
        outcome.metrics |= {f"{name}_{form.name.replace('.', '_')}": value for name, value in found.items()}
        outcome.notes[-1] += "".join(f"; {name.replace('_', ' ')} {value:.4f}" for name, value in found.items())


def put(path: Path, form: Form, source: Source, request: Request, outcome: Outcome, poll: Poll) -> Path:
    """Write one scorer, with a threshold of its own errors in its metadata, and a note; return its path."""
    kind = score_metric(request.metric)
    proto = graph.build(
        form.chain,
        "autoencoder",
        request.opset,
        about(request, form.values),
        product=form.product,
        scaling=request.scaling,
        scorer=Scorer(kind),
    )
    errors = scores(path, proto.SerializeToString(), source.training, request, poll)
    threshold = float(np.quantile(errors.astype(np.float64), request.quantile))
    given = {entry.key: entry.value for entry in proto.metadata_props} | {
        "aecompress.score": kind,
        "aecompress.threshold": f"{threshold:.9g}",
        "aecompress.threshold.quantile": f"{request.quantile:g}",
    }
    onnx.helper.set_model_props(proto, dict(sorted(given.items())))
    write_bytes(path, proto.SerializeToString(deterministic=True))
    outcome.notes.append(
        f"{path.name}: {kind} of a row; {request.quantile:.2%} of the training rows are at or below {threshold:.6g}"
    )
    return path


def scores(path: Path, data: bytes, rows: Floats, request: Request, poll: Poll) -> NDArray[np.float32]:
    """Return what the scorer ``data``, which is to be ``path``, gives for scaled ``rows`` ``[N, *shape]``: ``[N]``."""
    runner, found = load(path, data, 1), []
    for first in range(0, len(rows), LARGEST_BATCH):
        poll()
        given = rows[first : first + LARGEST_BATCH]
        given = given if request.scaling is None else request.scaling.raw(given)
        found.append(run_batches(path, runner, given, LARGEST_BATCH))
    return np.concatenate(found)


def cases_of(given: Expectations, request: Request) -> Expectations:
    """Return what a scorer is expected to give, for rows as the file takes them."""
    return given if request.scaling is None else expected.unscaled(given, request.scaling)


def row_errors(model: Model, rows: Floats, kind: str) -> NDArray[np.float64]:
    """Return the reconstruction error of each row ``[N]``."""
    return reference.row_losses(kind, reference.reconstruct(model, rows)[1], rows)
