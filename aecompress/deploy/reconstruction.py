"""Rows reconstructed by an ONNX file, and their loss, in scaled units whichever rows the file takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from aecompress.deploy import reference
from aecompress.deploy.checkpoint import Floats, Model
from aecompress.deploy.expected import embedded, part_of, raw_rounding, seen
from aecompress.deploy.graph import PARTS, Affine
from aecompress.deploy.session import LARGEST_BATCH, run_batches, session
from aecompress.polling import Poll, no_poll


def loss_of(path: Path, model: Model, rows: Floats, metric: str, poll: Poll = no_poll) -> float:
    """Return the mean loss of reconstructing scaled ``rows`` ``[N, *shape]`` with a file as a part of the model.

    The parts that the file is not are computed by the reference. Where it takes raw rows, it is given them, and what it
    gives is scaled: losses are those of scaled rows. Of a scorer it is the mean score.
    """
    return float(row_losses_of(path, model, rows, metric, poll).mean())


def row_losses_of(path: Path, model: Model, rows: Floats, metric: str, poll: Poll = no_poll) -> NDArray[np.float64]:
    """Return the loss of each row ``[N]``, as :func:`loss_of` has its mean."""
    scaling = embedded(onnx.load(path, load_external_data=False), model)
    runner = session(path, 1)
    if part_of(runner) not in PARTS:
        given = rows if scaling is None else scaling.raw(rows)
        return run_batches(path, runner, given, LARGEST_BATCH, poll).astype(np.float64)
    return reference.row_losses(metric, reconstruction_of(path, model, rows, scaling, poll), rows)


def reconstruction_of(
    path: Path, model: Model, rows: Floats, scaling: Affine | None, poll: Poll = no_poll
) -> Floats | NDArray[np.float64]:
    """Return scaled ``rows`` ``[N, *shape]`` reconstructed, in scaled units, with a file as a part of the model."""
    runner = session(path, 1)
    part = part_of(runner)
    if part == "decoder":
        fed = reference.run(model.encoder, model.tensors, rows, np.float64, poll).astype(np.float32)
    else:
        fed = rows if scaling is None else scaling.raw(rows)
    out = run_batches(path, runner, fed, LARGEST_BATCH, poll)
    if part == "encoder":
        return reference.run(model.decoder, model.tensors, out.astype(np.float64), np.float64, poll)
    return out if scaling is None else scaling.scale(out.astype(np.float64))


def raw_noise(
    model: Model, rows: Floats, out: Floats | NDArray[np.float64], metric: str, scaling: Affine, poll: Poll
) -> float:
    """Return the most by which raw rows and raw outputs in float32 move the mean loss of ``out`` on scaled ``rows``."""
    loss, step, noise = reference.LOSSES[metric], 2 * raw_rounding(out, scaling), 0.0
    for part in reference.parts_of(rows):
        some, target = out[part].astype(np.float64, copy=False), rows[part].astype(np.float64)
        noise += float((np.maximum(loss(some + step, target), loss(some - step, target)) - loss(some, target)).sum())
    noise /= rows.size
    if not scaling.coarse:
        return noise
    near = seen(rows, scaling)
    losses = [
        reference.row_losses(metric, reference.reconstruct(model, given, poll=poll)[1], rows).mean()
        for given in (rows, near)
    ]
    return noise + 2 * float(abs(losses[1] - losses[0]))
