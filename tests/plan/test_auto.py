from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

import pytest
import torch
from pydantic import BaseModel

from aecompress.data.facts import Facts
from aecompress.errors import DataError, SpecError
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.auto import (
    ELSEWHERE,
    NETWORKS,
    RECIPE,
    TABLE,
    Filled,
    Net,
    Row,
    complete,
    fill,
    pruning_end,
    with_value,
)
from aecompress.plan.auto import filled as fill_in
from aecompress.plan.facts import LayerFacts, PretrainedFacts, RunFacts
from aecompress.spec.fields import FIELDS, NetworkName, RunSpec
from aecompress.spec.resolve import Resolved, resolve
from aecompress.spec.toml import flatten

FACTS = RunFacts(data=Facts(rows=1438, inputs=64, binary=False, unit=True, saturated=0.58), device=torch.device("cpu"))
BINARY = RunFacts(data=Facts(rows=80, inputs=60, binary=True, unit=True), device=torch.device("cpu"))
UNIT = RunFacts(data=Facts(rows=5000, inputs=20, binary=False, unit=True), device=torch.device("cpu"))
STANDARD = RunFacts(data=Facts(rows=5000, inputs=20, binary=False, unit=False), device=torch.device("cpu"))
IMAGES = RunFacts(data=Facts(rows=60, inputs=784, shape=(28, 28), binary=False, unit=True), device=torch.device("cpu"))
WINDOWS = RunFacts(
    data=Facts(rows=60, inputs=320, shape=(32, 10), windows=True, binary=False, unit=True), device=torch.device("cpu")
)
LAYERS = RunFacts(
    data=Facts(rows=320, inputs=12, binary=False, unit=True),
    device=torch.device("cpu"),
    pretrained=PretrainedFacts(
        inputs=12,
        encoder=(LayerFacts(8, "relu"), LayerFacts(3, "")),
        decoder=(LayerFacts(8, ""), LayerFacts(12, "")),
    ),
)
NETWORK = {"model.hidden", "model.latent", "model.latent_activation", "model.output", "model.encoder", "model.decoder"}
"""Fields that the network is built from, and that can be "auto"."""


def resolved_of(fields: dict[str, Any], preset: str | None = None) -> Resolved:
    return resolve({path: ("flag", value) for path, value in fields.items()}, preset=preset)


def completed(fields: dict[str, Any], facts: RunFacts = FACTS, preset: str | None = None) -> Resolved:
    return complete(resolved_of(fields, preset), facts)


def accepts_auto(path: str) -> bool:
    """Whether a field can be "auto"."""
    part: type[BaseModel] = RunSpec
    *sections, name = path.split(".")
    for section in sections:
        kind = part.model_fields[section].annotation
        assert isinstance(kind, type) and issubclass(kind, BaseModel)
        part = kind
    annotation = part.model_fields[name].annotation
    kinds = [annotation, *get_args(annotation)]
    return FIELDS[path] == "auto" or any("auto" in get_args(kind) for kind in kinds if kind is not Literal)


def test_every_field_that_can_be_auto_is_filled_once_or_said_to_be_elsewhere() -> None:
    filled = [row.field for row in TABLE]
    assert len(filled) == len(set(filled))
    assert not set(filled) & set(ELSEWHERE)
    assert {*filled, *ELSEWHERE} == {path for path in FIELDS if accepts_auto(path)} | {"model.encoder", "model.decoder"}


class Recording:
    """A draft, or facts, that keeps the names of what is read."""

    def __init__(self, part: Any, seen: set[str], prefix: str = "") -> None:
        self._part, self._seen, self._prefix = part, seen, prefix

    def __getattr__(self, name: str) -> Any:
        value, path = getattr(self._part, name), self._prefix + name
        if isinstance(value, RunFacts | Facts) or (isinstance(value, BaseModel) and path in RunSpec.model_fields):
            return Recording(value, self._seen, path + "." if isinstance(value, BaseModel) else "")
        if callable(value):
            return getattr(type(self._part), name).__get__(self)
        if isinstance(getattr(type(self._part), name, None), property):
            return getattr(type(self._part), name).fget(self)
        self._seen.add(path)
        return value


