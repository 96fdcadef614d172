"""The model folder: written under a temporary name, verified, compared with the dense model, renamed into place."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path

import numpy as np

from aecompress import events, rng
from aecompress.data.dataset import Dataset
from aecompress.data.raw import described
from aecompress.data.scaling import Scaling
from aecompress.data.sparse import Rows, few, sample, whole
from aecompress.deploy import bench, checkpoint, expected, graph, verify
from aecompress.deploy.checkpoint import Floats, Model
from aecompress.deploy.compact import Chain, chain_of
from aecompress.deploy.inspection import thresholds
from aecompress.deploy.reconstruction import loss_of
from aecompress.deploy.variants import base as variants
from aecompress.digests import write_sums
from aecompress.errors import VerifyError, printable
from aecompress.files import write_bytes, write_text
from aecompress.plan.export import Export
from aecompress.plan.goal import Goal
from aecompress.polling import Poll
from aecompress.runs.baselines import DENSE as UNPRUNED
from aecompress.runs.baselines import against_pca, baselines_of
from aecompress.runs.card import DENSE, model_card
from aecompress.runs.ended import MODEL_FILES, REPORT_FILES
from aecompress.runs.folder import staged
from aecompress.runs.metrics import BROUGHT, VERIFIED, detection, verified_split, with_scorers

BATCHES = (1, 64)
"""Rows of a call in the before/after table."""
SECONDS = 0.05
"""The most time of the benchmark for each file and batch."""


@dataclass(frozen=True)
class Package:
    """An exported and verified model folder."""

    verification: verify.Verification
    files: dict[str, Path]
    """By kind."""
    compared: events.Compared
    model: Model
    """With all metrics in ``about``."""
    missing: Mapping[str, list[str]]
    """Requested variant -> why files of it were not kept."""

    @property
    def smallest(self) -> Path:
        """Return the smallest autoencoder file."""
        files = [path for kind, path in self.files.items() if kind.split("-")[0] == "autoencoder"]
        return min(files, key=lambda path: path.stat().st_size)


class TooLargeError(Exception):
    """The smallest autoencoder file has more bytes than allowed; no folder is left."""

    def __init__(self, size: int) -> None:
        self.size = size
        super().__init__(f"{size} bytes")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What every step of an export reads."""

    model: Model
    dataset: Dataset
    export: Export
    poll: Poll

    @property
    def loss(self) -> float:
        """Return the reported loss of the model on :attr:`rows`."""
        metrics = self.model.about["metrics"]
        named = f"{VERIFIED}_{self.export.metric}"
        return float(metrics[named if named in metrics else f"{verified_split(self.dataset)}_{self.export.metric}"])

    @cached_property
    def rows(self) -> Floats:
        """Return the scaled rows ``[N, *shape]`` that files are verified and compared on."""
        return sample(self.dataset.splits[verified_split(self.dataset)]).reshape(-1, *self.model.shape)

    @cached_property
    def seen(self) -> Floats:
        """Return the same rows as the files see them."""
        return self._seen(self.rows)

    @cached_property
    def training(self) -> Floats:
        """Return some scaled training rows ``[N, *shape]`` as the files see them."""
        return self._seen(self._shaped(self.dataset.train))

    def _seen(self, rows: Floats) -> Floats:
        return expected.seen(rows, self.scaling) if self.scaling is not None and self.scaling.coarse else rows

    @property
    def labelled(self) -> variants.Labelled | None:
        """Return the test rows with labels, where there are some."""
        labels = self.dataset.labels
        if labels is None:
            return None
        rows = whole(self.dataset.test).reshape(-1, *self.model.shape)
        return variants.Labelled(rows, lambda scores: detection(labels, scores))

    def _shaped(self, rows: Rows) -> Floats:
        return few(rows).reshape(-1, *self.model.shape)

    @cached_property
    def scaling(self) -> graph.Affine | None:
        """Return the scaling that goes into the graphs, where it is requested and changes anything."""
        return expected.affine(self.model) if self.export.embed_scaling else None

    @property
    def takes(self) -> str:
        """Return which rows the files take and give."""
        return "raw" if self.export.embed_scaling or expected.affine(self.model) is None else "scaled"

    @property
    def about(self) -> dict[str, str]:
        """Return the metadata of the graphs."""
        about = {
            "aecompress.version": metadata.version("aecompress"),
            "aecompress.sparsity": f"{self.model.sparsity:.6f}",
            graph.ROWS_KEY: f"{self.takes} {'x'.join(map(str, self.dataset.shape))}",
            **described(Scaling(**self.model.scaling), self.dataset.inputs),
        }
        return about if self.scaling is None else about | {graph.SCALING_KEY: str(self.model.scaling["kind"])}

    def configured(self, folder: Path) -> Model:
        """Return the model with what config.json says of the files in ``folder`` and of their rows."""
        limits = thresholds(folder)
        about = {key: value for key, value in self.model.about.items() if key not in ("inputs", "thresholds")}
        about |= {"rows": self.takes, "row_shape": list(self.dataset.shape)}
        about |= {"inputs": list(self.dataset.inputs)} if self.dataset.inputs else {}
        return replace(self.model, about=about | ({"thresholds": limits} if limits else {}))


