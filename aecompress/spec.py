"""The spec of a run: what is asked, where each value came from, and every fault at once.

Values come from flags, over a TOML file, over a preset, over the defaults. A field that says "auto" is filled in once
the data are known (:mod:`aecompress.recipe`); ``aecompress spec`` prints the result with the source of each value.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from aecompress import plugins
from aecompress.errors import SpecError

Auto = Literal["auto"]
ActivationName = Literal["identity", "relu", "leaky-relu", "gelu", "tanh", "sigmoid"]
HiddenActivationName = Literal["relu", "leaky-relu", "gelu", "tanh"]
LossName = Literal["l1", "mse", "bce", "huber", "bce-then-l1"]
MeasureName = Literal["l1", "mse", "bce", "huber"]
OperatorName = Literal["none", "random", "magnitude", "magnitude-layer", "wanda", "taylor", "variance", "conjunctive"]
ScheduleName = Literal["fixed", "increase", "decrease", "exponential", "final_n", "prune_after", "population", "cubic"]
ModeName = Literal["canonical", "coevo"]
RuleName = Literal["dominance", "pair", "pair-prune-first", "opponents", "panmictic"]
TopologyName = Literal["ring", "von-neumann", "moore"]
ConceptName = Literal["best", "mean", "worst"]
OptimizerName = Literal["adam", "fresh-adam"]
RateName = Literal["cosine", "step", "walk"]
NetworkName = Literal["default", "paper", "paper-small", "paper-large"]
VariantName = Literal["packed", "fp16", "int8", "scorer", "sparse"]
FamilyName = Literal["plain", "denoising", "variational"]
Share = Annotated[float, Field(ge=0, le=1)]
Sparsity = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


def _plugged(group: str) -> Callable[[str], str]:
    """Checks that an installed package gives an entry point of ``group`` this name."""

    def check(name: str) -> str:
        there = plugins.names(group)
        if name not in there:
            brought = f"a plug-in's: {', '.join(there)}" if there else "a plug-in's name, and none is installed"
            raise PydanticCustomError("plugin", "{brought}", {"brought": brought})
        return name

    return check


PluggedOperator = Annotated[str, AfterValidator(_plugged(plugins.OPERATORS))]
PluggedSchedule = Annotated[str, AfterValidator(_plugged(plugins.SCHEDULES))]


def _percentage(value: Any) -> Any:
    """``5%`` as 0.05."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*%\s*", value) if isinstance(value, str) else None
    return float(match.group(1)) / 100 if match else value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSpec(_Part):
    """Where the rows come from and how they are split and scaled."""

    source: str = Field(
        "digits",
        description="digits, binary-clusters:CxRxD, a .npy, .npz[:key], .csv or .csv.gz file, - for stdin, or "
        "interactions:FILE, a CSV file of user,item pairs",
    )
    key: str = Field("", description="name of the array in an .npz file; empty when it holds one")
    columns: str = Field("", description="columns of CSV rows, by name or number (0,3-5); empty: all")
    header: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="whether the first line of CSV names the columns; auto: when one of its cells is no number, "
        "and of interactions when its first is user, userid, user_id or uid",
    )
    split: tuple[Share, Share, Share] = Field((0.8, 0.1, 0.1), description="shares of train, validation and test rows")
    val: str = Field("", description="FILE[:key] with the validation rows; empty: taken from the source")
    test: str = Field("", description="FILE[:key] with the test rows; empty: taken from the source")
    labels: str = Field("", description="FILE[:key] with 0 or 1 (anomaly) for each row of data.test")
    scaling: Literal["auto", "none", "minmax", "standard"] = Field(
        "auto", description="auto: uint8 / 255, values in [0, 1] untouched, else minmax; fitted on training rows"
    )


class LayerSpec(_Part):
    """One layer, written out."""

    out: Count
    activation: ActivationName = "relu"