CASES: dict[str, tuple[dict[str, Any], RunFacts, str | None]] = {
    "digits": ({}, FACTS, None),
    "binary rows": ({}, BINARY, None),
    "rows beyond [0, 1]": ({}, STANDARD, None),
    "interactions": ({"data.source": "interactions:x.csv"}, dataclasses.replace(
        BINARY, data=Facts(rows=60, inputs=40, binary=True, unit=True, sparse=True)), None),
    "canonical": ({"mode": "canonical"}, FACTS, None),
    "variational": ({"model.family": "variational"}, FACTS, None),
    "few values at the ends": ({}, UNIT, None),
    "few rows": ({"model.activation": "leaky-relu:0.1"}, dataclasses.replace(
        UNIT, data=dataclasses.replace(UNIT.data, rows=60, saturated=0.9)), None),
    "loss requested": ({"train.loss": "bce"}, UNIT, None),
    "principal components": ({"model.initial": "pca", "model.network": "paper"}, FACTS, None),
    "units": ({"prune.granularity": "unit"}, FACTS, None),
    "paper's network": ({"model.network": "paper-large"}, FACTS, None),
    "images": ({"model.network": "conv"}, IMAGES, None),
    "components": ({"model.network": "pca"}, FACTS, None),
    "windows": ({"model.network": "conv", "prune.granularity": "unit"}, WINDOWS, None),
    "layers": ({"model.encoder": [{"out": 4}], "model.decoder": [{"out": 64}]}, FACTS, None),
    "probability": ({"prune.probability": 0.3, "prune.operator": "variance", "prune.schedule": "fixed"}, FACTS, None),
    "published": ({"prune.form": "published", "prune.operator": "random", "prune.schedule": "fixed"}, FACTS, None),
    "panmictic": ({"evolve.rule": "panmictic"}, FACTS, None),
    "same budgets": ({"evolve.budgets": "same"}, FACTS, None),
    "two cells": ({"evolve.cells": 2}, FACTS, None),
    "parameters": ({"budget.max_params": 700}, FACTS, None),
    "bytes": ({"budget.max_bytes": 9000, "export.variants": ["packed"]}, FACTS, None),
    "units within bytes": ({"budget.max_bytes": 9000, "prune.granularity": "unit"}, FACTS, None),
    "loss": ({"budget.max_loss_increase": 0.05, "prune.target_sparsity": 0.5}, FACTS, None),
    "pretrained, other ends": ({"model.init": "m.pt", "model.latent_activation": "tanh"}, LAYERS, None),
    "pretrained": ({"model.init": "m.pt"}, LAYERS, None),
    "pretrained, one shot": ({"model.init": "m.pt", "train.epochs": 0}, LAYERS, None),
    "paper-canonical": ({}, FACTS, "paper-canonical"),
    "paper-coevo": ({}, BINARY, "paper-coevo"),
    "compiled": ({"train.epochs": 4000}, FACTS, None),
}  # fmt: skip


class Reads:
    """What a row reads, and what it gives."""

    def __init__(self, draft: RunSpec, row: Row, facts: RunFacts) -> None:
        self.fields: set[str] = set()
        self.facts: set[str] = set()
        self.filled = fill(draft, row._replace(value=lambda *given: self.value(row, *given)), facts)

    def value(self, row: Row, draft: RunSpec, facts: RunFacts, net: Net) -> Filled:
        def read_net() -> Autoencoder:
            self.facts.add("net")
            return net()

        recorded: Any = Recording(draft, self.fields), Recording(facts, self.facts)
        return row.value(*recorded, read_net)


def requested_by(spec: RunSpec) -> frozenset[str]:
    return frozenset(path for path, value in flatten(spec.model_dump()).items() if value not in ("auto", ()))


