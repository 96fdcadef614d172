"""Every "auto" field of a spec, filled in one place: one ordered table, which is the default recipe.

A row reads fields that were requested or that rows above it fill. docs/recipe.md has the figures that chose the values.
What takes torch or onnx is imported by the rows that need it, so that a spec is printed without them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aecompress.errors import SpecError
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.conv import conv_channels
from aecompress.plan.facts import RunFacts, pretrained_decoder, pretrained_encoder
from aecompress.plan.linear_start import (
    FEW_VALUES,
    LINEAR,
    LINKS,
    linear_by_default,
    linear_requested,
    output_is_linear,
    why_not_linear,
)
from aecompress.plan.network import network_of
from aecompress.plan.suitability import check_pretrained, unsuitable
from aecompress.registry import probability_of
from aecompress.spec.fields import (
    FIELDS,
    LossName,
    RunSpec,
    regrowth_possible,
    rule_facts,
    rule_of,
)
from aecompress.spec.resolve import Resolved
from aecompress.spec.rules import contradictions, dominance_possible
from aecompress.spec.toml import flatten

FROM_DATA = "from the data"
"""The source of a value of the recipe."""
NETWORKS: dict[str, tuple[tuple[int, ...], int]] = {
    "paper": ((30,), 10),
    "paper-small": ((30,), 2),
    "paper-large": ((60, 30), 10),
}
"""Hidden sizes and latent size of the paper's networks (ALGORITHMS A2)."""
PASSES = 8, 200
"""The fewest and the most passes over the rows; between them, as many as have STEPS steps."""
STEPS = 6000
PEAK_RATE = 8e-3
"""Adam's."""
MANY_VALUES = 32
"""Of the training rows for each weight that remains, from which on exact components learn at it."""
LEAST_RATE = 1 / 16
"""Share of the peak rate that remains however few there are."""
PRUNES = 100
"""Prunes of a run toward a target."""

Net = Callable[[], Autoencoder]
Filled = tuple[Any, str] | None


class Row(NamedTuple):
    """How one field is filled where it is "auto"."""

    field: str
    reads: tuple[str, ...]
    """Dotted fields, and facts: rows, inputs, shape, windows, binary, unit, sparse, described, splits, device,
    pretrained, requested, net."""
    value: Callable[[RunSpec, RunFacts, Net], Filled]
    """From the draft of the spec, the facts and the network: the value and the clause of why; None leaves the field."""


def default_hidden(inputs: int) -> int:
    """Return the size of the one hidden layer: the power of two nearest to inputs / 2.5, from 4 to 512."""
    return min(max(1 << max(round(math.log2(inputs / 2.5)), 0), 4), 512)


def default_batch(rows: int) -> int:
    """Return the rows per step: the power of two nearest to rows / 64, from 16 to 128."""
    return min(max(1 << max(round(math.log2(rows / 64)), 0), 16), 128)


def default_loss(family: str, *, binary: bool, unit: bool, sparse: bool) -> LossName:
    """Return bce for the variational family on rows in [0, 1] (ALGORITHMS A2), bce-then-l1 on 0/1, else mse.

    Of interactions, of which l1 would rather predict none at all, bce.
    """
    if sparse and unit:
        return "bce"
    if family == "variational":
        return "bce" if unit else "mse"
    return "bce-then-l1" if binary else "mse"