class ModelSpec(_Part):
    """The autoencoder."""

    init: str = Field(
        "", description="FILE with a trained model to start from: .safetensors, .pt/.pth (a state dict) or .onnx"
    )
    network: NetworkName = Field(
        "default", description="where sizes left out come from: the recipe, or a network of the paper (ALGORITHMS A2)"
    )
    family: FamilyName = Field("plain", description="plain, denoising or variational")
    noise: Annotated[float, Field(ge=0)] = Field(0.4, description="level of the Gaussian input noise, under denoising")
    hidden: Auto | tuple[Count, ...] = Field(
        "auto", description="hidden layer sizes of the encoder; the decoder mirrors them"
    )
    latent: Auto | Count = Field("auto", description="size of the latent code")
    activation: HiddenActivationName = Field("relu", description="activation of the hidden layers")
    latent_activation: Auto | ActivationName = Field(
        "auto", description="activation of the latent code; auto: relu in the paper's networks, else identity"
    )
    output: Auto | ActivationName = Field(
        "auto", description="activation of the output; auto: sigmoid for rows in [0, 1]"
    )
    initial: Auto | Literal["scaled", "torch"] = Field(
        "auto",
        description="first weights; scaled: variance 1/inputs, output biases of the mean row; torch: nn.Linear's; "
        "auto: scaled, torch where whole units are pruned",
    )
    encoder: tuple[LayerSpec, ...] = Field((), description="the encoder layer by layer, instead of hidden and latent")
    decoder: tuple[LayerSpec, ...] = Field(
        (), description="the decoder layer by layer; its last layer gives the inputs back"
    )


class TrainSpec(_Part):
    """How the autoencoder learns."""

    epochs: Auto | Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        "auto", description="generations; one is one pass over the training rows; 0: prune model.init as it is"
    )
    batch: Auto | Count = Field("auto", description="rows per step")
    learning_rate: Auto | Annotated[float, Field(gt=0, le=10)] = Field("auto", description="Adam's peak rate")
    optimizer: OptimizerName = Field(
        "adam",
        description="adam: its state travels with the individual; fresh-adam: a new one every step, as published",
    )
    rate: RateName = Field("cosine", description="cosine: warm-up, then a cosine to 0; step: drops; walk: per cell")
    warmup: Share = Field(0.1, description="share of the run in which the rate rises from 0, under cosine")
    drops: Count = Field(4, description="equal parts of the run, each with a lower rate, under step")
    drop: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="factor from part to part, under step")
    walk: Annotated[float, Field(ge=0)] = Field(
        1e-5, description="standard deviation of a generation's walk, under walk"
    )
    betas: Auto | tuple[Sparsity, Sparsity] = Field(
        "auto", description="Adam's decay rates; auto: 0.9 and 0.999, 0.9 and 0.99 beside regrowth (docs/recipe.md)"
    )
    loss: Auto | LossName = Field("auto", description="auto: bce-then-l1 for 0/1 rows, else mse")
    bce_share: Share = Field(0.5, description="share of the run on bce, under bce-then-l1")


class EvolveSpec(_Part):
    """The ring of encoders and decoders, under mode coevo."""

    cells: Count = Field(4, description="cells on the ring")
    topology: TopologyName = Field(
        "ring",
        description="ring; von-neumann: a grid closed to a torus, neighbours right, left, down and up; moore: also "
        "diagonally; its sides are as near to a square as cells allow",
    )
    radius: Annotated[int, Field(ge=0)] = Field(1, description="steps to the farthest neighbour on each side")
    budgets: Auto | Literal["same"] | tuple[Sparsity, ...] = Field(
        "auto",
        description="target sparsity of each cell; same: prune.target_sparsity for all; auto: from 0 to beyond it "
        "under dominance, else same",
    )
    rule: Auto | RuleName = Field(
        "auto",
        description="dominance: a cell takes its neighbourhood's best encoder and decoder, cut to its own budget, "
        "where they beat its own; pair: a tournament, then training, then pruning, as published; pair-prune-first: "
        "pruning before training; opponents: each of the pair trains with opponents drawn anew for every batch; "
        "panmictic: every encoder trains with every decoder; auto: dominance where budgets can differ, else pair",
    )
    order: Literal["synchronous", "asynchronous"] = Field(
        "synchronous", description="synchronous: all cells read the last generation; asynchronous: one after the other"
    )
    tournament: Count = Field(2, description="draws of a tournament, with replacement")
    concept: ConceptName = Field("best", description="fitness of a member over its partners' losses")
    batch: Literal["shared", "cell"] = Field(
        "shared", description="rows of a selection: one batch for the ring, or one per cell as published"
    )