@pytest.mark.parametrize("name", CASES)
def test_a_row_reads_what_it_names_and_only_what_is_requested_or_filled_above(name: str) -> None:
    fields, facts, preset = CASES[name]
    draft = resolved_of(fields, preset).spec
    facts = dataclasses.replace(facts, requested=requested_by(draft))
    known = set(facts.requested) | {path for path, value in FIELDS.items() if value == () and path not in NETWORK}
    for row in TABLE:
        reads = Reads(draft, row, facts)
        assert reads.fields | reads.facts <= set(row.reads), row.field
        assert reads.fields | (NETWORK if "net" in reads.facts else set()) <= known, row.field
        if reads.filled is not None:
            draft = with_value(draft, row.field, reads.filled[0])
        known.add(row.field)


def test_what_a_row_names_is_read_in_some_case() -> None:
    read: dict[str, set[str]] = {row.field: set() for row in TABLE}
    for fields, facts, preset in CASES.values():
        draft = resolved_of(fields, preset).spec
        facts = dataclasses.replace(facts, requested=requested_by(draft))
        for row in TABLE:
            reads = Reads(draft, row, facts)
            read[row.field] |= reads.fields | reads.facts
            draft = draft if reads.filled is None else with_value(draft, row.field, reads.filled[0])
    assert read == {row.field: set(row.reads) for row in TABLE}


def test_a_complete_spec_has_no_auto_field_but_those_decided_elsewhere() -> None:
    done = completed({})
    values = flatten(done.spec.model_dump())
    assert {path for path, value in values.items() if value == "auto"} == set(ELSEWHERE)
    assert set(done.sources) == set(FIELDS)
    assert complete(done, FACTS) == done


RECIPE_OF_DIGITS = {
    "model.output": "sigmoid", "model.hidden": (32,), "model.latent": 8, "model.latent_activation": "identity",
    "train.loss": "mse", "model.initial": "pca", "train.batch": 16, "train.epochs": 67, "train.learning_rate": 8e-3,
    "train.betas": (0.9, 0.99), "prune.operator": "obd-root", "prune.drive": "target", "prune.form": "score",
    "prune.probability": 0.5,
    "prune.regrowth": 0.5, "prune.regrowth_end": 0.75, "prune.target_sparsity": 0.8, "prune.per_generation": 1,
    "evolve.rule": "dominance", "evolve.budgets": (0.0, 0.552786, 0.8, 0.9), "budget.min_sparsity": 0.0,
    "compile": "off", "model.encoder": (), "model.decoder": (),
}  # fmt: skip
ONE_SHOT = {
    "train.epochs": 0, "prune.regrowth": 0.0, "train.betas": (0.9, 0.999), "prune.per_generation": 1,
    "evolve.rule": "pair", "evolve.budgets": "same",
}  # fmt: skip
BY_PROBABILITY = {
    "prune.drive": "probability", "prune.form": "published", "prune.target_sparsity": 0.0, "prune.regrowth": 0.0,
    "train.betas": (0.9, 0.999), "evolve.rule": "pair", "evolve.budgets": "same",
}  # fmt: skip
DRAWN = {"model.initial": "scaled", "prune.operator": "magnitude"}
"""Of networks that do not begin as principal components."""
DIFFERENCES: dict[str, dict[str, Any]] = {
    "digits": {},
    "binary rows": DRAWN | {
        "train.loss": "bce-then-l1", "model.initial": "torch", "train.epochs": 200, "model.latent": 8,
    },
    "rows beyond [0, 1]": {
        "model.output": "identity", "model.hidden": (8,), "model.latent": 2, "train.batch": 64, "train.epochs": 76,
    },
    "few values at the ends": {
        "model.output": "identity", "model.hidden": (8,), "model.latent": 2, "train.batch": 64, "train.epochs": 76,
    },
    "few rows": {
        "model.output": "identity", "model.hidden": (8,), "model.latent": 2, "train.epochs": 200,
        "train.learning_rate": 8e-3 * 60 * 20 / (390 * (1 - 0.8)) / 32,
    },
    "interactions": DRAWN | {"train.loss": "bce", "model.hidden": (16,), "model.latent": 4, "train.epochs": 200},
    "canonical": {"evolve.rule": "pair", "evolve.budgets": "same"},
    "variational": DRAWN | {"train.loss": "bce"},
    "units": DRAWN | {
        "model.initial": "torch", "prune.regrowth": 0.0, "train.betas": (0.9, 0.999),
    },
    "paper's network": DRAWN | {"model.hidden": (60, 30), "model.latent": 10, "model.latent_activation": "relu"},
    "images": {
        "model.initial": "scaled", "model.hidden": (16, 32, 64), "model.latent": 64, "train.epochs": 200,
        "prune.operator": "obd",
    },
    "windows": DRAWN | {
        "model.hidden": (16, 32), "model.latent": 32, "model.initial": "torch", "prune.regrowth": 0.0,
        "train.betas": (0.9, 0.999), "train.epochs": 200,
    },
    "layers": DRAWN | {"model.hidden": "auto", "model.latent": "auto"},
    "probability": DRAWN | BY_PROBABILITY | {"prune.probability": 0.3, "prune.operator": "variance"},
    "published": DRAWN | BY_PROBABILITY | {"prune.operator": "random"},
    "panmictic": {"evolve.rule": "panmictic", "evolve.budgets": "same", "prune.per_generation": 1},
    "same budgets": {"evolve.rule": "pair", "evolve.budgets": "same"},
    "two cells": {"evolve.rule": "pair", "evolve.budgets": "same"},
    "loss": {"budget.min_sparsity": 0.5, "evolve.budgets": (0.0, 0.292893, 0.5, 0.75), "prune.target_sparsity": 0.5},
    "pretrained, one shot": DRAWN | ONE_SHOT | {"model.hidden": "auto", "model.latent": "auto"},
    "compiled": {"compile": "on", "train.epochs": 4000},
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "operator"),
    [
        ("seed", 0, "obd"),
        ("prune.granularity", "unit", "magnitude"),
        ("prune.masks", "free", "magnitude"),
        ("train.optimizer", "fresh-adam", "magnitude"),
        ("train.epochs", 0, "magnitude"),
    ],
)
def test_kernels_are_ranked_by_obd_where_weights_are_pruned_beside_adam(path: str, value: Any, operator: str) -> None:
    kernels = [{"kind": "conv2d", "out": 2, "kernel": [3, 3]}, {"out": 4}]
    draft = resolved_of({"model.encoder": kernels, "model.decoder": [{"out": 784}]}, None)
    draft = Resolved(with_value(draft.spec, path, value), draft.sources)
    assert fill_in(draft, IMAGES).spec.prune.operator == operator


