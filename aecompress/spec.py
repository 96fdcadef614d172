"""The spec of a run: what is asked, where each value came from, and every fault at once.

Values come from flags, over a TOML file, over a preset, over the defaults. A field that says "auto" is filled in once
the data are known (:func:`complete`); ``aecompress spec`` prints the result with the source of each value.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aecompress.errors import SpecError

Auto = Literal["auto"]
ActivationName = Literal["identity", "relu", "leaky-relu", "gelu", "tanh", "sigmoid"]
HiddenActivationName = Literal["relu", "leaky-relu", "gelu", "tanh"]
LossName = Literal["l1", "mse", "bce", "huber", "bce-then-l1"]
MeasureName = Literal["l1", "mse", "bce", "huber"]
OperatorName = Literal["none", "random", "magnitude"]
ScheduleName = Literal["cubic"]
ModeName = Literal["canonical"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSpec(_Part):
    """Where the rows come from and how they are split and scaled."""

    source: str = Field(
        "digits", description="built-in set (digits, binary-clusters:CxRxD) or FILE.npy, FILE.npz[:key]"
    )
    key: str = Field("", description="name of the array in an .npz file; empty when it holds one")
    split: tuple[Share, Share, Share] = Field((0.8, 0.1, 0.1), description="shares of train, validation and test rows")
    val: str = Field("", description="FILE[:key] with the validation rows; empty: taken from the source")
    test: str = Field("", description="FILE[:key] with the test rows; empty: taken from the source")
    scaling: Literal["auto", "none", "minmax", "standard"] = Field(
        "auto", description="auto: uint8 / 255, values in [0, 1] untouched, else minmax; fitted on training rows"
    )


class LayerSpec(_Part):
    """One layer, written out."""

    out: Count
    activation: ActivationName = "relu"


class ModelSpec(_Part):
    """The autoencoder."""

    hidden: Auto | tuple[Count, ...] = Field(
        "auto", description="hidden layer sizes of the encoder; the decoder mirrors them"
    )
    latent: Auto | Count = Field("auto", description="size of the latent code")
    activation: HiddenActivationName = Field("relu", description="activation of the hidden layers")
    latent_activation: ActivationName = Field("identity", description="activation of the latent code")
    output: Auto | ActivationName = Field(
        "auto", description="activation of the output; auto: sigmoid for rows in [0, 1]"
    )
    encoder: tuple[LayerSpec, ...] = Field((), description="the encoder layer by layer, instead of hidden and latent")
    decoder: tuple[LayerSpec, ...] = Field(
        (), description="the decoder layer by layer; its last layer gives the inputs back"
    )


class TrainSpec(_Part):
    """How the autoencoder learns."""

    epochs: Auto | Count = Field("auto", description="generations; one is one pass over the training rows")
    batch: Auto | Count = Field("auto", description="rows per step")
    learning_rate: Auto | Annotated[float, Field(gt=0, le=10)] = Field("auto", description="Adam's peak rate")
    warmup: Share = Field(0.1, description="share of the run in which the rate rises from 0; a cosine to 0 follows")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = Field(
        (0.9, 0.999), description="Adam's decay rates"
    )
    loss: Auto | LossName = Field("auto", description="auto: bce-then-l1 for 0/1 rows, else mse")
    bce_share: Share = Field(0.5, description="share of the run on bce, under bce-then-l1")


class PruneSpec(_Part):
    """What goes, and when."""

    operator: OperatorName = Field("magnitude", description="which weights go first")
    schedule: ScheduleName = Field("cubic", description="how the sparsity rises")
    target_sparsity: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.8, description="share of all weights and biases that are zero at the end"
    )
    start: Share = Field(0.0, description="progress of the run at which pruning begins")
    end: Share = Field(0.75, description="progress of the run at which the target is reached")
    per_generation: Auto | Count = Field("auto", description="prunes per generation, evenly over its steps")


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


class RunSpec(_Part):
    """A whole run."""

    mode: ModeName = Field("canonical", description="canonical: one autoencoder")
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = Field(0, description="names every random draw of the run")
    device: str = Field("auto", description="auto, cpu, cuda[:n] or mps")
    precision: Literal["float32", "float64"] = Field("float32", description="number format of training")
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    train: TrainSpec = TrainSpec()
    prune: PruneSpec = PruneSpec()
    export: ExportSpec = ExportSpec()

    @property
    def hash(self) -> str:
        """Identity of the spec: sha256 over its values, 16 hex digits."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # No pruning: the dense reference of the same training.
    "dense": {"prune": {"operator": "none", "target_sparsity": 0.0}},
}