class PruneSpec(_Part):
    """What goes, and when."""

    operator: OperatorName | PluggedOperator = Field("magnitude", description="which weights go first")
    form: Auto | Literal["score", "published"] = Field(
        "auto", description="score: exact counts; published: ALGORITHMS A5; auto: published under a probability"
    )
    schedule: ScheduleName | PluggedSchedule = Field("cubic", description="how pruning develops over the run")
    drive: Auto | Literal["target", "probability"] = Field(
        "auto",
        description="target: the schedule shapes a rise to target_sparsity; probability: it is the chance to prune",
    )
    target_sparsity: Auto | Sparsity = Field(
        "auto", description="share of all weights and biases that are zero at the end; auto: 0.8"
    )
    probability: Auto | Share = Field("auto", description="p of the schedules; auto: 0.1 for variance, else 0.5")
    granularity: Literal["weight", "unit"] = Field("weight", description="prune single weights or whole hidden units")
    regrow: bool = Field(False, description="whether training may change pruned weights again, as published")
    regrowth: Auto | Share = Field(
        "auto",
        description="share of what is kept that is exchanged, at each prune, for what was pruned and has the largest "
        "gradient; falls to 0 at regrowth_end",
    )
    regrowth_end: Auto | Annotated[float, Field(gt=0, le=1)] = Field(
        "auto", description="progress of the run at which the exchange ends"
    )
    order: Literal["high", "low"] = Field("high", description="which spread goes first, under variance")
    amount: Share = Field(0.1, description="share of each tensor, under random in its published form")
    threshold: Share = Field(0.1, description="scaled activation below which a unit is idle, under conjunctive")
    guide_rows: Count = Field(100, description="rows drawn to guide conjunctive")
    guide_split: Literal["validation", "test"] = Field("validation", description="where they are drawn")
    exponent: Annotated[float, Field(gt=0)] = Field(2.0, description="rate of the exponential schedule")
    delay: Annotated[float, Field(ge=0, lt=1)] = Field(0.75, description="share of the run that final_n waits")
    start: Share = Field(0.0, description="progress of the run at which cubic begins")
    end: Auto | Share = Field(
        "auto",
        description="progress of the run at which cubic reaches the target; auto: by loss and target (docs/recipe.md)",
    )
    per_generation: Auto | Count = Field("auto", description="prunes per generation, evenly over its steps")


class BudgetSpec(_Part):
    """What the result may take; 0 sets no limit. It sets the target sparsity where none is asked for."""

    max_params: Annotated[int, Field(ge=0)] = Field(0, description="most weights and biases that are not zero")
    max_bytes: Annotated[int, Field(ge=0)] = Field(
        0, description="most bytes of the smallest autoencoder file asked for"
    )
    max_loss_increase: Annotated[float, Field(ge=0), BeforeValidator(_percentage)] = Field(
        0.0,
        description="most that the validation loss may lie above that of a dense model of the same run, as a share or "
        "like 5%; of the pairs that keep to it the sparsest is taken, unless a target is asked for",
    )
    min_sparsity: Auto | Sparsity = Field(
        "auto",
        description="least share of zeros of a model within max_loss_increase; auto: the target where one is asked "
        "for, else 0",
    )


class ExportSpec(_Part):
    """What is handed over, and how well it must agree."""

    opset: Annotated[int, Field(ge=13, le=24)] = Field(18, description="ONNX opset")
    rows: Annotated[int, Field(ge=0)] = Field(64, description="test rows kept beside the model for verify; 0: none")
    tolerance: Annotated[float, Field(gt=0)] = Field(
        1e-5, description="largest allowed difference of any value, per unit of the largest value (at least 1)"
    )
    loss_tolerance: Annotated[float, Field(gt=0)] = Field(
        1e-5, description="largest allowed relative difference of a loss"
    )
    variants: tuple[VariantName, ...] = Field(
        (), description="files beside the three plain ones: packed, fp16, int8, scorer, sparse"
    )
    values: Literal["smallest", "float32", "float16", "int8", "int4"] = Field(
        "smallest", description="of packed files; smallest: whose loss rises no more than variant_loss"
    )
    variant_loss: Annotated[float, Field(ge=0)] = Field(
        0.02, description="largest rise of the loss that rounding in a variant may cost, as a share"
    )
    embed_scaling: bool = Field(False, description="put the scaling into the ONNX files, so that they take raw rows")
    quantile: Share = Field(0.99, description="share of training rows below the scorer's threshold")


