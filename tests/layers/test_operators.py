"""Operators over kinds whose columns, rows and values are not its units, against loops over weights and units."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aecompress.evolve.evidence import Evidence, inactive
from aecompress.evolve.operators import conjunctive, operator_of, variance, variance_published, wanda
from aecompress.layers.base import Layer
from aecompress.layers.dense import Dense
from aecompress.nets.layers import Trace, forward, initial
from aecompress.nets.shapes import Autoencoder, build
from aecompress.population.stats import no_stats
from aecompress.registry import OPERATORS
from tests.layers.gain import Gain
from tests.layers.maxout import Maxout
from tests.layers.pointwise import Pointwise

SEED, CELLS, BATCH = 5, 2, 4


def net_of(kind: str) -> Autoencoder:
    """The kind in the first place, hidden, and in the last place."""
    made: dict[str, tuple[list[Layer], list[Layer], tuple[int, ...]]] = {
        "gain": (
            [Gain("encoder.0", "tanh"), Dense("encoder.1", 5, "relu"), Gain("encoder.2", "identity")],
            [Dense("decoder.0", 9, "relu"), Gain("decoder.1", "sigmoid")],
            (9,),
        ),
        "maxout": (
            [Maxout("encoder.0", 6, "relu"), Maxout("encoder.1", 3, "identity")],
            [Dense("decoder.0", 5, "relu"), Maxout("decoder.1", 9, "sigmoid")],
            (9,),
        ),
        "pointwise": (
            [Pointwise("encoder.0", 6, "relu"), Dense("encoder.1", 3, "identity")],
            [Dense("decoder.0", 5, "relu"), Dense("decoder.1", 12, "sigmoid")],
            (4, 3),
        ),
        "pointwise code": (
            [Pointwise("encoder.0", 6, "relu"), Pointwise("encoder.1", 2, "identity")],
            [Pointwise("decoder.0", 5, "relu"), Pointwise("decoder.1", 3, "sigmoid")],
            (4, 3),
        ),
    }  # fmt: skip
    return build(*made[kind])


KINDS = pytest.mark.parametrize("kind", ["gain", "maxout", "pointwise", "pointwise code"])


def evidence_of(net: Autoencoder) -> tuple[Evidence, list[Trace]]:
    """What operators look at after three batches, and what the layers gave on these."""
    weights = initial(net.layers, net.layout, SEED, torch.arange(CELLS)).double()
    rows = torch.rand((3 * BATCH, net.inputs), generator=torch.Generator().manual_seed(1)).double()
    stats, traces = no_stats(net, CELLS, BATCH, torch.device("cpu")), []
    for batch in rows.split(BATCH):
        traces.append(forward(net.layers, net.layout.views(weights), batch.expand(CELLS, -1, -1)))
        stats.add(net, traces[-1])
    seen = Evidence(
        net=net, weights=weights, seed=SEED, generation=1, prune_index=0, cells=torch.arange(CELLS), stats=stats,
        guide=rows, rows=rows, threshold=0.4, squares=weights.square(),
    )  # fmt: skip
    return seen, traces


def per_unit(values: torch.Tensor, cell: int) -> np.ndarray:
    """A layer's values ``[P, B, *gives]`` of a cell as ``[B, values of a unit, units]``."""
    array = values[cell].numpy()
    return array.reshape(len(array), -1, array.shape[-1])


def kept_values(traces: list[Trace], at: int, last: int) -> list[torch.Tensor]:
    """A layer's values per batch: after its activation, of the output layer before it."""
    return [(trace.pre if at == last else trace.out)[at] for trace in traces]


@KINDS
def test_every_operator_scores_all_weights_or_all_units(kind: str) -> None:
    seen, _ = evidence_of(net_of(kind))
    units = sum(layer.units for layer in seen.net.layers)
    for operator in map(operator_of, OPERATORS):
        width = seen.net.model_size if operator.level == "weight" else units
        scores = operator.score(seen)
        assert scores.shape == (CELLS, width) and bool(scores.isfinite().all())
        if operator.published:
            assert operator.published(seen).shape == (CELLS, seen.net.model_size)


@KINDS
def test_wanda_takes_the_norm_of_the_unit_that_a_weight_reads(kind: str) -> None:
    seen, _ = evidence_of(net_of(kind))
    net, rows = seen.net, seen.batch()
    trace, got = forward(net.layers, seen.views, rows), net.model_layout.views(wanda(seen))
    given = [rows.reshape(*rows.shape[:2], *net.shape), *trace.out]
    for cell in range(CELLS):
        for layer, below in zip(net.layers, given, strict=False):
            weight = seen.views[layer.name + ".weight"][cell].numpy()
            reads = np.broadcast_to(layer.matrix.reads, weight.shape)
            norms = np.sqrt(np.square(per_unit(below, cell)).mean((0, 1)))
            right = np.abs(np.vstack([weight, seen.views[layer.name + ".bias"][cell].numpy()]))
            for i in range(weight.shape[0]):
                for j in range(weight.shape[1]):
                    right[i, j] *= norms[reads[i, j]]
            right /= right[right > 0].mean()
            mine = torch.cat([got[layer.name + ".weight"][cell], got[layer.name + ".bias"][cell]])
            np.testing.assert_allclose(mine.numpy(), right, rtol=1e-9)


@KINDS
def test_variance_is_that_of_a_units_mean_value(kind: str) -> None:
    seen, traces = evidence_of(net_of(kind))
    got = seen.net.split_units(variance(seen))
    for cell in range(CELLS):
        for at, layer in enumerate(seen.net.layers):
            values = kept_values(traces, at, len(seen.net.layers) - 1)
            means = np.stack([per_unit(batch, cell).mean(1) for batch in values])  # [batches, B, units]
            score = 1 - means.std(0).sum(0)
            assert score.shape == (layer.units,)
            np.testing.assert_allclose(got[at][cell].numpy(), (score - score.min()) / np.ptp(score), atol=1e-6)


@KINDS
def test_a_unit_is_inactive_by_its_mean_value_beside_those_of_its_layer(kind: str) -> None:
    seen, _ = evidence_of(net_of(kind))
    rows = seen.batch()
    got = seen.net.split_units(inactive(seen.net, seen.views, rows, seen.threshold))
    trace = forward(seen.net.layers, seen.views, rows)
    for cell in range(CELLS):
        for at, layer in enumerate(seen.net.layers):
            (values,) = kept_values([trace], at, len(seen.net.layers) - 1)
            means = per_unit(values, cell).mean(1)
            low, high = means.min(1, keepdims=True), means.max(1, keepdims=True)
            right = (means - low < seen.threshold * (high - low)) & (high > low)
            assert right.shape[1] == layer.units and right.any()
            assert np.array_equal(got[at][cell].numpy(), right)
    assert conjunctive(seen).shape == (CELLS, sum(layer.units for layer in seen.net.layers))


@KINDS
def test_published_variance_draws_for_each_column_by_the_score_of_its_unit(kind: str) -> None:
    seen, _ = evidence_of(net_of(kind))
    scores, draws = seen.net.split_units(variance(seen)), seen.draw("variance", seen.net.model_size)
    keep, drawn = (seen.net.model_layout.views(flat) for flat in (variance_published(seen), draws))
    for layer, score in zip(seen.net.layers, scores, strict=True):
        for part in (".weight", ".bias"):
            for column, unit in enumerate(layer.matrix.writes.tolist()):
                right = score[:, unit, None] > drawn[layer.name + part][..., column]
                assert torch.equal(keep[layer.name + part][..., column], right)
