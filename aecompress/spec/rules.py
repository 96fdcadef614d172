"""Contradictions: faults between fields that are each valid, as one table. A new one is one row.

Every row is checked twice: when a spec is read, where fields may still be "auto", and when it is complete.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from aecompress.registry import OPERATORS, RULES, SCHEDULES, WATCHED, RuleRow, find_source, listed, needs, unpublished
from aecompress.spec.fields import EvolveSpec, RunSpec, drive_of, regrowth_possible, rule_facts, rule_of


class Contradiction(NamedTuple):
    """What must not be in a spec."""

    field: str
    """Where a user corrects it: a dotted field, or a section."""
    broken: Callable[[RunSpec], bool]
    sentence: str
    """What the user reads; in braces: parts of the spec, and the names of :func:`_named`."""
    example: Mapping[str, Any]
    """Fields of a spec that has this fault."""


class Ignored(NamedTuple):
    """Flags that a run would not look at."""

    fields: tuple[str, ...]
    ignored: Callable[[RunSpec], bool]
    sentence: str
    example: Mapping[str, Any]
    """Fields of a spec that ignores them."""


def contradictions(spec: RunSpec) -> list[str]:
    """Return the faults between fields that are each valid."""
    return [sentence_of(row.sentence, spec) for row in CONTRADICTIONS if row.broken(spec)]


def ignored(spec: RunSpec, sources: Mapping[str, str]) -> list[str]:
    """Return the faults of flags that this run ignores; in a file, which may serve several modes, they are no fault."""
    return [
        f"{field} ({sources[field]}): {row.sentence.format(**_named(spec))}"
        for row in IGNORED
        for field in row.fields
        if sources.get(field, "").startswith("--") and row.ignored(spec)
    ]


def sentence_of(sentence: str, spec: RunSpec, **more: Any) -> str:
    """Return the sentence with its braces filled from the spec, and from ``more``."""
    return sentence.format(**_named(spec), **more)


def _named(spec: RunSpec) -> dict[str, Any]:
    """Return the spec's parts by name, and what sentences say of several of them together."""
    return dict(spec) | {
        "split": list(spec.data.split),
        "budgets": spec.evolve.budgets if isinstance(spec.evolve.budgets, str) else list(spec.evolve.budgets),
        "budget_count": len(_budgets(spec)),
        "highest_budget": max(_budgets(spec), default=0.0),
        "target": _target(spec),
        "output_activation": spec.model.last_activation,
        "code_activation": spec.model.code_activation,
        "watching": listed(repr(name) for name, row in OPERATORS.items() if row.needs in WATCHED),
        "with_published_form": listed(name for name, row in OPERATORS.items() if row.published),
        "differing": listed(repr(name) for name, rule in RULES.items() if rule.own_budgets),
    }


def _target(spec: RunSpec) -> float:
    """Return the target sparsity as far as it is known."""
    return 0.0 if spec.prune.target_sparsity == "auto" else float(spec.prune.target_sparsity)


def _budgets(spec: RunSpec) -> tuple[float, ...]:
    return spec.evolve.budgets if isinstance(spec.evolve.budgets, tuple) else ()


def _by_probability(spec: RunSpec) -> bool:
    return drive_of(spec.prune) == "probability"


def _published(spec: RunSpec) -> bool:
    return spec.prune.form == "published" or (spec.prune.form == "auto" and _by_probability(spec))


def _rises(spec: RunSpec) -> bool:
    return spec.prune.schedule in SCHEDULES and SCHEDULES[spec.prune.schedule].rise


def _rule(spec: RunSpec) -> RuleRow:
    return rule_facts(rule_of(spec))


def dominance_possible(spec: RunSpec) -> bool:
    """Return whether cells can differ in their budgets: all prune to a target, with fixed masks, at once."""
    target = spec.prune.operator != "none" and spec.prune.target_sparsity != 0
    return target and regrowth_possible(spec) and spec.evolve.order == "synchronous"


def _lacks_dense_cell(spec: RunSpec) -> bool:
    limited = spec.mode == "coevo" and spec.budget.max_loss_increase > 0
    return limited and spec.evolve.budgets != "auto" and 0.0 not in _budgets(spec)