class RunSpec(_Part):
    """A whole run."""

    mode: ModeName = Field("coevo", description="coevo: a ring of encoders and decoders; canonical: one autoencoder")
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = Field(0, description="names every random draw of the run")
    device: str = Field("auto", description="auto, cpu, cuda[:n] or mps")
    precision: Literal["float32", "float64", "bf16"] = Field(
        "float32", description="number format of training; bf16: float32 weights, products in bfloat16"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="compiled training on a CPU; auto: when the run is long enough to repay the compiler"
    )
    checkpoint_every: Count = Field(10, description="generations between two checkpoints")
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    train: TrainSpec = TrainSpec()
    evolve: EvolveSpec = EvolveSpec()
    prune: PruneSpec = PruneSpec()
    budget: BudgetSpec = BudgetSpec()
    export: ExportSpec = ExportSpec()

    @property
    def hash(self) -> str:
        """Identity of the spec: sha256 over its values, 16 hex digits."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


_PAPER: dict[str, Any] = {
    "model": {"network": "paper", "initial": "torch"},
    "train": {"epochs": 400, "batch": 5, "learning_rate": 1e-5, "loss": "l1"},
    "prune": {
        "operator": "random",
        "schedule": "exponential",
        "form": "published",
        "drive": "probability",
        "regrow": True,
        "guide_split": "test",
    },
}


def _over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with nested ``changes`` laid over it."""
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = _over(base.get(key, {}), value) if isinstance(value, Mapping) else value
    return merged


_RING = {"cells": 10, "radius": 1, "rule": "pair", "batch": "cell"}
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # The published method (Jorgensen et al. 2025; ALGORITHMS A).
    "paper-canonical": _over(_PAPER, {"mode": "canonical", "train": {"betas": [0.5, 0.999], "rate": "step"}}),
    "paper-coevo": _over(
        _PAPER,
        {
            "mode": "coevo",
            "train": {"optimizer": "fresh-adam", "rate": "walk"},
            "evolve": {**_RING, "order": "asynchronous"},
        },
    ),
    "paper-coevo-sync": _over(
        _PAPER,
        {
            "mode": "coevo",
            "train": {"optimizer": "fresh-adam", "rate": "walk"},
            "evolve": {**_RING, "order": "synchronous"},
        },
    ),
}


@dataclass(frozen=True)
class Resolved:
    """A spec and, for each dotted field, where its value came from."""

    spec: RunSpec
    sources: dict[str, str] = field(default_factory=dict)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as ``{"a.b": value}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, leaf = path.split(".")
        table = nested
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                break
        else:
            table[leaf] = value
    return nested


FIELDS: dict[str, Any] = flatten(RunSpec().model_dump())
"""Every field of a spec by dotted path, with its default."""


def parse_assignment(text: str) -> tuple[str, Any]:
    """``a.b=c`` of ``--set``: the path and the value, read as TOML where it is TOML and as text otherwise."""
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise SpecError(f"--set {text}: write it as section.field=value, for example train.batch=64")
    try:
        return path.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return path.strip(), value.strip()


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a spec file.

    Raises:
        SpecError: the file is missing or not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise SpecError(f"{path}: cannot be read ({fault.strerror}); name an existing TOML file") from fault
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise SpecError(f"{path}: is not TOML ({fault}); correct it there") from fault


def resolve(
    flags: Mapping[str, tuple[str, Any]] | None = None,
    file: Path | None = None,
    preset: str | None = None,
) -> Resolved:
    """Merge flags over the file over the preset over the defaults, and check the result.

    Args:
        flags: dotted path -> (the flag as the user wrote it, value).
        preset: name of a preset; None takes the file's ``preset``, else "default".

    Raises:
        SpecError: with every fault found, each naming its field, value and source.
    """
    faults = []
    try:
        tables = read_toml(file) if file is not None else {}
    except SpecError as fault:
        tables, faults = {}, fault.faults
    from_file = tables.pop("preset", None)
    name = preset if preset is not None else from_file if from_file is not None else "default"
    if not isinstance(name, str) or name not in PRESETS:
        faults.append(f"preset = {name!r}: no such preset; choose one of {', '.join(PRESETS)}")
        name = "default"
    values: dict[str, Any] = {}
    sources = dict.fromkeys(FIELDS, "default")
    for path, value in flatten(PRESETS[name]).items():
        values[path], sources[path] = value, f"preset {name}"
    for path, value in flatten(tables).items():
        values[path], sources[path] = value, str(file)
    for path, (flag, value) in (flags or {}).items():
        values[path], sources[path] = value, flag
    spec, more = _validated(values, sources)
    if spec is not None:
        more += ignored(spec, sources)
    if faults or more or spec is None:
        raise SpecError(faults + more)
    return Resolved(spec, sources)