@pytest.mark.parametrize("name", DIFFERENCES)
def test_the_recipe(name: str) -> None:
    fields, facts, preset = CASES[name]
    values = flatten(completed(fields, facts, preset).spec.model_dump())
    got = {path: values[path] for path in RECIPE_OF_DIGITS if not path.endswith("coder")}
    wanted = {path: value for path, value in RECIPE_OF_DIGITS.items() if not path.endswith("coder")}
    assert got == wanted | DIFFERENCES[name]


@pytest.mark.parametrize(
    ("fields", "field", "source"),
    [
        ({}, "model.hidden", "from the data"),
        ({}, "evolve.rule", "from the budgets"),
        ({}, "evolve.budgets", "from the target"),
        ({}, "budget.min_sparsity", "no target requested"),
        (
            {"prune.target_sparsity": 0.5, "budget.max_loss_increase": 0.1},
            "budget.min_sparsity",
            "the requested target",
        ),
        ({"budget.max_params": 900, "budget.max_loss_increase": 0.1}, "budget.min_sparsity", "the requested target"),
        ({"budget.max_params": 900}, "prune.target_sparsity", "from the budget"),
        ({"train.batch": 8}, "train.batch", "flag"),
        ({"train.batch": "auto"}, "train.batch", "from the data"),
        ({}, "prune.end", "default"),
    ],
)
def test_every_value_says_where_it_came_from(fields: dict[str, Any], field: str, source: str) -> None:
    assert completed(fields).sources[field] == source


