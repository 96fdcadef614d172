"""``scorer.onnx``: the reconstruction error of each row, with a threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aecompress.deploy import expected, graph, reference, verify
from aecompress.deploy.checkpoint import Floats, Model
from aecompress.deploy.graph import Scorer
from aecompress.deploy.variants.base import Outcome, Request, Source
from aecompress.files import write_bytes
from aecompress.polling import Poll


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
