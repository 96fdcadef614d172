"""A model from elsewhere on the rows of a run: what its file does not hold is found, and its loss is computed first."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aecompress.data.base import Floats
from aecompress.data.dataset import Dataset
from aecompress.data.sparse import Rows
from aecompress.deploy.pretrained.base import Pretrained, divided
from aecompress.deploy.pretrained.safetensors import is_ours
from aecompress.deploy.pretrained.trial import words
from aecompress.deploy.pretrained.tried import ROWS, Requested, Tried, tried
from aecompress.errors import DataError
from aecompress.plan.facts import LayerFacts, PretrainedFacts, RunFacts, are_same
from aecompress.plan.suitability import check_pretrained
from aecompress.spec.fields import LayerSpec, ModelSpec, RunSpec
from aecompress.spec.resolve import Resolved

STRETCHES = 8
"""Of rows, from the first to the last, that a loss is computed on."""
CLEAR = 0.9
"""Share of the constant predictor's loss from which on trials do not show which activations are right."""
HARDLY = 1.05
"""Times the constant predictor's loss that a model has which was hardly trained."""
BETTER = 0.5
"""A model that with another scaling has at most this share of the constant predictor's loss was trained with that."""


class Brought(NamedTuple):
    """A model from elsewhere of which nothing is unknown."""

    model: Pretrained
    notes: tuple[str, ...]
    """What was assumed, and its losses, as clauses a person reads."""

    @property
    def facts(self) -> PretrainedFacts:
        """Return its layers, as the plan reads them."""
        encoder, decoder = (
            tuple(LayerFacts(layer.outputs, layer.activation, layer.kind, layer.numbers) for layer in part)
            for part in (self.model.encoder, self.model.decoder)
        )
        head = "log_variance.weight" in self.model.tensors
        return PretrainedFacts(inputs=self.model.inputs, encoder=encoder, decoder=decoder, head=head)


def bring_in(
    path: Path, found: Pretrained, resolved: Resolved, dataset: Dataset, *, trained: bool = True, strict: bool = False
) -> Brought:
    """Return a model with what its file does not hold, and its loss beside that of the rows' mean.

    Args:
        path: its file, for messages.
        trained: whether its loss counts; a module of the user's may have its first weights.
        strict: whether it must do better than the rows' mean, however sure its reading is.

    Raises:
        DataError: it takes other rows, or reconstructs them worse than their mean does, where that may come from how
            its file was read, or from how the rows are scaled.
    """
    facts = PretrainedFacts(inputs=found.inputs, encoder=(), decoder=())
    check_pretrained(resolved.spec, RunFacts(data=dataset.facts, pretrained=facts))
    found = _as_written(resolved.spec.model, found)
    rows, requested = some_rows(dataset.train, ROWS[1]), requested_of(resolved, found)
    outcome = tried(found, rows, dataset.facts.row_shape, requested)
    if trained and not (is_ours(path.parent) or outcome.sure) and outcome.loss > BETTER * outcome.constant:
        reason = _other_scaling(found, rows, dataset, requested, outcome)
        _check_loss(path, outcome, reason, 1.0 if strict else _most(outcome))
    if outcome.rival or (outcome.trials > 1 and not (outcome.decided or outcome.sure)):
        _check_clear(path, outcome)
    return Brought(outcome.model, (*outcome.model.notes, *_notes(found, outcome, dataset)))


WRITE = "write its layers with their activations as model.encoder and model.decoder"
NO_REASON = "no scaling of them helps; give the rows that it was trained on, scaled as they were, or leave --init out"
RESIDUAL = (
    "its outputs are near 0, so it is hardly trained, or gives what is added to its input (a residual), which no layer "
    "here does; train it further, or without that"
)


def _check_loss(path: Path, outcome: Tried, reason: str, most: float) -> None:
    """Refuse a model that reconstructs the rows badly, for a reason, or worse than ``most`` times what their mean does.

    Raises:
        DataError: with both losses, and what helps.
    """
    if not reason and outcome.loss >= most * outcome.constant:
        reason = RESIDUAL if outcome.residual < BETTER * outcome.constant else NO_REASON
    if reason:
        how = "worse than their mean does" if outcome.loss >= outcome.constant else "not much better than their mean"
        written = f"; or {WRITE}" if outcome.trials > 1 else ""
        raise DataError(
            f"{path}: as it is, it reconstructs these rows {how} (mse {outcome.loss:.4g}, the mean "
            f"{outcome.constant:.4g}): {reason}{written}"
        )


def _check_clear(path: Path, outcome: Tried) -> None:
    """Refuse a model whose activations the rows do not show, or that no layer here has.

    Raises:
        DataError: with what fits best.
    """
    found = f"{words(outcome.model)}: {outcome.loss:.4g}"
    if outcome.rival or outcome.loss >= CLEAR * outcome.constant:
        raise DataError(
            f"{path}: its file holds no activations, and the rows do not show which it has (mse of the rows' mean "
            f"{outcome.constant:.4g}, of {'; of '.join(filter(None, [found, outcome.rival]))}): it is hardly trained, "
            f"or on other rows; {WRITE}, or train it further first"
        )


