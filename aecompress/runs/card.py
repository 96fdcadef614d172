"""The model's card: what it is, what it scores, what it takes, how to run it."""

from __future__ import annotations

from importlib import metadata

from aecompress import events
from aecompress.data.dataset import Dataset
from aecompress.deploy import measure, verify
from aecompress.deploy.checkpoint import Model
from aecompress.nets.losses import LOSSES
from aecompress.runs.metrics import split_of
from aecompress.spec.fields import RunSpec, metric_of

DENSE = "dense"
"""What the table calls the model of the same shape with no weight zero."""


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
        f"`{DENSE}` is the same network with no weight zero; the loss is the {metric_of(spec.train.loss)} of "
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
