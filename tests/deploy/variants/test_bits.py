"""Which layers get fewer bits first: those whose rounding costs least for what it saves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aecompress.deploy.compact import Chain, Weighted
from aecompress.deploy.variants import bits
from aecompress.deploy.variants.base import Source
from aecompress.layers.base import BoundLayer
from tests.deploy.models import tiny_model, weighted
from tests.layers.gain import Gain

ROWS = np.random.default_rng(0).random((200, 30), dtype=np.float32)


def source_of(*weights: np.ndarray) -> Source:
    layers = [weighted(f"layer.{index}", weight, np.zeros(weight.shape[1])) for index, weight in enumerate(weights)]
    chain = Chain((30,), tuple(layers))
    return Source(
        model=tiny_model(), chains={"autoencoder": chain}, expected={}, rows=ROWS, training=ROWS, labelled=None
    )


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape).astype(np.float32) / shape[0] ** 0.5


def test_a_layer_that_loses_nothing_gets_fewer_bits_first_and_a_small_one_keeps_them() -> None:
    free = np.round(drawn(30, 40) * 16).clip(-7, 7) / 16  # no more values than four bits tell apart
    source = source_of(free, drawn(40, 1), drawn(1, 40), drawn(40, 30))
    found = bits.plans(source, "mse", lambda: None)
    assert found[0] == {"layer.0": "int7", "layer.3": "int7"}
    assert found[1] == {"layer.0": "whole4", "layer.3": "int7"}
    assert found[-1] == {"layer.0": "whole4", "layer.3": "whole4"}
    totals = [sum(bits.bits_of(grid) for grid in plan.values()) for plan in found]
    assert totals == sorted(set(totals), reverse=True)


def test_what_a_plan_does_not_name_keeps_eight_bits_and_what_is_no_product_stays() -> None:
    chain = source_of(drawn(30, 8), drawn(8, 30)).chains["autoencoder"]
    assert bits.plan_of(chain, {"layer.1": "whole5"}) == {"layer.0": "int7", "layer.1": "whole5"}
    gain = BoundLayer(Gain("gain", "relu"), (8,))
    other = Weighted(gain, np.ones((1, 8), np.float32), np.zeros(8, np.float32))
    assert bits.plan_of(replace(chain, layers=(*chain.layers[:1], other)), {}) == {"layer.0": "int7", "gain": "float32"}