@dataclass(frozen=True)
class Resolved:
    """A spec and, for each dotted field, where its value came from."""

    spec: RunSpec
    sources: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Facts:
    """What the data say that "auto" fields depend on."""

    rows: int
    """Training rows."""
    inputs: int
    binary: bool
    """All scaled training values are 0 or 1."""
    unit: bool
    """All scaled training values lie in [0, 1]."""


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as ``{"a.b": value}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
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
    tables = read_toml(file) if file is not None else {}
    from_file = tables.pop("preset", None)
    name = preset if preset is not None else from_file if from_file is not None else "default"
    faults = []
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
    if faults or more or spec is None:
        raise SpecError(faults + more)
    return Resolved(spec, sources)


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
    try:
        spec = RunSpec.model_validate(_nest(good))
    except ValidationError as error:
        wrong: dict[str, list[str]] = {}
        for fault in error.errors():
            path = _field_of(fault["loc"])
            if fault["msg"] not in wrong.setdefault(path, []):
                wrong[path].append(fault["msg"])
        for path, messages in wrong.items():
            faults.append(f"{path} = {_short(good.get(path))} ({sources.get(path, 'default')}): {_cure(messages)}")
            good.pop(path, None)
        try:
            spec = RunSpec.model_validate(_nest(good))
        except ValidationError:
            return None, faults
    return spec, faults + contradictions(spec)


def _field_of(location: tuple[int | str, ...]) -> str:
    """The dotted field that a pydantic location lies in."""
    path = ""
    for part in location:
        longer = f"{path}.{part}" if path else str(part)
        if longer in FIELDS:
            return longer
        path = longer
    return path


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
    if spec.prune.start >= spec.prune.end:
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
    if spec.prune.operator == "none" and spec.prune.target_sparsity > 0:
        faults.append(
            f"prune.operator = 'none': cannot reach prune.target_sparsity = {spec.prune.target_sparsity}; "
            "choose an operator or set the target to 0"
        )
    kind, _, index = spec.device.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (index and (kind != "cuda" or not index.isdigit())):
        faults.append(f"device = {spec.device!r}: choose auto, cpu, cuda, cuda:N or mps")
    return faults


def default_hidden(inputs: int) -> int:
    """Size of the one hidden layer: the power of two nearest to inputs / 2.5, from 4 to 512."""
    return min(max(1 << max(round(math.log2(inputs / 2.5)), 0), 4), 512)


def default_batch(rows: int) -> int:
    """Rows per step: the power of two nearest to rows / 64, from 16 to 128."""
    return min(max(1 << max(round(math.log2(rows / 64)), 0), 16), 128)


def complete(resolved: Resolved, facts: Facts) -> Resolved:
    """Fill in every "auto" field from the data, by the default recipe (docs/recipe.md).

    Raises:
        SpecError: the spec asks for what these data cannot give.
    """
    spec = resolved.spec
    steps = 6000
    hidden = (default_hidden(facts.inputs),) if spec.model.hidden == "auto" else spec.model.hidden
    latent = min(max(1, (hidden or (facts.inputs,))[-1] // 4), facts.inputs)
    output = "sigmoid" if facts.unit else "identity"
    sigmoid = (spec.model.decoder[-1].activation if spec.model.decoder else spec.model.output) in ("auto", "sigmoid")
    batch = default_batch(facts.rows) if spec.train.batch == "auto" else spec.train.batch
    pass_steps = -(-facts.rows // batch)
    epochs = min(max(round(steps / pass_steps), 8), 200) if spec.train.epochs == "auto" else spec.train.epochs
    recipe: dict[str, Any] = {
        "model.output": output,
        "train.loss": "bce-then-l1" if facts.binary and sigmoid else "mse",
        "train.batch": batch,
        "train.epochs": epochs,
        "train.learning_rate": 8e-3,
        "prune.per_generation": min(pass_steps, max(1, round(100 / epochs))),
    }
    if not spec.model.encoder:
        recipe |= {"model.hidden": hidden, "model.latent": latent}
    values, sources = flatten(spec.model_dump()), dict(resolved.sources)
    for path, value in recipe.items():
        if values[path] == "auto":
            values[path], sources[path] = value, "from the data"
    done = Resolved(RunSpec.model_validate(_nest(values)), sources)
    faults = unsuitable(done.spec, facts)
    if faults:
        raise SpecError(faults)
    return done


def unsuitable(spec: RunSpec, facts: Facts) -> list[str]:
    """Faults between a complete spec and the data."""
    faults = []
    latent = spec.model.encoder[-1].out if spec.model.encoder else spec.model.latent
    if isinstance(latent, int) and latent > facts.inputs:
        faults.append(
            f"model.latent = {latent}: the rows have only {facts.inputs} inputs; choose at most {facts.inputs}"
        )
    if spec.model.decoder and spec.model.decoder[-1].out != facts.inputs:
        faults.append(
            f"model.decoder: its last layer gives {spec.model.decoder[-1].out} values; "
            f"the rows have {facts.inputs} inputs, so set its out to {facts.inputs}"
        )
    if spec.train.loss in ("bce", "bce-then-l1") and not facts.unit:
        faults.append(
            f"train.loss = {spec.train.loss!r}: cross-entropy needs rows in [0, 1]; "
            "choose data.scaling = 'minmax' or train.loss = 'mse'"
        )
    return faults


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
    return json.dumps(value)


def measure_of(loss: str) -> MeasureName:
    """The loss that is reported: bce-then-l1 reports l1."""
    return "l1" if loss == "bce-then-l1" else cast(MeasureName, loss)