def export_model(
    run: Path,
    model: Model,
    dataset: Dataset,
    export: Export,
    poll: Poll,
    *,
    final: Path | None = None,
    compacted: bool = True,
    most_bytes: float = math.inf,
) -> Package:
    """Write a model folder under a temporary name, verify it, and rename it into place only if it passed.

    Args:
        run: the run folder, which keeps the report of a failed verification.
        model: with the metrics of its run in ``about``.
        final: the model folder; None: ``model`` in the run folder.
        compacted: False: plain files with all layers as large as they were trained.
        most_bytes: largest size of the smallest autoencoder file.

    Raises:
        VerifyError: a file is not the model; no folder is left.
        TooLargeError: the smallest autoencoder file has more than ``most_bytes``.
    """
    source, final = Source(model=model, dataset=dataset, export=export, poll=poll), final or run / "model"
    # A kill between the renaming and the end of the run leaves a model behind, which a resumed run writes again.
    with staged(final) as folder:
        chains = graph.chains(model, compacted)
        write_weights(folder, source)
        write_graphs(folder, source, chains)
        verification, outcome = verified(folder, source, chains, run)
        size = min(path.stat().st_size for path in folder.glob("autoencoder*.onnx"))
        if size > most_bytes:
            raise TooLargeError(size)
        compared = compare(folder, source, outcome)
        model = with_scorers(model, outcome.metrics)
        checkpoint.save_config(folder, replace(source, model=model).configured(folder))
        write_text(folder / "README.md", model_card(model, dataset, export, verification, compared, source.takes))
        write_sums(folder)
    kinds = MODEL_FILES | outcome.files | REPORT_FILES
    files = {kind: final / name for kind, name in kinds.items() if (final / name).exists()}
    return Package(verification, files, compared, model, outcome.missing)


def write_weights(folder: Path, source: Source) -> None:
    """Write weights and configuration, and the rows and input names that go with them."""
    checkpoint.save_model(folder, source.model)
    if count := source.export.rows:
        rows = source.rows[:count]
        raw = None if source.scaling is None else source.scaling.raw(rows)
        checkpoint.save_rows(folder / "rows.safetensors", rows, raw)
    if source.dataset.inputs:
        names = (printable(name).replace("\n", "\\n") for name in source.dataset.inputs)  # a line each
        write_text(folder / "inputs.txt", "".join(f"{name}\n" for name in names))


def write_graphs(folder: Path, source: Source, chains: Mapping[str, Chain]) -> None:
    """Write the plain ONNX files."""
    for part, chain in chains.items():
        proto = graph.build(chain, part, source.export.opset, source.about, scaling=source.scaling)
        write_bytes(folder / f"{part}.onnx", proto.SerializeToString(deterministic=True))


