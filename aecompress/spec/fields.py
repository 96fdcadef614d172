"""Every field of a spec, with its type, its range and its default."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from aecompress import plugins
from aecompress.layers.names import HIDDEN_NAMES, NAMES, SHAPING, SLOPED, SLOPED_EXAMPLE, SPELLINGS, WITHOUT_ACTIVATION
from aecompress.registry import OPERATORS, RULES, SCHEDULES, VARIANTS, RuleRow, data_usage, probabilities, rules_of
from aecompress.spec.choices import OneOf
from aecompress.spec.toml import flatten

Auto = Literal["auto"]
LossName = Literal["l1", "mse", "bce", "huber", "bce-then-l1"]
MetricName = Literal["l1", "mse", "bce", "huber"]
OperatorName = Annotated[str, OneOf(lambda: ["auto", "none", *OPERATORS], plugins.OPERATORS)]
ScheduleName = Annotated[str, OneOf(lambda: list(SCHEDULES), plugins.SCHEDULES)]
ModeName = Literal["canonical", "coevo"]
RuleName = Annotated[str, OneOf(lambda: rules_of("coevo"))]
TopologyName = Literal["ring", "von-neumann", "moore"]
ConceptName = Literal["best", "mean", "worst"]
OptimizerName = Literal["adam", "fresh-adam"]
RateName = Literal["cosine", "step", "walk"]
NetworkName = Literal["default", "conv", "pca", "paper", "paper-small", "paper-large"]
VariantName = Annotated[str, OneOf(lambda: list(VARIANTS))]
FamilyName = Literal["plain", "denoising", "variational"]
ActivationName = Annotated[str, OneOf(lambda: NAMES, pattern=SLOPED, example=SLOPED_EXAMPLE, spellings=SPELLINGS)]
HiddenActivationName = Annotated[
    str, OneOf(lambda: HIDDEN_NAMES, pattern=SLOPED, example=SLOPED_EXAMPLE, spellings=SPELLINGS)
]


Share = Annotated[float, Field(ge=0, le=1)]
Sparsity = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


def _percentage(value: Any) -> Any:
    """Return ``5%`` as 0.05, and anything else unchanged."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*%\s*", value) if isinstance(value, str) else None
    return float(match.group(1)) / 100 if match else value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSpec(_Part):
    """Where the rows come from and how they are split and scaled."""

    source: str = Field("digits", description=data_usage())
    more: tuple[str, ...] = Field((), description="further files, whose rows come after those of data.source")
    key: str = Field("", description="name of the array in a file of several; empty when it holds one")
    columns: str = Field("", description="columns of a table, by name or number (0,3-5); empty: all")
    header: Literal["auto", "yes", "no"] = Field(
        "auto",
        description="whether the first line of CSV names the columns; auto: when one of its cells is no number, "
        "and of interactions when its first is user, userid, user_id or uid",
    )
    split: tuple[Share, Share, Share] = Field((0.8, 0.1, 0.1), description="shares of train, validation and test rows")
    val: str = Field("", description="FILE[:key] with the validation rows; empty: taken from the source")
    test: str = Field("", description="FILE[:key] with the test rows; empty: taken from the source")
    labels: str = Field("", description="FILE[:key] with 0 or 1 (anomaly) for each row of data.test")
    label: str = Field(
        "", description="column that says which rows are anomalies (1, or any text but normal); kept out of the inputs"
    )
    missing: Literal["error", "drop", "median", "mean"] = Field(
        "error", description="missing cells of a table: refused, their rows dropped, or filled from training rows"
    )
    dates: Literal["error", "drop", "cyclic"] = Field(
        "error", description="columns of dates: refused, dropped, or sine and cosine of hour, weekday and day of year"
    )
    categories: Literal["error", "drop", "one-hot"] = Field(
        "one-hot", description="columns of few texts: refused, dropped, or a 0/1 input for each text"
    )
    split_by: str = Field(
        "auto",
        pattern="^(auto|random|order|file|group:.+)$",
        description="how rows are split: random, order (test rows come last), group:COLUMN or file; "
        "auto: order for windows, else random",
    )
    window: int = Field(0, ge=0, description="rows in order that make one row of a series; 0: rows stand alone")
    stride: Count = Field(1, description="rows from the start of a window to that of the next")
    in_memory: Literal["auto", "yes", "no"] = Field(
        "auto", description="no: rows are read from their file batch by batch; auto: yes where they fit in memory"
    )
    scaling: Literal["auto", "none", "minmax", "standard"] = Field(
        "auto",
        description="auto: values in [0, 1] untouched, uint8 from 128 on / 255, else minmax; fitted on training rows",
    )

    @model_validator(mode="before")
    @classmethod
    def _several(cls, values: Any) -> Any:
        """Take a list of sources as the first and further ones."""
        sources = values.get("source") if isinstance(values, dict) else None
        if isinstance(sources, list | tuple) and sources:
            return {**values, "source": sources[0], "more": [*sources[1:], *values.get("more", ())]}
        return values


