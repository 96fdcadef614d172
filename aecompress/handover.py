"""From a trained model to the folder a user keeps: write, compact, pack, verify, measure, rename into place."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from aecompress import events, rng
from aecompress.data.dataset import Dataset
from aecompress.data.interactions import few
from aecompress.deploy import checkpoint, graph, measure, pack, variants, verify
from aecompress.deploy.checkpoint import Floats, LayerShape, Model
from aecompress.deploy.compact import chain_of, compact
from aecompress.errors import SpecError
from aecompress.evolve.select import most_unit_zeros, most_zeros
from aecompress.files import write_bytes, write_text
from aecompress.nets.autoencoder import Autoencoder
from aecompress.nets.losses import LOSSES
from aecompress.recipe import FROM_DATA
from aecompress.spec import ExportSpec, Resolved, RunSpec, measure_of, override

Poll = Callable[[], None]
BATCHES = (1, 64)
"""Rows of a call in the before/after table."""
SECONDS = 0.05
"""Measured for each file and batch."""
DENSE = "dense"
METADATA_BYTES = 200
"""What a file's own description takes, at most."""
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


VERIFIED = "verified"
"""Names the loss on the few rows that stand for a sparse set when files are verified and compared."""


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
    name, export = measure_of(spec.train.loss), spec.export
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


def within_budget(
    resolved: Resolved, net: Autoencoder, encoder: tuple[LayerShape, ...], decoder: tuple[LayerShape, ...]
) -> Resolved:
    """The spec with the target sparsity that its budget needs, unless a target was asked for.

    Raises:
        SpecError: no sparsity meets the budget.
    """
    spec, size = resolved.spec, net.model_size
    if not (spec.budget.max_params or spec.budget.max_bytes) or resolved.sources["prune.target_sparsity"] != FROM_DATA:
        return resolved
    needed = max(0.0, 1 - spec.budget.max_params / size) if spec.budget.max_params else 0.0
    if spec.budget.max_bytes:
        limit = spec.budget.max_bytes

        units = spec.prune.granularity == "unit"

        def fits(sparsity: float) -> bool:
            return bytes_at(sparsity, encoder, decoder, spec.export, units) <= limit

        most = (most_unit_zeros(net) if units else most_zeros(net)) / size
        if not fits(most):
            cure = "ask for --variants packed" if "packed" not in spec.export.variants else "allow more"
            raise SpecError(f"budget.max_bytes = {limit}: not even {most:.1%} zeros bring this network there; {cure}")
        low = needed
        if not fits(low):
            high = most
            for _ in range(12):
                middle = (low + high) / 2
                low, high = (low, middle) if fits(middle) else (middle, high)
            needed = high
    return override(resolved, "prune.target_sparsity", needed, "from the budget")


def bytes_at(
    sparsity: float, encoder: tuple[LayerShape, ...], decoder: tuple[LayerShape, ...], export: ExportSpec, units: bool
) -> int:
    """About the bytes of the smallest autoencoder file asked for, at some sparsity.

    Random weights with zeros spread evenly stand for the model: any other spread has less entropy.
    """
    tensors = likeness(sparsity, encoder, decoder, units)
    size = sum(tensor.size for tensor in tensors.values())
    low, high = 0.0, 1.0
    for _ in range(10 if units else 0):  # the share of units that comes to this share of weights
        share = (low + high) / 2
        tensors = likeness(share, encoder, decoder, units)
        zeros = size - sum(int(np.count_nonzero(tensor)) for tensor in tensors.values())
        low, high = (share, high) if zeros < sparsity * size else (low, share)
    return file_bytes(encoder + decoder, tensors, export)


def file_bytes(layers: tuple[LayerShape, ...], tensors: Mapping[str, Floats], export: ExportSpec) -> int:
    """About the bytes of the smallest autoencoder file asked for; packed values chosen by their loss count as int8."""
    chain = compact(chain_of(layers, tensors))
    values = "int8" if export.values == "smallest" else export.values
    products = [graph.gemm(graph.plain)]
    if "fp16" in export.variants:
        products.append(graph.gemm(graph.half))
    if "packed" in export.variants:
        products.append(graph.gemm(pack.stored(pack.pack_all(chain, values))))
    files = [graph.build(chain, "autoencoder", export.opset, {}, product) for product in products]
    return min(len(file.SerializeToString()) for file in files) + METADATA_BYTES


