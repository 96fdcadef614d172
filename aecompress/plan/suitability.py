"""Whether a complete spec suits the rows and the pretrained model of a run, as one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from aecompress.data.facts import Facts
from aecompress.errors import DataError
from aecompress.nets.shapes import Autoencoder
from aecompress.plan.facts import (
    LayerFacts,
    PretrainedFacts,
    RunFacts,
    are_same,
    pretrained_decoder,
    pretrained_encoder,
)
from aecompress.spec.fields import LayerSpec, RunSpec
from aecompress.spec.rules import sentence_of


class Unsuitable(NamedTuple):
    """What a complete spec must not request of the rows or of a pretrained model."""

    field: str
    broken: Callable[[RunSpec, RunFacts], bool]
    sentence: str
    """What the user reads; braces as in :mod:`aecompress.spec.rules`, and those of :func:`_named`."""
    example: Mapping[str, Any]
    """Fields of a spec that has this fault."""
    facts: RunFacts
    """Facts under which it has this fault."""


def unsuitable(spec: RunSpec, facts: RunFacts) -> list[str]:
    """Return the faults between a complete spec and the facts of its run."""
    return [sentence_of(row.sentence, spec, **_named(spec, facts)) for row in UNSUITABLE if row.broken(spec, facts)]


def notes_of(spec: RunSpec, net: Autoencoder) -> tuple[str, ...]:
    """Return notes on a network that a run can have, but that most have for a reason."""
    if net.latent <= net.inputs:
        return ()
    note = f"the code has {net.latent} values, more than the {net.inputs} inputs, so a network can copy its rows"
    if spec.train.code_l1 or spec.model.family != "plain":
        return (note,)
    return (f"{note}; train.code_l1 (a sparse code) or model.family = 'denoising' keeps it from that",)


def check_pretrained(spec: RunSpec, facts: RunFacts) -> None:
    """Refuse a pretrained model of other inputs than the rows have.

    Raises:
        DataError: with both numbers.
    """
    if facts.pretrained is not None and facts.pretrained.inputs != facts.data.inputs:
        raise DataError(
            f"{spec.model.init}: takes {facts.pretrained.inputs} inputs, the rows have {facts.data.inputs}; "
            "give its rows"
        )


def _named(spec: RunSpec, facts: RunFacts) -> dict[str, Any]:
    """Return what sentences say of the rows, of the network and of a pretrained model."""
    return {
        "inputs": facts.data.inputs,
        "steps": facts.steps(int(spec.train.batch)),
        "pretrained_encoder": _written(pretrained_encoder(spec.model, facts)),
        "pretrained_decoder": _written(pretrained_decoder(spec.model, facts)),
    }


def _written(layers: Sequence[LayerSpec]) -> str:
    """Return layers in words: of dense ones the kind is left out."""
    return ", ".join(
        " ".join(
            str(part)
            for part in (layer.kind if layer.kind != "dense" else None, layer.out, layer.activation)
            if part is not None
        )
        for layer in layers
    )


_ROWS = RunFacts(data=Facts(rows=1000, inputs=8, binary=False, unit=True))
_WIDE_ROWS = RunFacts(data=Facts(rows=1000, inputs=8, binary=False, unit=False))
_NO_VALIDATION = RunFacts(data=Facts(rows=1000, inputs=8, binary=False, unit=True), splits=frozenset({"train", "test"}))
_PRETRAINED = RunFacts(
    data=Facts(rows=1000, inputs=8, binary=False, unit=True),
    pretrained=PretrainedFacts(
        inputs=8,
        encoder=(LayerFacts(4, "relu"), LayerFacts(2, "identity")),
        decoder=(LayerFacts(4, "relu"), LayerFacts(8, "sigmoid")),
    ),
)

UNSUITABLE: tuple[Unsuitable, ...] = (
    Unsuitable(
        field="model.init",
        broken=lambda spec, facts: (
            facts.pretrained is not None and not facts.pretrained.head and spec.model.family == "variational"
        ),
        sentence="model.init: brings no variance head; choose model.family = 'plain' or 'denoising'",
        example={"model.init": "model.onnx", "model.family": "variational"},
        facts=_PRETRAINED,
    ),
    Unsuitable(
        field="model.encoder",
        broken=lambda spec, facts: (
            facts.pretrained is not None and not are_same(spec.model.encoder, pretrained_encoder(spec.model, facts))
        ),
        sentence="model.encoder: {model.init} has other layers ({pretrained_encoder}); leave it out",
        example={
            "model.init": "model.onnx",
            "model.encoder": [{"out": 3}, {"out": 2, "activation": "identity"}],
            "model.decoder": [{"out": 4}, {"out": 8, "activation": "sigmoid"}],
        },
        facts=_PRETRAINED,
    ),
    Unsuitable(
        field="model.decoder",
        broken=lambda spec, facts: (
            facts.pretrained is not None and not are_same(spec.model.decoder, pretrained_decoder(spec.model, facts))
        ),
        sentence="model.decoder: {model.init} has other layers ({pretrained_decoder}); leave it out",
        example={
            "model.init": "model.onnx",
            "model.encoder": [{"out": 4}, {"out": 2, "activation": "identity"}],
            "model.decoder": [{"out": 3}, {"out": 8, "activation": "sigmoid"}],
        },
        facts=_PRETRAINED,
    ),
    Unsuitable(
        field="model.hidden",
        broken=lambda spec, facts: (
            facts.pretrained is not None and (spec.model.hidden, spec.model.latent) != ("auto", "auto")
        ),
        sentence="model.hidden and model.latent: come from model.init; leave them out",
        example={"model.init": "model.onnx", "model.latent": 2},
        facts=_PRETRAINED,
    ),
    Unsuitable(
        field="model.network",
        broken=lambda spec, facts: (
            spec.model.network == "pca"
            and (
                spec.model.family == "variational"
                or spec.model.hidden != ()
                or {spec.model.latent_activation, spec.model.output, spec.model.initial} != {"identity", "pca"}
            )
        ),
        sentence="model.network = 'pca': is the principal components, without hidden layers, in the plain or "
        "denoising family; leave out model.hidden, model.output, model.latent_activation and model.initial",
        example={"model.network": "pca", "model.hidden": [4]},
        facts=_ROWS,
    ),
    Unsuitable(
        field="model.latent",
        broken=lambda spec, facts: (
            spec.model.network == "pca" and spec.model.latent != "auto" and spec.model.latent > facts.data.inputs
        ),
        sentence="model.latent = {model.latent}: rows of {inputs} inputs have as many principal components; choose at "
        "most {inputs}",
        example={"model.network": "pca", "model.latent": 9},
        facts=_ROWS,
    ),
    Unsuitable(
        field="prune.per_generation",
        broken=lambda spec, facts: int(spec.prune.per_generation) > facts.steps(int(spec.train.batch)),
        sentence="prune.per_generation = {prune.per_generation}: a pass has {steps} steps; choose at most as many",
        example={"prune.per_generation": 200, "train.batch": 10},
        facts=_ROWS,
    ),
    Unsuitable(
        field="train.loss",
        broken=lambda spec, facts: spec.train.loss in ("bce", "bce-then-l1") and not facts.data.unit,
        sentence="train.loss = {train.loss!r}: cross-entropy needs rows in [0, 1]; choose data.scaling = 'minmax' "
        "or train.loss = 'mse'",
        example={"train.loss": "bce", "model.output": "sigmoid"},
        facts=_WIDE_ROWS,
    ),
    Unsuitable(
        field="budget.max_loss_increase",
        broken=lambda spec, facts: spec.budget.max_loss_increase > 0 and "validation" not in facts.splits,
        sentence="budget.max_loss_increase = {budget.max_loss_increase}: is kept on validation rows, and there are "
        "none; give data.split a share for them, or --val",
        example={"budget.max_loss_increase": 0.05},
        facts=_NO_VALIDATION,
    ),
)