class LayerSpec(_Part):
    """One layer, written out; a kind's own numbers beside these, which the plan checks."""

    model_config = ConfigDict(extra="allow")

    kind: str = "dense"
    out: Count | None = None
    """Units that it gives; None: as many as follow from its kind."""
    activation: ActivationName = "relu"

    @model_validator(mode="before")
    @classmethod
    def _of_its_kind(cls, values: Any) -> Any:
        """Fill in the activation of a kind that has one of its own, and write numbers as a file has them."""
        if not isinstance(values, dict):
            return values
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return {"activation": usual_activation(plain.get("kind"))} | plain

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what is not given: TOML has no word for it."""
        return {name: value for name, value in write(self).items() if value is not None}


def usual_activation(kind: Any) -> ActivationName:
    """Return the activation that a layer of a kind has where a spec names none."""
    return "identity" if kind in WITHOUT_ACTIVATION else "relu"


class ModelSpec(_Part):
    """The autoencoder."""

    init: str = Field(
        "",
        description="FILE with a trained model to start from: .safetensors, .pt/.pth (a state dict), .onnx or .keras",
    )
    network: NetworkName = Field(
        "default",
        description="source of the sizes left out: the recipe; conv: convolutions by the shape of a row, of images or "
        "series, with hidden as their channels; pca: the principal components, as they are unless train.epochs or "
        "prune.target_sparsity is given; or a network of the paper (ALGORITHMS A2)",
    )
    family: FamilyName = Field("plain", description="plain, denoising or variational")
    noise: Annotated[float, Field(ge=0, le=1000)] = Field(
        0.4, description="level of the Gaussian input noise, under denoising"
    )
    hidden: Auto | Annotated[tuple[Count, ...], Field(max_length=100)] = Field(
        "auto", description="hidden layer sizes of the encoder, of conv their channels; the decoder mirrors them"
    )
    latent: Auto | Count = Field("auto", description="size of the latent code")
    activation: HiddenActivationName = Field("relu", description="activation of the hidden layers")
    latent_activation: Auto | ActivationName = Field(
        "auto",
        description="activation of the latent code; auto: relu in the paper's networks and under code_l1",
    )
    output: Auto | ActivationName = Field(
        "auto",
        description="activation of the output; auto: sigmoid for rows in [0, 1], but identity where few of their "
        "values are 0 or 1, or rows are few (docs/recipe.md)",
    )
    initial: Auto | Literal["scaled", "torch", "pca"] = Field(
        "auto",
        description="first weights; pca: those of the principal components of the training rows, the best linear "
        "model, and each model ends as its best epoch; scaled: variance 1/inputs, output biases of the mean row; "
        "torch: nn.Linear's; auto: pca, torch for 0/1 rows and where whole units are pruned, scaled where neither fits",
    )
    encoder: Annotated[tuple[LayerSpec, ...], Field(max_length=100)] = Field(
        (), description="the encoder layer by layer, instead of hidden and latent"
    )
    decoder: Annotated[tuple[LayerSpec, ...], Field(max_length=100)] = Field(
        (), description="the decoder layer by layer; its last layer gives the inputs back"
    )

    @property
    def last_activation(self) -> str:
        """Return the activation of the output, as far as it is known."""
        return _behind(self.decoder) if self.decoder else self.output

    @property
    def convolves(self) -> bool:
        """Return whether a layer is a convolution, as far as layers are known."""
        return self.network == "conv" or any(layer.kind.startswith("conv") for layer in (*self.encoder, *self.decoder))

    @property
    def code_activation(self) -> str:
        """Return the activation of the latent code, as far as it is known."""
        return _behind(self.encoder) if self.encoder else self.latent_activation


def _behind(layers: tuple[LayerSpec, ...]) -> str:
    """Return the activation of what written-out layers give: that of the last that does more than change its shape."""
    doing = [layer for layer in layers if layer.kind not in SHAPING or layer.activation != "identity"]
    return (doing or layers)[-1].activation


class TrainSpec(_Part):
    """How the autoencoder learns."""

    epochs: Auto | Annotated[int, Field(ge=0, le=10_000_000)] = Field(
        "auto", description="passes over the training rows; 0: prune model.init, or network pca, as it is"
    )
    batch: Auto | Count = Field("auto", description="rows per step")
    learning_rate: Auto | Annotated[float, Field(gt=0, le=10)] = Field(
        "auto", description="Adam's peak rate; auto: 0.008, less where a model begins as pca and rows are few"
    )
    optimizer: OptimizerName = Field(
        "adam",
        description="adam: its state travels with the individual; fresh-adam: a new one every step, as published",
    )
    rate: RateName = Field("cosine", description="cosine: warm-up, then a cosine to 0; step: drops; walk: per cell")
    warmup: Share = Field(0.1, description="share of the run in which the rate rises from 0, under cosine")
    drops: Count = Field(4, description="equal parts of the run, each with a lower rate, under step")
    drop: Annotated[float, Field(gt=0, le=1)] = Field(0.1, description="factor from part to part, under step")
    walk: Annotated[float, Field(ge=0, le=10)] = Field(
        1e-5, description="standard deviation of a generation's walk, under walk"
    )
    betas: Auto | tuple[Sparsity, Sparsity] = Field(
        "auto", description="Adam's decay rates; auto: 0.9 and 0.999, 0.9 and 0.99 beside regrowth (docs/recipe.md)"
    )
    loss: Auto | LossName = Field("auto", description="auto: bce-then-l1 for 0/1 rows, else mse")
    bce_share: Share = Field(0.5, description="share of the run on bce, under bce-then-l1")
    code_l1: Annotated[float, Field(ge=0, le=1e6)] = Field(
        0.0,
        description="makes a sparse code: factor of the sum over its units of |value| x norm of the weights that read "
        "it, beside the loss summed over inputs; 0: none",
    )
    bits: Annotated[int, Field(ge=0, le=8)] = Field(
        0,
        description="bits of a weight: in the last fifth of the run, training rounds the weights of each layer to "
        "2^bits values, which the model keeps (quantization-aware training); 0: float32",
    )


class EvolveSpec(_Part):
    """The ring of encoders and decoders, under mode coevo."""

    cells: Annotated[int, Field(ge=1, le=100_000)] = Field(4, description="cells on the ring")
    topology: TopologyName = Field(
        "ring",
        description="ring; von-neumann: a grid closed to a torus, neighbours right, left, down and up; moore: also "
        "diagonally; its sides are as near to a square as cells allow",
    )
    radius: Annotated[int, Field(ge=0, le=100)] = Field(1, description="steps to the farthest neighbour on each side")
    budgets: Auto | Literal["same"] | tuple[Sparsity, ...] = Field(
        "auto",
        description="target sparsity of each cell; same: prune.target_sparsity for all; auto: from 0 to beyond it "
        "under dominance, else same",
    )
    rule: Auto | RuleName = Field(
        "auto",
        description="".join(f"{name}: {RULES[name].about}; " for name in rules_of("coevo"))
        + "auto: dominance where budgets can differ, else pair",
    )
    order: Literal["synchronous", "asynchronous"] = Field(
        "synchronous", description="synchronous: all cells read the last generation; asynchronous: one after the other"
    )
    tournament: Annotated[int, Field(ge=1, le=10_000)] = Field(2, description="draws of a tournament, with replacement")
    concept: ConceptName = Field("best", description="fitness of a member over its partners' losses")
    batch: Literal["shared", "cell"] = Field(
        "shared", description="rows of a selection: one batch for the ring, or one per cell as published"
    )


class PruneSpec(_Part):
    """What is pruned, and when."""

    operator: OperatorName = Field(
        "auto",
        description="which weights are pruned first; auto, on the way to a target: obd-root where the model begins as "
        "principal components, obd where it has convolutions, else magnitude",
    )
    form: Auto | Literal["score", "published"] = Field(
        "auto", description="score: exact counts; published: ALGORITHMS A5; auto: published under a probability"
    )
    schedule: ScheduleName = Field("cubic", description="how pruning develops over the run")
    drive: Auto | Literal["target", "probability"] = Field(
        "auto",
        description="target: the schedule shapes a rise to target_sparsity; probability: it gives the probability of a "
        "prune",
    )
    target_sparsity: Auto | Sparsity = Field(
        "auto", description="share of all weights and biases that are zero at the end; auto: 0.8"
    )
    probability: Auto | Share = Field("auto", description=f"p of the schedules; auto: {probabilities()}")
    granularity: Literal["weight", "unit"] = Field("weight", description="prune single weights or whole hidden units")
    masks: Literal["fixed", "free"] = Field(
        "fixed", description="fixed: pruned weights stay pruned; free: training may change them again, as published"
    )
    regrowth: Auto | Share = Field(
        "auto",
        description="share of the kept weights that is exchanged, at each prune, for pruned weights with the largest "
        "gradients; falls to 0 at regrowth_end",
    )
    regrowth_end: Auto | Annotated[float, Field(gt=0, le=1)] = Field(
        "auto", description="progress of the run at which the exchange ends"
    )
    order: Literal["high", "low"] = Field("high", description="which variances are pruned first, under variance")
    amount: Share = Field(0.1, description="share of each tensor, under random in its published form")
    threshold: Share = Field(0.1, description="scaled activation below which a unit is inactive, under conjunctive")
    guide_rows: Annotated[int, Field(ge=1, le=1_000_000)] = Field(100, description="rows drawn to guide conjunctive")
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
    """Limits of the result; 0 sets no limit. They set the target sparsity where none is requested."""

    max_params: Annotated[int, Field(ge=0)] = Field(0, description="most weights and biases that are not zero")
    max_bytes: Annotated[int, Field(ge=0)] = Field(
        0, description="most bytes of the smallest autoencoder file that is exported"
    )
    max_loss_increase: Annotated[float, Field(ge=0), BeforeValidator(_percentage)] = Field(
        0.0,
        description="most that the validation loss may lie above that of a dense model of the same run, as a share or "
        "like 5%; of the models within it the sparsest is exported, unless a target is requested",
    )
    min_sparsity: Auto | Sparsity = Field(
        "auto",
        description="least sparsity of a model within max_loss_increase; auto: the target where one is requested, "
        "else 0",
    )


class ExportSpec(_Part):
    """What is exported, and how well it must agree."""

    opset: Annotated[int, Field(ge=13, le=24)] = Field(18, description="ONNX opset")
    rows: Annotated[int, Field(ge=0)] = Field(64, description="test rows kept beside the model for verify; 0: none")
    tolerance: Annotated[float, Field(gt=0)] = Field(
        1e-5, description="largest allowed difference of any value, per unit of the largest value (at least 1)"
    )
    loss_tolerance: Annotated[float, Field(gt=0)] = Field(
        1e-5, description="largest allowed relative difference of a loss"
    )
    variants: tuple[VariantName, ...] = Field(
        (), description=f"files beside the three plain ones: {', '.join(VARIANTS)}"
    )
    values: Literal["smallest", "float32", "float16", "int8", "int6", "int5", "int4", "int3", "int2"] = Field(
        "smallest", description="of packed files; smallest: whose loss rises no more than variant_loss"
    )
    int8: Literal["measured", "always", "never"] = Field(
        "measured",
        description="int8 files; measured: kept where they are faster on this machine; always: kept untimed, with "
        "static ranges, where their loss rises no more than variant_loss; never: left out",
    )
    variant_loss: Annotated[float, Field(ge=0)] = Field(
        0.02, description="largest rise of the loss that rounding in a variant may cost, as a share"
    )
    embed_scaling: bool = Field(
        True, description="put the scaling into the ONNX files, so that they take and give raw rows; false: scaled rows"
    )
    quantile: Share = Field(0.99, description="share of training rows below the scorer's threshold")


class RunSpec(_Part):
    """A whole run."""

    mode: ModeName = Field("coevo", description="coevo: a ring of encoders and decoders; canonical: one autoencoder")
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = Field(0, description="random seed")
    device: str = Field("auto", description="auto, cpu, cuda[:n] or mps")
    precision: Literal["float32", "float64", "bf16", "tf32"] = Field(
        "float32",
        description="number format of training; bf16, tf32: float32 weights, products in bfloat16 or, on CUDA, in TF32",
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="compiled training: loops on a CPU, graphs and kernels on a GPU; "
        "auto: when the run is long enough to repay the compiler",
    )
    checkpoint_every: Count = Field(10, description="epochs between two checkpoints")
    data: DataSpec = DataSpec()
    model: ModelSpec = ModelSpec()
    train: TrainSpec = TrainSpec()
    evolve: EvolveSpec = EvolveSpec()
    prune: PruneSpec = PruneSpec()
    budget: BudgetSpec = BudgetSpec()
    export: ExportSpec = ExportSpec()

    @property
    def hash(self) -> str:
        """Return the identity of the spec: sha256 over its values, 16 hex digits."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