def likeness(
    share: float, encoder: tuple[LayerShape, ...], decoder: tuple[LayerShape, ...], units: bool
) -> dict[str, Floats]:
    """Random tensors of the layers with a ``share`` of the weights zero, or of the hidden units without weights."""
    draws = rng.host(0, "budget-weights")
    ends = (encoder[-1].name, decoder[-1].name)
    before, tensors = np.ones(encoder[0].inputs, bool), {}
    for layer in encoder + decoder:
        gone = round(share * layer.outputs) if units and layer.name not in ends else 0
        after = np.arange(layer.outputs) >= gone
        mask = np.outer(after, before) if units else draws.random((layer.outputs, layer.inputs)) >= share
        tensors[layer.name + ".weight"] = (draws.standard_normal(mask.shape) * mask).astype(np.float32)
        tensors[layer.name + ".bias"] = (draws.standard_normal(layer.outputs) * after).astype(np.float32)
        before = after
    return tensors


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


def split_of(dataset: Dataset) -> str:
    """The rows that files are verified and compared on."""
    return next(name for name in ("test", "validation", "train") if name in dataset.splits)


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


def detection(model: Model, dataset: Dataset, name: str) -> dict[str, float]:
    """How well the reconstruction error tells the labelled anomalies of the test rows: AUROC, average precision."""
    if dataset.labels is None:
        return {}
    from sklearn.metrics import average_precision_score, roc_auc_score

    errors = variants.row_errors(model, few(dataset.test), variants.score_measure(name))
    return {
        "test_auroc": float(roc_auc_score(dataset.labels, errors)),
        "test_average_precision": float(average_precision_score(dataset.labels, errors)),
    }


def model_card(
    model: Model,
    dataset: Dataset,
    spec: RunSpec,
    verification: verify.Verification,
    compared: events.Compared,
) -> str:
    """The model's README: what it is, what it scores, what it takes, how to run it."""
    metrics = model.about["metrics"]
    measures = [one for one in LOSSES if f"train_{one}" in metrics]
    sizes = [model.layers[0].inputs, *(layer.outputs for layer in model.layers)]
    here = measure.machine()
    rows = compared.words()
    takes = "raw rows" if spec.export.embed_scaling else "rows scaled as config.json says: (raw - offset) / divisor"
    lines = [
        f"# Autoencoder {'-'.join(map(str, sizes))} for {dataset.name}",
        "",
        f"{model.zeros:,} of {model.parameters:,} weights and biases are zero ({model.sparsity:.2%}). "
        f"The ONNX files agree with the trained weights to {verification.max_difference:.1e} "
        f"({len(verification.checks)} checks in verification.json).",
        "",
        "| split | " + " | ".join(measures) + " |",
        "|---|" + "---|" * len(measures),
    ]
    for part in dataset.splits:
        lines.append(f"| {part} | " + " | ".join(f"{metrics[f'{part}_{m}']:.6f}" for m in measures) + " |")
    if "test_auroc" in metrics:
        lines += [
            "",
            f"Anomalies among the test rows, told by the reconstruction error: AUROC {metrics['test_auroc']:.4f}, "
            f"average precision {metrics['test_average_precision']:.4f}.",
        ]
    lines += [
        "",
        "## Before and after",
        "",
        *("| " + " | ".join(row) + " |" for row in rows[:1]),
        "|" + "---|" * len(rows[0]),
        *("| " + " | ".join(row) + " |" for row in rows[1:]),
        "",
        f"`{DENSE}` is the same network with no weight zero; the loss is the {measure_of(spec.train.loss)} of "
        f"{split_of(dataset)} rows. Median time of a call in onnxruntime "
        f"{here['onnxruntime']}, one thread, {here['processor']}, {here['architecture']}; another kind of machine may "
        "rank them otherwise: `aecompress bench FILES` measures there.",
        *(["", *(f"- {note}" for note in compared.notes)] if compared.notes else []),
        "",
        "## How to run it",
        "",
        f"Inputs are {takes}. `input` -> `latent` (encoder.onnx), "
        "`latent` -> `reconstruction` (decoder.onnx), `input` -> `reconstruction` (autoencoder.onnx); any batch size.",
        "",
        f"Made with aecompress {metadata.version('aecompress')}, spec {spec.hash}, seed {spec.seed}.",
    ]
    return "\n".join(lines) + "\n"