SPATIAL = tuple(f"evolve.{name}" for name in ("topology", "radius", "order", "tournament", "concept", "batch"))
"""Fields about neighbours and their selection."""


def ignored(spec: RunSpec, sources: Mapping[str, str]) -> list[str]:
    """Faults of flags that this run would not look at; in a file, which may serve several modes, they are no fault."""
    faults = []
    for path, source in sources.items():
        if source.startswith("--"):
            if path.startswith("evolve.") and spec.mode == "canonical":
                faults.append(f"{path} ({source}): one autoencoder has no ring; leave it out, or choose --mode coevo")
            if path in SPATIAL and spec.mode == "coevo" and spec.evolve.rule == "panmictic":
                faults.append(f"{path} ({source}): a panmictic population has no space and no selection; leave it out")
            if path == "data.split" and spec.data.source.startswith("binary-clusters"):
                faults.append(f"{path} ({source}): {spec.data.source} brings its own three splits; leave it out")
    return faults


def override(resolved: Resolved, path: str, value: Any, source: str) -> Resolved:
    """The same spec with one field set; the value must be valid."""
    values = flatten(resolved.spec.model_dump()) | {path: value}
    return Resolved(RunSpec.model_validate(nest(values)), resolved.sources | {path: source})


def _validated(values: dict[str, Any], sources: Mapping[str, str]) -> tuple[RunSpec | None, list[str]]:
    """The spec, and every fault: unknown fields, bad values, then contradictions between the good ones."""
    faults = []
    good = dict(values)
    for path in values:
        if path not in FIELDS:
            close = difflib.get_close_matches(path, FIELDS, n=1)
            cure = f"did you mean {close[0]}?" if close else "`aecompress spec --schema` lists the fields"
            faults.append(f"{path} = {_short(values[path])} ({sources[path]}): no such field; {cure}")
            del good[path]
        elif _holds_bool(values[path]) and not isinstance(FIELDS[path], bool):
            faults.append(f"{path} = {_short(values[path])} ({sources[path]}): is true or false, which it cannot be")
            del good[path]
    try:
        spec = RunSpec.model_validate(nest(good))
    except ValidationError as error:
        wrong: dict[str, list[str]] = {}
        for fault in error.errors():
            path, inside = _field_of(fault["loc"])
            message = f"{inside}: {fault['msg'].lower()}" if inside else fault["msg"]
            if message not in wrong.setdefault(path, []):
                wrong[path].append(message)
        for path, messages in wrong.items():
            faults.append(f"{path} = {_short(good.get(path))} ({sources.get(path, 'default')}): {_cure(messages)}")
            good.pop(path, None)
        if wrong.keys() & {"model.encoder", "model.decoder"}:  # each is nothing without the other
            good.pop("model.encoder", None)
            good.pop("model.decoder", None)
        try:
            spec = RunSpec.model_validate(nest(good))
        except ValidationError:
            return None, faults
    return spec, faults + contradictions(spec)


def _holds_bool(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list) and any(_holds_bool(item) for item in value))


def _field_of(location: tuple[int | str, ...]) -> tuple[str, str]:
    """The dotted field that a pydantic location lies in, and in words where inside a written-out layer."""
    path = ""
    for index, part in enumerate(location):
        path = f"{path}.{part}" if path else str(part)
        if path in FIELDS:
            rest = location[index + 1 :]
            return path, f"layer {rest[0]}, {rest[1]}" if len(rest) == 2 and isinstance(rest[0], int) else ""
    return path, ""


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _cure(messages: list[str]) -> str:
    said = [message for message in messages if message != "Input should be 'auto'"]
    text = " or ".join(message[0].lower() + message[1:] for message in said)
    return text + " or 'auto'" if len(said) < len(messages) else text