FIELDS: dict[str, Any] = flatten(RunSpec().model_dump())
"""Every field of a spec by dotted path, with its default."""


def drive_of(prune: PruneSpec) -> str:
    """Return target or probability; auto follows which of the two numbers is given."""
    if prune.drive != "auto":
        return prune.drive
    return "probability" if prune.probability != "auto" or prune.form == "published" else "target"


def regrowth_possible(spec: RunSpec) -> bool:
    """Return whether weights can regrow: under pruning to a target, with fixed masks, beside training."""
    return drive_of(spec.prune) == "target" and spec.prune.masks == "fixed" and spec.train.epochs != 0


def keeps_best(spec: RunSpec) -> bool:
    """Return whether each cell ends as the best of its first and its late generations, not as its last one."""
    return spec.model.initial == "pca" and drive_of(spec.prune) == "target" and not spec.train.bits


def rule_of(spec: RunSpec) -> str:
    """Return the evolution rule of a spec, a name in :data:`aecompress.registry.RULES`; "auto" where it is open."""
    return spec.evolve.rule if spec.mode == "coevo" else rules_of(spec.mode)[0]


def rule_facts(name: str) -> RuleRow:
    """Return the facts of a rule; of "auto", which may become any, those of an ordinary one."""
    return RuleRow(visit="", about="") if name == "auto" else RULES[name]


def metric_of(loss: str) -> MetricName:
    """Return the loss that is reported: bce-then-l1 reports l1."""
    return "l1" if loss == "bce-then-l1" else cast(MetricName, loss)