def _output(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    linear = linear_requested(draft, facts) or (linear_by_default(draft, facts) and output_is_linear(draft, facts))
    return "identity" if linear else facts.unit_output, FROM_DATA


def _encoder(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    layers = pretrained_encoder(draft.model, facts)
    return (layers, f"--init {draft.model.init}") if layers else None


def _decoder(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    layers = pretrained_decoder(draft.model, facts)
    return (layers, f"--init {draft.model.init}") if layers else None


def _hidden(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    if draft.model.encoder:  # written out layer by layer
        return None
    if draft.model.network == "pca":
        return (), FROM_DATA
    if draft.model.network == "conv":
        return conv_channels(facts.data.row_shape, facts.data.windows), FROM_DATA
    paper = NETWORKS.get(draft.model.network)
    return paper[0] if paper else (default_hidden(facts.data.inputs),), FROM_DATA


def _latent(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    if draft.model.encoder:
        return None
    if draft.model.network in NETWORKS:
        return NETWORKS[draft.model.network][1], FROM_DATA
    inputs = facts.data.inputs
    if draft.model.network in ("conv", "pca"):  # without hidden layers of their own sizes: that of dense layers
        return min(default_hidden(inputs) // 4, inputs), FROM_DATA
    sizes = draft.model.hidden if isinstance(draft.model.hidden, tuple) else ()
    return min(max(1, (sizes or (inputs,))[-1] // 4), inputs), FROM_DATA


def _latent_activation(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    if draft.model.network == "pca":
        return "identity", FROM_DATA
    linear = draft.model.network in ("default", "conv") or draft.model.family == "variational"
    linear = linear or linear_requested(draft, facts)
    return "identity" if linear and not draft.train.code_l1 else "relu", FROM_DATA


def _loss(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    model, data = draft.model, facts.data
    sigmoid = model.last_activation == "sigmoid"
    binary, unit = data.binary and sigmoid, data.unit and sigmoid
    return default_loss(model.family, binary=binary, unit=unit, sparse=data.sparse), FROM_DATA


def _initial(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    if draft.model.network == "pca" or (draft.model.output in LINKS and linear_by_default(draft, facts)):
        return "pca", FROM_DATA
    drawn_as_torch = draft.prune.granularity == "unit" or draft.train.loss == "bce-then-l1"
    return "torch" if drawn_as_torch else "scaled", FROM_DATA


def _epochs(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    if draft.model.network == "pca":
        return 0, "the components as they are"
    return min(max(round(STEPS / facts.steps(int(draft.train.batch))), PASSES[0]), PASSES[1]), FROM_DATA


def _learning_rate(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    """Return the peak rate: of a model that begins as components less where few values stand against each weight."""
    if draft.model.initial != "pca":
        return PEAK_RATE, FROM_DATA
    weights = net().model_size * (1 - float(draft.prune.target_sparsity))
    enough = FEW_VALUES if draft.model.output == "sigmoid" else MANY_VALUES
    share = facts.data.rows * facts.data.inputs / weights / enough
    return PEAK_RATE * min(max(share, LEAST_RATE), 1.0), FROM_DATA


def _drive(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    published = "prune.form" in facts.requested and draft.prune.form == "published"
    return "probability" if published or "prune.probability" in facts.requested else "target", FROM_DATA


def _operator(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    """Return what ranks weights of unlike sizes, as of kernels and of components, by gradients too: Adam keeps them."""
    if not regrowth_possible(draft) or draft.prune.granularity != "weight" or draft.train.optimizer != "adam":
        return "magnitude", FROM_DATA
    if draft.model.initial == "pca":
        return "obd-root", FROM_DATA
    return "obd" if draft.model.convolves else "magnitude", FROM_DATA


def _target_sparsity(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    if draft.budget.max_params or draft.budget.max_bytes:
        from aecompress.plan.budget import sparsity_within

        return sparsity_within(draft, net(), facts.data.described), "from the budget"
    if draft.model.network == "pca" and not draft.train.epochs:
        return 0.0, "the components as they are"
    return 0.8 if draft.prune.drive == "target" and draft.prune.operator != "none" else 0.0, FROM_DATA


def _regrowth(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    return 0.5 if regrowth_possible(draft) and draft.prune.granularity == "weight" else 0.0, FROM_DATA


def _rule(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    same = "evolve.budgets" in facts.requested and draft.evolve.budgets == "same"
    ring = draft.mode == "coevo" and draft.evolve.cells > 2
    return "dominance" if ring and not same and dominance_possible(draft) else "pair", "from the budgets"


def _budgets(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    if not rule_facts(draft.evolve.rule).own_budgets:
        return "same", "from the target"
    from aecompress.plan.budget import most_sparse, rising_budgets

    target = float(draft.prune.target_sparsity)
    return rising_budgets(draft.evolve.cells, target, most_sparse(draft, net())), "from the target"


def _min_sparsity(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    budget = draft.budget
    requested = "prune.target_sparsity" in facts.requested or budget.max_params or budget.max_bytes
    if budget.max_loss_increase and draft.prune.drive == "target" and requested:
        return draft.prune.target_sparsity, "the requested target"
    return 0.0, "no target requested"


def _per_generation(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    train, once = draft.train, "evolve.rule" in facts.requested and rule_facts(rule_of(draft)).pruned_once
    if not train.epochs or draft.prune.drive == "probability" or once:
        return 1, FROM_DATA
    return min(facts.steps(int(train.batch)), max(1, round(PRUNES / int(train.epochs)))), FROM_DATA


def _compile(draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
    if facts.device is None:
        return None
    from aecompress.plan.engine import choose_engine, workload_of

    choice = choose_engine(workload_of(draft, net(), facts.device, facts.data.rows), "auto")
    return choice.compile, choice.why


_REGROWTH = ("prune.drive", "prune.masks", "train.epochs")
"""What decides whether weights can regrow."""
_DOMINANCE = ("evolve.order", "prune.operator", "prune.target_sparsity", *_REGROWTH)
"""What decides whether cells can differ in their budgets."""
_LIMITS = ("budget.max_params", "budget.max_bytes")
"""What sets the target sparsity where none is requested."""
_EXPORT = ("train.bits", "export.opset", "export.variants", "export.values")
"""What decides the bytes of a file."""
_ENGINE = (
    "precision", "mode", "data.source", "model.family", "evolve.rule", "evolve.cells", "budget.max_loss_increase",
    "train.epochs", "train.batch", "train.optimizer", "train.code_l1",
)  # fmt: skip
"""What the choice of an engine reads."""

RECIPE: tuple[Row, ...] = (
    Row(
        "model.encoder",
        ("pretrained", "requested", "model.init", "model.activation", "model.latent_activation"),
        _encoder,
    ),
    Row("model.hidden", ("inputs", "shape", "windows", "model.encoder", "model.network"), _hidden),
    Row("model.latent", ("inputs", "model.encoder", "model.network", "model.hidden"), _latent),
    Row(
        "model.latent_activation",
        ("requested", "model.network", "model.family", "train.code_l1", "model.initial"),
        _latent_activation,
    ),
    Row("model.output", ("unit", "rows", "saturated", "model.initial", "train.loss", *LINEAR), _output),
    Row("model.decoder", ("pretrained", "model.init", "model.activation", "model.output"), _decoder),
    Row("train.loss", ("binary", "unit", "sparse", "model.family", "model.decoder", "model.output"), _loss),
    Row("model.initial", ("model.output", "train.loss", *LINEAR), _initial),
    Row("train.batch", ("rows",), lambda draft, facts, net: (default_batch(facts.data.rows), FROM_DATA)),
    Row("train.epochs", ("rows", "model.network", "train.batch"), _epochs),
    Row("prune.drive", ("requested", "prune.form"), _drive),
    Row(
        "prune.operator",
        (
            *("model.network", "model.encoder", "model.decoder", "model.initial", "train.epochs", "train.optimizer"),
            *("prune.drive", "prune.masks", "prune.granularity"),
        ),
        _operator,
    ),
    Row(
        "prune.form",
        ("prune.drive",),
        lambda draft, facts, net: ("published" if draft.prune.drive == "probability" else "score", FROM_DATA),
    ),
    Row(
        "prune.probability",
        ("prune.operator",),
        lambda draft, facts, net: (probability_of(draft.prune.operator), FROM_DATA),
    ),
    Row("prune.regrowth", (*_REGROWTH, "prune.granularity"), _regrowth),
    Row("prune.regrowth_end", (), lambda draft, facts, net: (0.75, FROM_DATA)),
    Row(
        "train.betas",
        ("prune.regrowth",),
        lambda draft, facts, net: ((0.9, 0.99) if draft.prune.regrowth else (0.9, 0.999), FROM_DATA),
    ),
    Row(
        "prune.target_sparsity",
        (
            *("net", "described", "model.network", "train.epochs", "prune.drive", "prune.operator"),
            *("prune.granularity", *_LIMITS, *_EXPORT),
        ),
        _target_sparsity,
    ),
    Row(
        "train.learning_rate",
        ("rows", "inputs", "net", "model.initial", "model.output", "prune.target_sparsity"),
        _learning_rate,
    ),
    Row(
        "prune.per_generation",
        ("rows", "requested", "train.batch", "train.epochs", "mode", "evolve.rule", "prune.drive"),
        _per_generation,
    ),
)
"""The default recipe, in the order in which fields are filled."""

FOLLOWING: tuple[Row, ...] = (
    Row(
        "evolve.rule",
        ("requested", "mode", "evolve.cells", "evolve.budgets", *_DOMINANCE),
        _rule,
    ),
    Row(
        "evolve.budgets",
        ("net", "evolve.rule", "evolve.cells", "prune.granularity", "prune.target_sparsity"),
        _budgets,
    ),
    Row(
        "budget.min_sparsity",
        ("requested", "budget.max_loss_increase", "prune.drive", "prune.target_sparsity", *_LIMITS),
        _min_sparsity,
    ),
    Row("compile", ("device", "net", "rows", *_ENGINE), _compile),
)
"""What follows from the recipe; a spec for later runs leaves it "auto", so that it follows their flags too."""

TABLE = RECIPE + FOLLOWING
"""Every field that can be filled, in order."""

ELSEWHERE: Mapping[str, str] = {
    "device": "by the machine of each run: plan.device.devices_for, plan.engine.cheapest_device",
    "data.header": "by each file: data.sources",
    "data.in_memory": "by the memory of the machine of each run: data.file_rows",
    "data.scaling": "by the rows, and kept with the model: data.scaling",
    "data.split_by": "by data.window: data.split",
    "prune.end": "by the target of each cell: pruning_end",
}
"""The fields that stay "auto" in a complete spec, and what decides them."""


def complete(resolved: Resolved, facts: RunFacts, rows: Sequence[Row] = TABLE) -> Resolved:
    """Fill the "auto" fields of ``rows`` by the default recipe, and check the complete spec once.

    Raises:
        DataError: the pretrained model does not fit the rows.
        SpecError: the spec contradicts itself, or requests what these rows and this network cannot give.
    """
    return checked(filled(resolved, facts, rows), with_requested(resolved.spec, facts))


def filled(resolved: Resolved, facts: RunFacts, rows: Sequence[Row] = TABLE) -> Resolved:
    """Fill the "auto" fields of ``rows`` by the default recipe, without checking the draft that comes of it.

    Raises:
        DataError: the pretrained model does not fit the rows.
        SpecError: layers do not fit together.
    """
    check_pretrained(resolved.spec, facts)
    facts = with_requested(resolved.spec, facts)
    draft, sources = resolved.spec, dict(resolved.sources)
    for row in rows:
        found = fill(draft, row, facts)
        if found is not None:
            draft, sources[row.field] = with_value(draft, row.field, found[0]), found[1]
    return Resolved(draft, sources)


def checked(draft: Resolved, facts: RunFacts) -> Resolved:
    """Return a filled draft as a complete spec.

    Raises:
        SpecError: it contradicts itself, or requests what these rows and this network cannot give.
    """
    spec = RunSpec.model_validate(draft.spec.model_dump())
    faults = unsuitable(spec, facts) or contradictions(spec)
    if faults:
        raise SpecError(faults)
    net = network_of(spec.model, facts.data.row_shape, facts.data.windows)
    if spec.model.initial == "pca" and (why := why_not_linear(net)):
        raise SpecError(
            f"model.initial = 'pca': no weights of this network are principal components: {why}; leave it out"
        )
    return Resolved(spec, draft.sources)


def with_requested(spec: RunSpec, facts: RunFacts) -> RunFacts:
    """Return the facts with the fields that a spec requests: those that are not open to be filled."""
    values = flatten(spec.model_dump())
    return dataclasses.replace(facts, requested=frozenset(path for path in values if not _open(path, values[path])))


def fill(draft: RunSpec, row: Row, facts: RunFacts) -> Filled:
    """Return the value of a row's field and why; None where it was requested, or is left as it is."""
    section, _, name = row.field.rpartition(".")
    if not _open(row.field, getattr(getattr(draft, section) if section else draft, name)):
        return None
    return row.value(draft, facts, lambda: network_of(draft.model, facts.data.row_shape, facts.data.windows))


def with_value(draft: RunSpec, path: str, value: Any) -> RunSpec:
    """Return the draft with one field set, unchecked: the complete spec is checked as a whole."""
    section, _, name = path.rpartition(".")
    if not section:
        return draft.model_copy(update={name: value})
    return draft.model_copy(update={section: getattr(draft, section).model_copy(update={name: value})})


def _open(path: str, value: Any) -> bool:
    """Return whether a field can be filled: its default says nothing, and has not been replaced."""
    return FIELDS[path] in ("auto", ()) and value == FIELDS[path]


def pruning_end(spec: RunSpec, target: float) -> float:
    """Return the progress of the run at which cubic reaches ``target``: prune.end, or what the recipe says."""
    if spec.prune.end != "auto":
        return spec.prune.end
    if spec.prune.granularity == "unit":
        share = 0.5
    elif spec.prune.regrowth == 0 or (spec.model.convolves and spec.prune.operator == "obd"):
        share = 0.75
    elif spec.train.loss == "bce-then-l1":
        share = 0.2
    else:  # few weights have to be found by exchange, for which they need the time
        share = min(max(0.75 - 0.5 * math.log10(0.2 / (1 - target)), 0.2), 0.75)
    return spec.prune.start + (1 - spec.prune.start) * share