def contradictions(spec: RunSpec) -> list[str]:
    """Faults between fields that are each valid."""
    faults = []
    if abs(sum(spec.data.split) - 1) > 1e-6:
        faults.append(f"data.split = {list(spec.data.split)}: the three shares must add up to 1")
    elif spec.data.split[0] == 0:
        faults.append(f"data.split = {list(spec.data.split)}: the first share, of training rows, must be above 0")
    if spec.export.opset < 18 and "packed" in spec.export.variants:
        faults.append(f"export.opset = {spec.export.opset}: packed files need the operators of 18; choose 18 or more")
    if spec.train.epochs == 0:
        if not spec.model.init:
            faults.append("train.epochs = 0: prunes a model that was trained before; name it as model.init (--init)")
        if drive_of(spec.prune) == "probability" or spec.prune.operator == "variance":
            faults.append(
                "train.epochs = 0: there is no training to watch; drop prune.probability, and choose another operator "
                "than 'variance'"
            )
    limits = spec.budget.max_params or spec.budget.max_bytes or spec.budget.max_loss_increase
    if limits and (drive_of(spec.prune) == "probability" or spec.prune.operator == "none"):
        faults.append("budget: is met by pruning to a target; drop prune.probability, and choose a prune.operator")
    if spec.budget.min_sparsity not in ("auto", 0) and not spec.budget.max_loss_increase:
        faults.append(
            f"budget.min_sparsity = {spec.budget.min_sparsity}: is asked of models within budget.max_loss_increase; "
            "give that too, or ask for prune.target_sparsity"
        )
    if spec.prune.start >= (1 if spec.prune.end == "auto" else spec.prune.end):
        faults.append(
            f"prune.start = {spec.prune.start} and prune.end = {spec.prune.end}: pruning must start before it ends"
        )
    if bool(spec.model.encoder) != bool(spec.model.decoder):
        given, missing = ("encoder", "decoder") if spec.model.encoder else ("decoder", "encoder")
        faults.append(f"model.{missing} = []: model.{given} is written layer by layer, so write model.{missing} too")
    elif spec.model.encoder and (spec.model.hidden, spec.model.latent) != ("auto", "auto"):
        faults.append("model.hidden and model.latent: leave both out when model.encoder and model.decoder are given")
    output = spec.model.decoder[-1].activation if spec.model.decoder else spec.model.output
    if spec.train.loss in ("bce", "bce-then-l1") and output not in ("auto", "sigmoid"):
        faults.append(f"train.loss = {spec.train.loss!r}: cross-entropy needs model.output = 'sigmoid', not {output!r}")
    faults += _pruning_contradictions(spec.prune)
    if spec.data.source.startswith("interactions:"):
        faults += [
            f"{path} = {value!r}: interactions are split by user and stay 0 and 1; leave it out"
            for path, value, plain in (
                ("data.key", spec.data.key, ""),
                ("data.val", spec.data.val, ""),
                ("data.test", spec.data.test, ""),
                ("data.labels", spec.data.labels, ""),
                ("data.scaling", spec.data.scaling, spec.data.scaling if spec.data.scaling == "none" else "auto"),
            )
            if value != plain
        ]
        if spec.compile == "on":
            faults.append("compile = 'on': rows of interactions are trained uncompiled; leave it out")
    rule = spec.evolve.rule if spec.mode == "coevo" else ""
    if rule in ("opponents", "panmictic"):
        if spec.compile == "on":
            faults.append(
                f"compile = 'on': networks that change partners train uncompiled under {rule!r}; leave it out"
            )
        if spec.train.epochs == 0:
            faults.append(f"train.epochs = 0: evolve.rule = {rule!r} is a way of training; choose 'pair'")
    if rule == "panmictic" and spec.prune.per_generation not in ("auto", 1):
        faults.append(
            f"prune.per_generation = {spec.prune.per_generation}: a panmictic population is pruned once all pairs have "
            "trained; set it to 1"
        )
    if spec.mode == "coevo" and spec.evolve.rule == "pair-prune-first":
        if spec.prune.operator == "variance":
            faults.append(
                "prune.operator = 'variance': needs activations of several batches, and pair-prune-first prunes after "
                "one; choose evolve.rule = 'pair' or another operator"
            )
        if spec.prune.regrow and drive_of(spec.prune) == "target" and spec.prune.operator != "none":
            faults.append(
                "prune.regrow = true: pair-prune-first trains after the last prune, so the target would be missed; "
                "choose evolve.rule = 'pair' or prune.regrow = false"
            )
    for name in ("val", "test"):
        if getattr(spec.data, name) == "-":
            faults.append(f"data.{name} = '-': standard input gives the rows of DATA alone; name a file")
    if spec.precision == "float64" and spec.compile == "on":
        faults.append("compile = 'on': compiled training is in float32; set precision to float32 or compile to auto")
    if spec.precision == "float64" and spec.device == "mps":
        faults.append("precision = 'float64': MPS has none; choose float32 or --device cpu")
    if spec.model.family == "variational":
        latent = spec.model.encoder[-1].activation if spec.model.encoder else spec.model.latent_activation
        if latent not in ("auto", "identity"):
            faults.append(
                f"model.latent_activation = {latent!r}: the variational family samples its latent "
                "code, which needs 'identity'"
            )
        if spec.train.loss == "bce-then-l1":
            faults.append("train.loss = 'bce-then-l1': the variational family keeps one loss; choose 'bce'")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,2})?", spec.device, re.ASCII):
        faults.append(f"device = {spec.device!r}: choose auto, cpu, cuda, cuda:N or mps")
    return faults