NO_PUBLISHED_FORM = (
    "prune.operator = {prune.operator!r}: has no published form, so a probability cannot drive it; choose "
    "{with_published_form}, or prune to a target"
)
"""Of an operator of ours; of a plug-in's it is known when the plan loads it."""
_LAYERS = [{"out": 4}]

CONTRADICTIONS: tuple[Contradiction, ...] = (
    Contradiction(
        "data.split",
        lambda spec: abs(sum(spec.data.split) - 1) > 1e-6,
        "data.split = {split}: the three shares must add up to 1",
        {"data.split": (0.5, 0.1, 0.1)},
    ),
    Contradiction(
        "data.split",
        lambda spec: abs(sum(spec.data.split) - 1) <= 1e-6 and spec.data.split[0] == 0,
        "data.split = {split}: the first share, of training rows, must be above 0",
        {"data.split": (0.0, 0.5, 0.5)},
    ),
    Contradiction(
        "train.epochs",
        lambda spec: spec.train.epochs == 0 and not spec.model.init and spec.model.network != "pca",
        "train.epochs = 0: prunes a model that was trained before; name it as model.init (--init)",
        {"train.epochs": 0},
    ),
    Contradiction(
        "train.epochs",
        lambda spec: spec.train.epochs == 0 and (_by_probability(spec) or needs(spec.prune.operator) in WATCHED),
        "train.epochs = 0: there is no training to watch; drop prune.probability, and choose another operator than "
        "{watching}",
        {"train.epochs": 0, "model.init": "model.onnx", "prune.operator": "variance"},
    ),
    Contradiction(
        "train.bits",
        lambda spec: spec.train.bits > 0 and spec.train.epochs == 0,
        "train.bits = {train.bits}: rounds weights in training, and train.epochs is 0; give epochs, or round packed "
        "files by export.values",
        {"train.bits": 4, "train.epochs": 0, "model.init": "model.onnx"},
    ),
    Contradiction(
        "train.bits",
        lambda spec: spec.train.bits > 0 and spec.prune.masks == "free",
        "train.bits = {train.bits}: needs weights that stay pruned; set prune.masks to 'fixed'",
        {"train.bits": 4, "prune.masks": "free"},
    ),
    Contradiction(
        "train.bits",
        lambda spec: spec.train.bits > 0 and _rule(spec).changes_partners,
        "train.bits = {train.bits}: rounds pairs that stay together, and under evolve.rule = {evolve.rule!r} they "
        "change partners; choose 'pair'",
        {"train.bits": 4, "evolve.rule": "opponents"},
    ),
    Contradiction(
        "budget",
        lambda spec: (
            bool(spec.budget.max_params or spec.budget.max_bytes or spec.budget.max_loss_increase)
            and (_by_probability(spec) or spec.prune.operator == "none")
        ),
        "budget: is met by pruning to a target; drop prune.probability, and choose a prune.operator",
        {"budget.max_params": 100, "prune.operator": "none"},
    ),
    Contradiction(
        "budget.min_sparsity",
        lambda spec: spec.budget.min_sparsity not in ("auto", 0) and not spec.budget.max_loss_increase,
        "budget.min_sparsity = {budget.min_sparsity}: limits the models within budget.max_loss_increase; give that "
        "too, or set prune.target_sparsity",
        {"budget.min_sparsity": 0.5},
    ),
    Contradiction(
        "prune.start",
        lambda spec: spec.prune.start >= (1 if spec.prune.end == "auto" else spec.prune.end),
        "prune.start = {prune.start} and prune.end = {prune.end}: pruning must start before it ends",
        {"prune.start": 0.9, "prune.end": 0.8},
    ),
    Contradiction(
        "model.encoder",
        lambda spec: bool(spec.model.decoder) and not spec.model.encoder,
        "model.encoder = []: model.decoder is written layer by layer, so write model.encoder too",
        {"model.decoder": _LAYERS},
    ),
    Contradiction(
        "model.decoder",
        lambda spec: bool(spec.model.encoder) and not spec.model.decoder,
        "model.decoder = []: model.encoder is written layer by layer, so write model.decoder too",
        {"model.encoder": _LAYERS},
    ),
    Contradiction(
        "model.hidden",
        lambda spec: (
            bool(spec.model.encoder and spec.model.decoder)
            and (spec.model.hidden, spec.model.latent) != ("auto", "auto")
        ),
        "model.hidden and model.latent: leave both out when model.encoder and model.decoder are given",
        {"model.encoder": _LAYERS, "model.decoder": _LAYERS, "model.latent": 4},
    ),
    Contradiction(
        "model.network",
        lambda spec: spec.model.network in ("conv", "pca") and bool(spec.model.encoder or spec.model.init),
        "model.network = {model.network!r}: chooses the layers, which model.encoder or model.init brings; leave it out",
        {"model.network": "conv", "model.encoder": _LAYERS, "model.decoder": _LAYERS},
    ),
    Contradiction(
        "train.loss",
        lambda spec: (
            spec.train.loss in ("bce", "bce-then-l1") and spec.model.last_activation not in ("auto", "sigmoid")
        ),
        "train.loss = {train.loss!r}: cross-entropy needs model.output = 'sigmoid', not {output_activation!r}",
        {"train.loss": "bce", "model.output": "identity"},
    ),
    Contradiction(
        "prune.regrowth",
        lambda spec: spec.prune.regrowth not in ("auto", 0) and (spec.prune.masks == "free" or _by_probability(spec)),
        "prune.regrowth = {prune.regrowth}: exchanges weights under fixed masks, on the way to a target; leave out "
        "prune.masks and prune.probability, or set it to 0",
        {"prune.regrowth": 0.5, "prune.masks": "free"},
    ),
    Contradiction(
        "prune.operator",
        lambda spec: spec.prune.operator == "none" and _target(spec) > 0,
        "prune.operator = 'none': cannot reach prune.target_sparsity = {prune.target_sparsity}; choose an operator or "
        "set the target to 0",
        {"prune.operator": "none", "prune.target_sparsity": 0.5},
    ),
    Contradiction(
        "prune.target_sparsity",
        lambda spec: _by_probability(spec) and _target(spec) > 0,
        "prune.target_sparsity = {prune.target_sparsity}: cannot be reached while prune.drive is 'probability'; leave "
        "out the target or the probability, or set prune.drive to 'target' and prune.form to 'score'",
        {"prune.operator": "random", "prune.schedule": "fixed", "prune.probability": 0.5, "prune.target_sparsity": 0.5},
    ),
    Contradiction(
        "prune.schedule",
        lambda spec: _by_probability(spec) and _rises(spec),
        "prune.schedule = {prune.schedule!r}: is a rise to a target, not a probability; choose another schedule",
        {"prune.operator": "random", "prune.probability": 0.5},
    ),
    Contradiction(
        "prune.form",
        lambda spec: _by_probability(spec) and spec.prune.form == "score",
        "prune.form = 'score': needs exact counts, which a probability does not give; set prune.form to 'published' or "
        "prune.drive to 'target'",
        {"prune.operator": "random", "prune.schedule": "fixed", "prune.probability": 0.5, "prune.form": "score"},
    ),
    Contradiction(
        "prune.per_generation",
        lambda spec: _by_probability(spec) and spec.prune.per_generation not in ("auto", 1),
        "prune.per_generation = {prune.per_generation}: a probability is drawn once; set it to 1",
        {"prune.operator": "random", "prune.schedule": "fixed", "prune.probability": 0.5, "prune.per_generation": 2},
    ),
    Contradiction(
        "prune.form",
        lambda spec: not _by_probability(spec) and spec.prune.form == "published",
        "prune.form = 'published': prunes by probability, not to a target; set prune.drive to 'probability' or "
        "prune.form to 'score'",
        {"prune.operator": "random", "prune.drive": "target", "prune.form": "published"},
    ),
    Contradiction(
        "prune.operator",
        lambda spec: _published(spec) and unpublished(spec.prune.operator),
        NO_PUBLISHED_FORM,
        {"prune.operator": "magnitude", "prune.schedule": "fixed", "prune.probability": 0.5},
    ),
    Contradiction(
        "prune.operator",
        lambda spec: needs(spec.prune.operator) == "moments" and spec.train.optimizer != "adam",
        "prune.operator = {prune.operator!r}: reads Adam's moments; set train.optimizer to 'adam'",
        {"prune.operator": "obd", "train.optimizer": "fresh-adam"},
    ),
    Contradiction(
        "prune.granularity",
        lambda spec: _published(spec) and spec.prune.granularity == "unit",
        "prune.granularity = 'unit': the published forms say themselves what they cut; set it to 'weight'",
        {"prune.operator": "random", "prune.schedule": "fixed", "prune.probability": 0.5, "prune.granularity": "unit"},
    ),
    Contradiction(
        "train.epochs",
        lambda spec: _rule(spec).changes_partners and spec.train.epochs == 0,
        "train.epochs = 0: evolve.rule = {evolve.rule!r} is a way of training; choose 'pair'",
        {"evolve.rule": "opponents", "train.epochs": 0, "model.init": "model.onnx"},
    ),
    Contradiction(
        "prune.per_generation",
        lambda spec: _rule(spec).pruned_once and spec.prune.per_generation not in ("auto", 1),
        "prune.per_generation = {prune.per_generation}: a {evolve.rule} population is pruned once all pairs have "
        "trained; set it to 1",
        {"evolve.rule": "panmictic", "prune.per_generation": 2},
    ),
    Contradiction(
        "prune.operator",
        lambda spec: _rule(spec).prunes_first and needs(spec.prune.operator) == "stats",
        "prune.operator = {prune.operator!r}: needs activations of several batches, and {evolve.rule} prunes after "
        "one; choose evolve.rule = 'pair' or another operator",
        {"evolve.rule": "pair-prune-first", "prune.operator": "variance"},
    ),
    Contradiction(
        "prune.masks",
        lambda spec: (
            _rule(spec).prunes_first
            and (spec.prune.masks, drive_of(spec.prune)) == ("free", "target")
            and spec.prune.operator != "none"
        ),
        "prune.masks = 'free': {evolve.rule} trains after the last prune, so the target would be missed; choose "
        "evolve.rule = 'pair' or prune.masks = 'fixed'",
        {"evolve.rule": "pair-prune-first", "prune.masks": "free"},
    ),
    Contradiction(
        "data.val",
        lambda spec: spec.data.val == "-",
        "data.val = '-': standard input gives the rows of DATA alone; name a file",
        {"data.val": "-"},
    ),
    Contradiction(
        "data.test",
        lambda spec: spec.data.test == "-",
        "data.test = '-': standard input gives the rows of DATA alone; name a file",
        {"data.test": "-"},
    ),
    Contradiction(
        "data.stride",
        lambda spec: spec.data.stride > 1 and not spec.data.window,
        "data.stride = {data.stride}: is of windows; give their rows as data.window (--window) too",
        {"data.stride": 8},
    ),
    Contradiction(
        "data.window",
        lambda spec: spec.data.window == 1,
        "data.window = 1: a window of one row is the row; leave it out, or choose a larger one",
        {"data.window": 1},
    ),
    Contradiction(
        "data.window",
        lambda spec: spec.data.window > 1 and (row := find_source(spec.data.source)) is not None and row.own_splits,
        "data.window = {data.window}: {data.source} has rows in no order, so no series; leave it out",
        {"data.source": "binary-clusters:4x10x30", "data.window": 4},
    ),
    Contradiction(
        "data.split_by",
        lambda spec: bool(spec.data.label) and spec.data.split_by == f"group:{spec.data.label}",
        "data.split_by = {data.split_by!r}: is the column of the labels (data.label); anomalies are tested alone, so "
        "choose another column",
        {"data.label": "y", "data.split_by": "group:y"},
    ),
    Contradiction(
        "precision",
        lambda spec: spec.precision == "float64" and spec.device == "mps",
        "precision = 'float64': MPS has none; choose float32 or --device cpu",
        {"precision": "float64", "device": "mps"},
    ),
    Contradiction(
        "model.latent_activation",
        lambda spec: spec.model.family == "variational" and spec.model.code_activation not in ("auto", "identity"),
        "model.latent_activation = {code_activation!r}: the variational family samples its latent code, which needs "
        "'identity'",
        {"model.family": "variational", "model.latent_activation": "relu"},
    ),
    Contradiction(
        "train.code_l1",
        lambda spec: spec.model.family == "variational" and spec.train.code_l1 > 0,
        "train.code_l1 = {train.code_l1}: the variational family has its own penalty on the code; leave it out",
        {"model.family": "variational", "train.code_l1": 0.1},
    ),
    Contradiction(
        "train.loss",
        lambda spec: spec.model.family == "variational" and spec.train.loss == "bce-then-l1",
        "train.loss = 'bce-then-l1': the variational family keeps one loss; choose 'bce'",
        {"model.family": "variational", "train.loss": "bce-then-l1"},
    ),
    Contradiction(
        "device",
        lambda spec: not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,2})?", spec.device, re.ASCII),
        "device = {device!r:.200}: choose auto, cpu, cuda, cuda:N or mps",
        {"device": "gpu"},
    ),
    Contradiction(
        "budget.max_loss_increase",
        _lacks_dense_cell,
        "budget.max_loss_increase = {budget.max_loss_increase}: needs a dense cell to compare with; leave "
        "evolve.budgets and evolve.rule out, with three cells or more, or choose --mode canonical",
        {"budget.max_loss_increase": 0.05, "evolve.budgets": "same"},
    ),
    Contradiction(
        "evolve.budgets",
        lambda spec: isinstance(spec.evolve.budgets, tuple) and len(spec.evolve.budgets) != spec.evolve.cells,
        "evolve.budgets = {budgets}: gives {budget_count} for {evolve.cells} cells; give each one",
        {"evolve.cells": 4, "evolve.budgets": (0.0, 0.5, 0.9)},
    ),
    Contradiction(
        "evolve.budgets",
        lambda spec: bool(_budgets(spec)) and max(_budgets(spec)) < _target(spec),
        "evolve.budgets = {budgets}: none reaches prune.target_sparsity = {target}; give a cell that much, or set "
        "--target-sparsity {highest_budget}",
        {"evolve.cells": 3, "evolve.budgets": (0.0, 0.5, 0.6), "prune.target_sparsity": 0.8},
    ),
    Contradiction(
        "evolve.budgets",
        lambda spec: (
            isinstance(spec.evolve.budgets, tuple)
            and spec.evolve.rule != "auto"
            and not rule_facts(spec.evolve.rule).own_budgets
        ),
        "evolve.budgets = {budgets}: cells can differ under evolve.rule = {differing}, not {evolve.rule!r}",
        {"evolve.cells": 3, "evolve.budgets": (0.0, 0.5, 0.8), "evolve.rule": "pair"},
    ),
    Contradiction(
        "evolve.rule",
        lambda spec: rule_facts(spec.evolve.rule).own_budgets and not dominance_possible(spec),
        "evolve.rule = {evolve.rule!r}: needs pruning to a target with fixed masks, in synchronous order; choose "
        "evolve.rule = 'pair'",
        {"evolve.rule": "dominance", "evolve.order": "asynchronous"},
    ),
)

_SPATIAL = ("topology", "radius", "order", "tournament", "concept", "batch")

IGNORED: tuple[Ignored, ...] = (
    Ignored(
        tuple(f"evolve.{name}" for name in EvolveSpec.model_fields),
        lambda spec: spec.mode == "canonical",
        "one autoencoder has no ring; leave it out, or choose --mode coevo",
        {"mode": "canonical"},
    ),
    Ignored(
        tuple(f"evolve.{name}" for name in _SPATIAL),
        lambda spec: spec.mode == "coevo" and not _rule(spec).spatial,
        "a {evolve.rule} population has no space and no selection; leave it out",
        {"evolve.rule": "panmictic"},
    ),
    Ignored(
        ("data.split", "data.split_by"),
        lambda spec: (source := find_source(spec.data.source)) is not None and source.own_splits,
        "{data.source} brings its own three splits; leave it out",
        {"data.source": "binary-clusters:4x10x30"},
    ),
    Ignored(
        ("export.int8",),
        lambda spec: "int8" not in spec.export.variants,
        "no int8 files are requested; leave it out, or add int8 to --variants",
        {"export.variants": ("packed",)},
    ),
)
