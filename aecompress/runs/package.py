"""From a trained model to the folder a user keeps: write, compact, pack, verify, metric, rename into place."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from aecompress import events, rng
from aecompress.data.dataset import Dataset
from aecompress.data.interactions import few
from aecompress.deploy import checkpoint, graph, measure, variants, verify
from aecompress.deploy.checkpoint import Floats, Model
from aecompress.deploy.compact import chain_of
from aecompress.errors import VerifyError
from aecompress.files import write_bytes, write_text
from aecompress.runs.card import DENSE, model_card
from aecompress.runs.metrics import VERIFIED, split_of
from aecompress.spec.fields import RunSpec, metric_of

Poll = Callable[[], None]


BATCHES = (1, 64)
"""Rows of a call in the before/after table."""


SECONDS = 0.05
"""Evaluation for each file and batch."""


PLAIN_KINDS = {
    "config": "config.json",
    "weights": "model.safetensors",
    "rows": "rows.safetensors",
    "inputs": "inputs.txt",
    "encoder": "encoder.onnx",
    "decoder": "decoder.onnx",
    "autoencoder": "autoencoder.onnx",
}


@dataclass(frozen=True)
class Handed:
    """What came of it."""

    verification: verify.Verification
    files: dict[str, Path]
    compared: events.Compared | None = None
    """None where the verification failed, or the files are too large."""
    smallest: int = 0
    """Bytes of the smallest autoencoder file."""


def hand_over(
    run: Path,
    model: Model,
    dataset: Dataset,
    spec: RunSpec,
    poll: Poll,
    final: Path | None = None,
    compacted: bool = True,
    most_bytes: float = math.inf,
) -> Handed:
    """Write a model folder under a temporary name, verify it, and rename it into place only if it passed.

    Args:
        run: the run folder; a failed verification is left there.
        model: with the metrics of its run in ``about``.
        final: the model folder; None: ``model`` in the run folder.
        compacted: False: plain files with all layers as large as they were trained.
        most_bytes: of the smallest autoencoder file; where it has more, nothing is kept.
    """
    final = final or run / "model"
    temporary = final.with_name(f".{final.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    name, export = metric_of(spec.train.loss), spec.export
    split = split_of(dataset)
    rows = few(dataset.splits[split])
    checkpoint.save_model(temporary, model)
    if export.rows:
        checkpoint.save_rows(temporary / "rows.safetensors", rows[: export.rows])
    scaling = verify.affine(model) if export.embed_scaling else None
    about = {
        "aecompress.version": metadata.version("aecompress"),
        "aecompress.spec_hash": spec.hash,
        "aecompress.sparsity": f"{model.sparsity:.6f}",
    } | ({graph.SCALING_KEY: str(model.scaling["kind"])} if scaling is not None else {})
    chains = graph.chains(model, compacted)
    for part, chain in chains.items():
        proto = graph.build(chain, part, export.opset, about, scaling=scaling)
        write_bytes(temporary / f"{part}.onnx", proto.SerializeToString(deterministic=True))
    metrics = model.about["metrics"]
    loss = metrics.get(f"{VERIFIED}_{name}", metrics[f"{split}_{name}"])
    if dataset.inputs:
        write_text(temporary / "inputs.txt", "".join(f"{name}\n" for name in dataset.inputs))
    expected = verify.expectations(model, rows, poll)
    verification = verify.verify_set(
        temporary, model, rows, export.tolerance, {name: loss}, export.loss_tolerance, poll, expected
    )
    outcome = variants.Outcome()
    if verification.passed:
        source = variants.Source(model, chains, expected, rows, few(dataset.train))
        request = variants.Request(
            export.opset, about, name, export.values, export.variant_loss, export.tolerance, scaling, export.quantile
        )
        outcome = variants.write(temporary, export.variants, source, request, poll)
        verification = replace(verification, checks=verification.checks + tuple(outcome.checks))
    text = (
        json.dumps(verification.to_json() | {"variant_loss": export.variant_loss, "notes": outcome.notes}, indent=1)
        + "\n"
    )
    if not verification.passed:
        write_text(run / "verification-failed.json", text)
        shutil.rmtree(temporary)
        return Handed(verification, {})
    smallest = min(path.stat().st_size for path in temporary.glob("autoencoder*.onnx"))
    if smallest > most_bytes:
        shutil.rmtree(temporary)
        return Handed(verification, {}, None, smallest)
    write_text(temporary / "verification.json", text)
    compared = before_and_after(temporary, model, rows, name, loss, outcome, poll)
    write_text(temporary / "README.md", model_card(model, dataset, spec, verification, compared))
    # A kill between here and the end of the run leaves a model behind, which a resumed run makes again.
    shutil.rmtree(final, ignore_errors=True)
    temporary.replace(final)
    kinds = PLAIN_KINDS | outcome.files | {"verification": "verification.json", "card": "README.md"}
    files = {kind: final / name for kind, name in kinds.items() if (final / name).exists()}
    return Handed(verification, files, compared, smallest)


def over_budget(spec: RunSpec, model: Model, handed: Handed) -> str:
    """What the result takes more than it may, in words; empty where it meets its budget."""
    nonzeros = model.parameters - model.zeros
    if spec.budget.max_params and nonzeros > spec.budget.max_params:
        return (
            f"budget.max_params = {spec.budget.max_params}: {nonzeros} weights and biases are not zero; "
            "raise --target-sparsity"
        )
    files = [path for kind, path in handed.files.items() if kind == "autoencoder" or kind.startswith("autoencoder-")]
    smallest = min(files, key=lambda path: path.stat().st_size)
    if spec.budget.max_bytes and smallest.stat().st_size > spec.budget.max_bytes:
        return (
            f"budget.max_bytes = {spec.budget.max_bytes}: {smallest.name}, the smallest file asked for, has "
            f"{smallest.stat().st_size} bytes; raise --target-sparsity"
        )
    return ""


def before_and_after(
    folder: Path, model: Model, rows: Floats, name: str, loss: float, outcome: variants.Outcome, poll: Poll
) -> events.Compared:
    """The dense model of the same shape, the plain autoencoder and its variants: bytes, time, loss, non-zeros."""
    kept = ["autoencoder.onnx", *(file for kind, file in outcome.files.items() if kind.startswith("autoencoder-"))]
    dense = folder / ".dense.onnx"
    write_bytes(dense, dense_model(model))
    measured = measure.bench([dense, *(folder / file for file in kept)], BATCHES, (1,), SECONDS, poll)
    dense.unlink()
    losses = [verify.loss_of(folder / file, model, rows, name, poll) for file in kept[1:]]
    return events.Compared(
        time.time(),
        (DENSE, *kept),
        tuple(one.bytes for one in measured),
        (model.parameters, *[model.parameters - model.zeros] * len(kept)),
        (math.inf, loss, *losses),
        BATCHES,
        tuple(tuple(one.milliseconds(batch) for batch in BATCHES) for one in measured),
        tuple(outcome.notes),
    )


def dense_model(model: Model) -> bytes:
    """The autoencoder of the same layers with no weight zero: what there would be without pruning."""
    draws = rng.host(0, "dense-weights")
    tensors = {
        key: (draws.standard_normal(tensor.shape) / max(tensor.shape[-1], 1) ** 0.5).astype(np.float32)
        for key, tensor in model.tensors.items()
    }
    return bytes(graph.build(chain_of(model.layers, tensors), "autoencoder", 18, {}).SerializeToString())


def unverified(handed: Handed) -> VerifyError:
    """What a run says whose files are wrong."""
    fault = handed.verification.first_failure
    return VerifyError(f"the exported model is not the trained one: {fault}; no model was left")