def _pruning_contradictions(prune: PruneSpec) -> list[str]:
    faults = []
    target = prune.target_sparsity
    if prune.regrowth not in ("auto", 0) and (prune.regrow or drive_of(prune) == "probability"):
        faults.append(
            f"prune.regrowth = {prune.regrowth}: exchanges weights under masks that last, on the way to a target; "
            "leave out prune.regrow and prune.probability, or set it to 0"
        )
    if prune.operator == "none" and target not in ("auto", 0):
        faults.append(
            f"prune.operator = 'none': cannot reach prune.target_sparsity = {target}; "
            "choose an operator or set the target to 0"
        )
    if drive_of(prune) == "probability":
        if target not in ("auto", 0):
            faults.append(
                f"prune.target_sparsity = {target}: cannot be asked for while prune.drive is 'probability'; leave out "
                "the target or the probability, or set prune.drive to 'target' and prune.form to 'score'"
            )
        if prune.schedule == "cubic":
            faults.append("prune.schedule = 'cubic': is a rise to a target, not a probability; choose another schedule")
        if prune.form == "score":
            faults.append(
                "prune.form = 'score': needs exact counts, which a probability does not give; "
                "set prune.form to 'published' or prune.drive to 'target'"
            )
        if prune.per_generation not in ("auto", 1):
            faults.append(f"prune.per_generation = {prune.per_generation}: a probability is drawn once; set it to 1")
    elif prune.form == "published":
        faults.append(
            "prune.form = 'published': prunes by chance, not to a target; "
            "set prune.drive to 'probability' or prune.form to 'score'"
        )
    published = prune.form == "published" or (prune.form == "auto" and drive_of(prune) == "probability")
    if published and prune.operator == "magnitude":
        faults.append("prune.operator = 'magnitude': has no published form; choose random, variance or conjunctive")
    if published and prune.granularity == "unit":
        faults.append(
            "prune.granularity = 'unit': the published forms say themselves what they cut; set it to 'weight'"
        )
    return faults


def drive_of(prune: PruneSpec) -> str:
    """Target or probability; auto follows which of the two numbers is given."""
    if prune.drive != "auto":
        return prune.drive
    return "probability" if prune.probability != "auto" or prune.form == "published" else "target"


def to_toml(resolved: Resolved) -> str:
    """The spec as a TOML file that :func:`resolve` reads back, each value followed by where it came from."""
    top, sections = [], []
    for path, value in flatten(resolved.spec.model_dump(mode="json")).items():
        line = f"{path.rpartition('.')[2]} = {_toml(value)}  # {resolved.sources[path]}"
        section = path.rpartition(".")[0]
        if not section:
            top.append(line)
            continue
        if f"[{section}]" not in sections:
            sections += ["", f"[{section}]"]
        sections.append(line)
    return "\n".join(top + sections) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def measure_of(loss: str) -> MeasureName:
    """The loss that is reported: bce-then-l1 reports l1."""
    return "l1" if loss == "bce-then-l1" else cast(MeasureName, loss)