def verified(
    folder: Path, source: Source, chains: Mapping[str, Chain], run: Path
) -> tuple[verify.Verification, variants.Outcome]:
    """Verify the plain files, then write and verify the variants, and write ``verification.json``.

    Raises:
        VerifyError: a file is not the model; the report is ``verification-failed.json`` in the run folder.
    """
    model, export, poll = source.model, source.export, source.poll
    cases = expected.expectations(model, source.rows, poll, source.scaling)
    losses = {source.export.metric: source.loss}
    verification = verify.verify_set(
        folder, model, source.rows, export.tolerance, losses, export.loss_tolerance, poll=poll, expected=cases
    )
    outcome = variants.Outcome()
    if verification.passed:
        request = variants.Request(
            opset=export.opset,
            metadata=source.about,
            variants=export.variants,
            metric=source.export.metric,
            values=export.values,
            int8=export.int8,
            allowed=export.variant_loss,
            tolerance=export.tolerance,
            scaling=source.scaling,
            quantile=export.quantile,
        )
        written_from = variants.Source(
            model=model,
            chains=chains,
            expected=cases,
            rows=source.seen,
            training=source.training,
            labelled=source.labelled,
        )
        outcome = variants.write(folder, written_from, request, poll)
        verification = replace(verification, checks=verification.checks + tuple(outcome.checks))
    report = verification.to_json() | {
        "variant_loss": export.variant_loss,
        "files": outcome.files,
        "notes": outcome.notes,
    }
    path = folder / "verification.json" if verification.passed else run / "verification-failed.json"
    write_text(path, json.dumps(report, indent=1) + "\n")
    if not verification.passed:
        message = f"the exported model is not the trained one: {verification.first_failure}; no model was left"
        raise VerifyError(message, verification)
    return verification, outcome


def compare(folder: Path, source: Source, outcome: variants.Outcome) -> events.Compared:
    """Return bytes, time, loss and non-zeros of the dense model of the same shape, the autoencoder and its variants."""
    model = source.model
    names = ["autoencoder.onnx", *(name for kind, name in outcome.files.items() if kind.startswith("autoencoder-"))]
    dense = folder / ".dense.onnx"
    write_bytes(dense, dense_model(model, source.scaling))
    benched = bench.bench_files([dense, *(folder / name for name in names)], BATCHES, (1,), SECONDS, source.poll)
    timings = [[one.timing(batch) for batch in BATCHES] for one in benched]
    dense.unlink()
    losses = [loss_of(folder / name, model, source.rows, source.export.metric, source.poll) for name in names[1:]]
    split = verified_split(source.dataset)
    baselines = baselines_of(model, split, source.export)
    unpruned = _dense_loss(model)
    verdict = against_pca(model, source.dataset, split, source.export, source.loss, unpruned)
    return events.Compared(
        at=time.time(),
        files=(DENSE, *names),
        bytes=tuple(one.bytes for one in benched),
        nonzeros=(model.parameters, *[model.parameters - model.zeros] * len(names)),
        losses=(unpruned, source.loss, *losses),
        batches=BATCHES,
        milliseconds=tuple(tuple(timing.milliseconds for timing in own) for own in timings),
        quartiles=tuple(tuple(timing.quartiles for timing in own) for own in timings),
        ratios=tuple(tuple(astuple(timing.faster) for timing in own) for own in timings),
        notes=(*outcome.notes, *filter(None, [verdict])),
        baselines=baselines.names,
        baseline_losses=baselines.losses,
        baseline_nonzeros=baselines.nonzeros,
    )


def _dense_loss(model: Model) -> float:
    """Return the loss of the model that a run began with, or else of its best one without a zero; infinite: none."""
    metrics, endings = model.about.get("metrics", {}), (f"_{BROUGHT}", f"_{UNPRUNED}")
    return next((float(loss) for name, loss in metrics.items() if name.endswith(endings)), math.inf)


def dense_model(model: Model, scaling: graph.Affine | None = None) -> bytes:
    """Return the autoencoder of the same layers with no weight zero: the file of a run without pruning."""
    draws = rng.host(0, "dense-weights")
    tensors = {
        key: (draws.standard_normal(tensor.shape) / max(tensor.shape[-1], 1) ** 0.5).astype(np.float32)
        for key, tensor in model.tensors.items()
    }
    about = {} if scaling is None else {graph.SCALING_KEY: str(model.scaling["kind"])}
    proto = graph.build(chain_of(model.layers, tensors), "autoencoder", 18, about, scaling=scaling)
    return bytes(proto.SerializeToString())


def missed_budget(goal: Goal, model: Model, package: Package) -> str:
    """Return which budget the result exceeds, as a sentence; empty where it meets all."""
    nonzeros = model.parameters - model.zeros
    if goal.max_params and nonzeros > goal.max_params:
        return (
            f"budget.max_params = {goal.max_params}: {nonzeros} weights and biases are not zero; "
            "raise --target-sparsity"
        )
    path = package.smallest
    if goal.max_bytes and path.stat().st_size > goal.max_bytes:
        return (
            f"budget.max_bytes = {goal.max_bytes}: {path.name}, the smallest file requested, has "
            f"{path.stat().st_size} bytes; raise --target-sparsity"
        )
    return ""
