"""Compensated rounding: on the grid, zeros kept, and nearer in what it computes than rounding to the nearest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from aecompress.deploy import pack, rounding
from aecompress.deploy.checkpoint import shapes_of
from aecompress.deploy.compact import Chain, chain_of, run
from aecompress.layers.base import bind
from aecompress.layers.conv import Conv2d
from tests.deploy.models import weighted


def correlated(count: int, width: int, seed: int = 0) -> np.ndarray:
    """Rows that move together, as pixels do."""
    random = np.random.default_rng(seed)
    return (random.normal(size=(count, 8)) @ random.normal(size=(8, width)) * 0.3 + random.random(width)).astype(
        np.float32
    )


def chain_like(density: float) -> Chain:
    random = np.random.default_rng(1)
    layers = []
    for name, shape, activation in (("a", (60, 40), "relu"), ("b", (40, 50), "sigmoid")):
        weight = (random.normal(size=shape) * (random.random(shape) < density)).astype(np.float32)
        layers.append(weighted(name, weight, random.normal(size=shape[1]).astype(np.float32), activation))
    return Chain((60,), tuple(layers))


@pytest.mark.parametrize("values", ["int8", "int4"])
@pytest.mark.parametrize("density", [1.0, 0.3])
def test_outputs_stay_nearer_than_by_rounding_each_weight(values: str, density: float) -> None:
    chain, both = chain_like(density), correlated(1500, 60)
    rows, others = both[:500], both[500:]
    near, grids = rounding.compensated(chain, rows, values)
    right = run(chain, others)
    each = pack.restored(chain, pack.pack_all(chain, values))
    assert np.square(run(near, others) - right).mean() < 0.7 * np.square(run(each, others) - right).mean()
    for one, trained in zip(near.layers, chain.layers, strict=True):
        grid = grids[f"{one.name}.weight"]
        kept = trained.weight != 0
        assert not one.weight[~kept].any()
        assert np.array_equal(np.where(kept, grid.value(grid.codes(one.weight)), 0), one.weight)


def test_convolutions_stay_nearer_than_by_rounding_each_weight() -> None:
    layers = bind([Conv2d("a", 16, "relu", (3,), padding=(1,)), Conv2d("b", 4, "identity", (3,))], (6, 5, 6))
    random, tensors = np.random.default_rng(1), {}
    for one in layers:
        shapes = shapes_of(one)
        tensors[f"{one.name}.weight"] = (random.normal(size=shapes[0]) * (random.random(shapes[0]) < 0.6)).astype("f4")
        tensors[f"{one.name}.bias"] = random.normal(size=shapes[1]).astype("f4")
    chain, both = chain_of(layers, tensors), correlated(400, 180).reshape(-1, 6, 5, 6)
    near, _ = rounding.compensated(chain, both[:200], "int4")
    right, each = run(chain, both[200:]), pack.restored(chain, pack.pack_all(chain, "int4"))
    assert np.square(run(near, both[200:]) - right).mean() < 0.7 * np.square(run(each, both[200:]) - right).mean()
    for one, trained in zip(near.layers, chain.layers, strict=True):
        assert not one.weight[trained.weight == 0].any()


@pytest.mark.parametrize("values", ["int8", "int4"])
def test_what_is_packed_is_what_was_rounded(values: str) -> None:
    near, grids = rounding.compensated(chain_like(0.3), correlated(200, 60), values)
    stored = pack.restored(near, pack.pack_all(near, values, grids))
    for one, other in zip(near.layers, stored.layers, strict=True):
        # A small matrix may take fewer bytes as float16 than with a codebook.
        assert other.weight == pytest.approx(one.weight, rel=2**-10 if values == "int4" else 1e-6)
        assert other.bias == pytest.approx(one.bias, abs=float(np.abs(one.bias).max()) / 127 * 0.501)


@pytest.mark.parametrize("values", ["float32", "float16"])
def test_values_that_are_rounded_one_by_one_are_left_alone(values: str) -> None:
    chain = chain_like(0.5)
    near, grids = rounding.compensated(chain, correlated(50, 60), values)
    assert grids == {}
    for one, other in zip(near.layers, chain.layers, strict=True):
        assert np.array_equal(one.weight, other.weight)
        assert one.bias == pytest.approx(other.bias, abs=1e-6)


def test_inputs_that_never_vary_and_a_skipped_input_do_no_harm() -> None:
    chain = chain_like(0.5)
    rows = correlated(100, 60)
    rows[:, :20] = 0
    near, _ = rounding.compensated(chain, rows, "int4")
    assert all(np.isfinite(one.weight).all() for one in near.layers)
    reads = np.arange(60)[::-1].copy()
    turned = replace(
        chain, reads=reads, layers=(replace(chain.layers[0], weight=chain.layers[0].weight[reads]), chain.layers[1])
    )
    assert run(turned, rows) == pytest.approx(run(chain, rows))
    other, _ = rounding.compensated(turned, rows, "int4")
    assert np.abs(run(other, rows) - run(near, rows)).max() < 0.2
