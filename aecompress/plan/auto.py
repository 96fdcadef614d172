"""The default recipe: what "auto" fields become once the data are known, and what the data cannot give.

docs/recipe.md has the figures that chose it.
"""

from __future__ import annotations

import math
from typing import Any

from aecompress.data.facts import Facts
from aecompress.errors import SpecError
from aecompress.spec.fields import LossName, RunSpec, drive_of
from aecompress.spec.resolve import Resolved
from aecompress.spec.toml import flatten, nest

FROM_DATA = "from the data"
"""The source of a value that nobody asked for."""


NETWORKS: dict[str, tuple[tuple[int, ...], int]] = {
    "paper": ((30,), 10),
    "paper-small": ((30,), 2),
    "paper-large": ((60, 30), 10),
}
"""Hidden sizes and latent size of the paper's networks (ALGORITHMS A2)."""


def default_hidden(inputs: int) -> int:
    """Size of the one hidden layer: the power of two nearest to inputs / 2.5, from 4 to 512."""
    return min(max(1 << max(round(math.log2(inputs / 2.5)), 0), 4), 512)


def default_batch(rows: int) -> int:
    """Rows per step: the power of two nearest to rows / 64, from 16 to 128."""
    return min(max(1 << max(round(math.log2(rows / 64)), 0), 16), 128)


def default_loss(family: str, binary: bool, unit: bool, sparse: bool = False) -> LossName:
    """bce for the variational family on rows in [0, 1] (ALGORITHMS A2), bce-then-l1 for the others on 0/1, else mse.

    Of interactions, of which l1 would rather foretell none at all, bce.
    """
    if sparse and unit:
        return "bce"
    if family == "variational":
        return "bce" if unit else "mse"
    return "bce-then-l1" if binary else "mse"


def complete(resolved: Resolved, facts: Facts) -> Resolved:
    """Fill in every "auto" field from the data, by the default recipe (docs/recipe.md).

    Raises:
        SpecError: the spec asks for what these data cannot give.
    """
    spec = resolved.spec
    steps = 6000
    if spec.model.network == "default":
        hidden: tuple[int, ...] = (default_hidden(facts.inputs),)
        width = (hidden if spec.model.hidden == "auto" else spec.model.hidden or (facts.inputs,))[-1]
        latent = min(max(1, width // 4), facts.inputs)
    else:
        hidden, latent = NETWORKS[spec.model.network]
    output = "sigmoid" if facts.unit else "identity"
    sigmoid = (spec.model.decoder[-1].activation if spec.model.decoder else spec.model.output) in ("auto", "sigmoid")
    batch = default_batch(facts.rows) if spec.train.batch == "auto" else spec.train.batch
    pass_steps = -(-facts.rows // batch)
    epochs = min(max(round(steps / pass_steps), 8), 200) if spec.train.epochs == "auto" else spec.train.epochs
    loss = default_loss(spec.model.family, facts.binary and sigmoid, facts.unit and sigmoid, facts.sparse)
    loss = loss if spec.train.loss == "auto" else spec.train.loss
    drive = drive_of(spec.prune)
    regrown = can_regrow(spec) and spec.prune.granularity == "weight"
    regrowth = (0.5 if regrown else 0.0) if spec.prune.regrowth == "auto" else spec.prune.regrowth
    recipe: dict[str, Any] = {
        "model.output": output,
        "model.initial": "torch" if spec.prune.granularity == "unit" or loss == "bce-then-l1" else "scaled",
        "model.latent_activation": "identity"
        if spec.model.network == "default" or spec.model.family == "variational"
        else "relu",
        "train.loss": loss,
        "train.batch": batch,
        "train.epochs": epochs,
        "train.learning_rate": 8e-3,
        "train.betas": (0.9, 0.99) if regrowth else (0.9, 0.999),
        "prune.drive": drive,
        "prune.form": "published" if drive == "probability" else "score",
        "prune.target_sparsity": 0.8 if drive == "target" and spec.prune.operator != "none" else 0.0,
        "prune.probability": 0.1 if spec.prune.operator == "variance" else 0.5,
        "prune.regrowth": regrowth,
        "prune.regrowth_end": 0.75,
        "prune.per_generation": min(pass_steps, max(1, round(100 / max(epochs, 1))))
        if epochs and drive == "target" and not (spec.mode == "coevo" and spec.evolve.rule == "panmictic")
        else 1,
    }
    if not spec.model.encoder:
        recipe |= {"model.hidden": hidden, "model.latent": latent}
    values, sources = flatten(spec.model_dump()), dict(resolved.sources)
    for path, value in recipe.items():
        if values[path] == "auto":
            values[path], sources[path] = value, FROM_DATA
    done = Resolved(RunSpec.model_validate(nest(values)), sources)
    faults = unsuitable(done.spec, facts)
    if faults:
        raise SpecError(faults)
    return done


def pruning_end(spec: RunSpec, target: float) -> float:
    """Progress of the run at which cubic reaches ``target``: prune.end, or what the default recipe says."""
    if spec.prune.end != "auto":
        return spec.prune.end
    if spec.prune.granularity == "unit":
        share = 0.5
    elif spec.prune.regrowth == 0:
        share = 0.75
    elif spec.train.loss == "bce-then-l1":
        share = 0.2
    else:  # few weights have to be found by exchange, for which they need the time
        share = min(max(0.75 - 0.5 * math.log10(0.2 / (1 - target)), 0.2), 0.75)
    return spec.prune.start + (1 - spec.prune.start) * share


def can_regrow(spec: RunSpec) -> bool:
    """Whether regrowth can be asked for: pruning to a target, with masks that last, while training goes on."""
    return drive_of(spec.prune) == "target" and spec.prune.masks == "fixed" and spec.train.epochs != 0


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
    pass_steps = -(-facts.rows // int(spec.train.batch))
    if int(spec.prune.per_generation) > pass_steps:
        faults.append(
            f"prune.per_generation = {spec.prune.per_generation}: a pass has {pass_steps} steps; choose at most as many"
        )
    if spec.train.loss in ("bce", "bce-then-l1") and not facts.unit:
        faults.append(
            f"train.loss = {spec.train.loss!r}: cross-entropy needs rows in [0, 1]; "
            "choose data.scaling = 'minmax' or train.loss = 'mse'"
        )
    return faults