def test_the_machine_decides_whether_to_compile_and_says_why() -> None:
    done = completed({})
    assert done.spec.compile == "off" and done.sources["compile"].startswith("auto: ")
    assert completed({}, dataclasses.replace(FACTS, device=None)).spec.compile == "auto"
    assert completed({"compile": "off"}).sources["compile"] == "flag"


def test_a_spec_for_later_runs_states_the_recipe_and_leaves_what_follows() -> None:
    done = complete(resolve(), FACTS, RECIPE)
    values = flatten(done.spec.model_dump())
    left = {"evolve.rule", "evolve.budgets", "budget.min_sparsity", "compile"}
    assert {path for path, value in values.items() if value == "auto"} == {*ELSEWHERE, *left}
    assert complete(done, FACTS).spec == complete(resolve(), FACTS).spec


def test_a_pretrained_model_brings_its_layers() -> None:
    done = completed({"model.init": "m.pt", "model.activation": "gelu"}, LAYERS)
    model = done.spec.model
    assert [(layer.out, layer.activation) for layer in model.encoder] == [(8, "relu"), (3, "identity")]
    assert [(layer.out, layer.activation) for layer in model.decoder] == [(8, "gelu"), (12, "sigmoid")]
    assert done.sources["model.encoder"] == done.sources["model.decoder"] == "--init m.pt"
    assert complete(done, LAYERS) == done
    ends = completed({"model.init": "m.pt", "model.latent_activation": "tanh", "model.output": "identity"}, LAYERS).spec
    assert (ends.model.encoder[-1].activation, ends.model.decoder[-1].activation) == ("tanh", "identity")


def test_a_pretrained_model_of_other_inputs_is_refused() -> None:
    with pytest.raises(DataError, match="m.pt: takes 12 inputs, the rows have 64"):
        completed({"model.init": "m.pt"}, dataclasses.replace(FACTS, pretrained=LAYERS.pretrained))


def test_all_faults_of_a_complete_spec_come_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        completed({"train.loss": "bce", "model.output": "sigmoid", "prune.per_generation": 1000}, STANDARD)
    assert len(caught.value.faults) == 2


def test_the_networks_of_the_paper_are_those_of_the_spec() -> None:
    assert set(NETWORKS) == set(get_args(NetworkName)) - {"default", "conv", "pca"}


@pytest.mark.parametrize("inputs", [1, 2, 3, 5, 64, 784, 1000, 100000])
def test_the_default_network_fits_any_width(inputs: int) -> None:
    spec = completed({"compile": "off"}, RunFacts(data=Facts(rows=1000, inputs=inputs, binary=False, unit=True))).spec
    assert isinstance(spec.model.latent, int)
    assert 1 <= spec.model.latent <= inputs
    assert spec.model.hidden[0] <= 512


@pytest.mark.parametrize(
    ("fields", "target", "end"),
    [
        ({}, 0.5, 0.75),
        ({}, 0.8, 0.75),
        ({}, 0.9, 0.5995),
        ({}, 0.98, 0.25),
        ({}, 0.999, 0.2),
        ({"prune.end": 0.4}, 0.9, 0.4),
        ({"prune.start": 0.5}, 0.8, 0.875),
        ({"prune.regrowth": 0}, 0.98, 0.75),
        ({"prune.granularity": "unit"}, 0.8, 0.5),
        ({"train.loss": "bce-then-l1"}, 0.5, 0.2),
    ],
)
def test_the_end_of_pruning_follows_loss_and_target(fields: dict[str, Any], target: float, end: float) -> None:
    assert pruning_end(completed(fields).spec, target) == pytest.approx(end, abs=1e-3)


@pytest.mark.parametrize(
    ("network", "operator", "end"),
    [("conv", "auto", 0.75), ("conv", "magnitude", 0.5995), ("default", "obd", 0.5995)],
)
def test_pruning_by_obd_ends_late_in_networks_with_convolutions(network: str, operator: str, end: float) -> None:
    fields = {"model.network": network, "prune.operator": operator}
    spec = completed(fields, IMAGES if network == "conv" else FACTS).spec
    assert pruning_end(spec, 0.9) == pytest.approx(end, abs=1e-3)
