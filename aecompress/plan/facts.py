"""What a run is given beside its spec: rows, a device, a pretrained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from aecompress.data.facts import Facts
from aecompress.errors import SpecError
from aecompress.layers.kinds import from_json, to_json
from aecompress.spec.fields import LayerSpec, ModelSpec

if TYPE_CHECKING:
    import torch


class LayerFacts(NamedTuple):
    """A pretrained layer."""

    out: int
    """Units."""
    activation: str
    """Empty where its file names none."""
    kind: str = "dense"
    numbers: Mapping[str, Any] = MappingProxyType({})
    """What else a layer of its kind has."""


@dataclass(frozen=True, kw_only=True)
class PretrainedFacts:
    """The layers of the model that ``model.init`` names, first to last."""

    inputs: int
    """Values of a row."""
    encoder: tuple[LayerFacts, ...]
    decoder: tuple[LayerFacts, ...]
    head: bool = False
    """Whether it has a head that gives the log-variance of its code."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What "auto" fields depend on beside the spec."""

    data: Facts
    splits: frozenset[str] = frozenset({"train", "validation", "test"})
    """The splits that have rows."""
    device: torch.device | None = None
    """None: not known yet; then ``compile`` stays "auto"."""
    pretrained: PretrainedFacts | None = None
    requested: frozenset[str] = frozenset()
    """The fields that were not "auto" before any was filled."""

    @property
    def unit_output(self) -> str:
        """Return the output activation whose range is that of the rows."""
        return "sigmoid" if self.data.unit else "identity"

    def steps(self, batch: int) -> int:
        """Return the steps of a pass over the training rows."""
        return -(-self.data.rows // batch)


def pretrained_encoder(model: ModelSpec, facts: RunFacts) -> tuple[LayerSpec, ...]:
    """Return the encoder of the pretrained model as a spec writes it; no layers where there is no such model."""
    last = model.latent_activation if "model.latent_activation" in facts.requested else "identity"
    return _written(facts.pretrained.encoder, model.activation, last) if facts.pretrained else ()


def pretrained_decoder(model: ModelSpec, facts: RunFacts) -> tuple[LayerSpec, ...]:
    """Return the decoder of the pretrained model as a spec writes it; no layers where there is no such model."""
    return _written(facts.pretrained.decoder, model.activation, model.output) if facts.pretrained else ()


def are_same(written: Sequence[LayerSpec], others: Sequence[LayerSpec]) -> bool:
    """Return whether layers that a spec writes out are others, with all numbers that a spec may leave out."""
    return len(written) == len(others) and all(
        _whole(one, other) == _whole(other, other) for one, other in zip(written, others, strict=True)
    )


def _whole(layer: LayerSpec, other: LayerSpec) -> dict[str, Any] | None:
    """Return all numbers of a layer, its units those of another where it leaves them out; None: it is no layer."""
    try:
        return to_json(from_json("layer", {"out": other.out} | layer.model_dump()))
    except (SpecError, KeyError, TypeError):
        return None


def _written(layers: tuple[LayerFacts, ...], hidden: str, last: str) -> tuple[LayerSpec, ...]:
    """Return layers as a spec writes them, with the activations given where the file names none."""
    ends = len(layers) - 1
    return tuple(
        LayerSpec.model_validate(
            {
                **layer.numbers,
                "kind": layer.kind,
                "out": layer.out,
                "activation": layer.activation or (last if index == ends else hidden),
            }
        )
        for index, layer in enumerate(layers)
    )