def some_rows(rows: Rows, count: int) -> Floats:
    """Return about ``count`` rows ``[N, D]`` from all parts of a split."""
    each = max(count // STRETCHES, 1)
    if len(rows) <= count:
        return np.asarray(rows[: len(rows)], np.float32)
    starts = np.linspace(0, len(rows) - each, STRETCHES).astype(int).tolist()
    return np.concatenate([np.asarray(rows[start : start + each], np.float32) for start in starts])


def requested_of(resolved: Resolved, found: Pretrained) -> Requested:
    """Return what a spec says of a pretrained model's activations: layer by layer where it writes them out."""
    model = resolved.spec.model
    if _are_written(model, found):
        return Requested(layers=tuple(layer.activation for layer in (*model.encoder, *model.decoder)))
    hidden = model.activation if resolved.sources.get("model.activation", "default") != "default" else ""
    latent, output = ("" if value == "auto" else str(value) for value in (model.latent_activation, model.output))
    return Requested(hidden=hidden, latent=latent, output=output)


def _as_written(model: ModelSpec, found: Pretrained) -> Pretrained:
    """Return those readings of a file alone whose layers a spec writes out, divided as there; all where it does not."""
    own = [reading for reading in (found, *found.others) if _are_written(model, reading)]
    if not own:
        return found
    first, *others = (divided(reading, len(model.encoder)) for reading in own)
    return replace(first, others=tuple(others))


def _are_written(model: ModelSpec, found: Pretrained) -> bool:
    """Return whether a spec writes out the layers that a file has, wherever its encoder ends."""
    written, layers = (*model.encoder, *model.decoder), (*found.encoder, *found.decoder)
    own = [
        LayerSpec.model_validate(
            {
                **layer.numbers,
                "kind": layer.kind,
                "out": layer.outputs,
                "activation": layer.activation or spec.activation,
            }
        )
        for spec, layer in zip(written, layers, strict=False)
    ]
    return bool(written) and len(layers) == len(written) and are_same(written, own)


def tensors_of(model: Pretrained, spec: RunSpec) -> dict[str, Floats]:
    """Return the tensors that a run begins with: the head of the log-variance where its family has one."""
    heads = spec.model.family == "variational"
    return {name: tensor for name, tensor in model.tensors.items() if heads or not name.startswith("log_variance.")}


def _unknown(found: Pretrained) -> list[str]:
    return [layer.name for layer in (*found.encoder, *found.decoder) if not layer.activation]


def _most(outcome: Tried) -> float:
    """Return how many times the loss of the rows' mean a model may have.

    One of which file and user say all, as an ONNX graph does, is what it is; one of which only the activation of its
    outputs is unknown may be hardly trained, and gives about the mean.
    """
    if outcome.trials == 1:
        return math.inf
    return HARDLY if outcome.decided else 1.0


def _notes(found: Pretrained, outcome: Tried, dataset: Dataset) -> list[str]:
    """Return what was assumed, and the losses that speak for it."""
    losses = f"as it is, it has mse {outcome.loss:.4g} on training rows, their mean {outcome.constant:.4g}"
    worse = ": hardly trained, or on other rows" if outcome.loss >= outcome.constant else ""
    notes = [f"model.init: {losses}{worse}"]
    if _unknown(found):
        tests = f"of {outcome.trials} combinations the best" if outcome.trials > 1 else "as requested"
        tests = "known by what its batch norms are given on these rows" if outcome.sure else tests
        others = f"; the next best {outcome.next_best}" if outcome.next_best else ""
        notes.append(f"its file holds no activations; {tests}: {words(outcome.model)}{others}")
    if dataset.scaling.kind == "none" and not dataset.facts.unit:
        notes.append("its rows are not rescaled; --scaling changes that")
    return notes


def _other_scaling(found: Pretrained, rows: Floats, dataset: Dataset, requested: Requested, outcome: Tried) -> str:
    """Return the scaling of the rows with which a model does far better, with the cure; empty: there is none."""
    low, high, mean, deviation = rows.min(0), rows.max(0), rows.mean(0), rows.std(0)
    scaled = {
        "minmax": (rows - low) / np.where(high > low, high - low, 1),
        "standard": (rows - mean) / np.where(deviation > 0, deviation, 1),
    } | ({"auto": rows / 255} if rows.max() > 1 and rows.max() <= 255 and rows.min() >= 0 else {})
    for name, values in scaled.items():
        other = tried(found, values.astype(np.float32), dataset.facts.row_shape, requested)
        if (other.sure and not outcome.sure) or other.loss / other.constant < BETTER * min(
            outcome.loss / outcome.constant, 1
        ):
            return (
                f"it was probably trained on scaled rows (mse {other.loss:.4g}, the mean {other.constant:.4g}); "
                f"give --scaling {name}"
            )
    return ""
