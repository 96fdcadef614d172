"""Our own graphs come back: random networks of every kind, random masks, plain and compacted.

Whether the same function comes back is what the reader itself compares with onnxruntime.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from aecompress.deploy import graph, reference
from aecompress.deploy.compact import chain_of, compact
from aecompress.deploy.pretrained.bound import bound
from aecompress.deploy.pretrained.onnx import reader
from aecompress.nets.shapes import Autoencoder
from tests.layers.networks import masked_model
from tests.layers.test_mixed import CASES, MANY, QUICK


def check(net: Autoencoder, seed: int, density: float, units: float) -> None:
    model = masked_model(net, seed, density, units)
    whole = chain_of(model.layers, model.tensors)
    rows = np.random.default_rng(seed).normal(size=(4, *net.shape)).astype(np.float32)
    right = reference.run(model.layers, model.tensors, rows)
    for chain in (whole, compact(whole)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.onnx"
            path.write_bytes(graph.build(chain, "autoencoder", 18, {}).SerializeToString())
            found = reader.read(path, net.shape)
        layers = bound(found, net.shape)
        gives = reference.run(layers, found.tensors, rows.reshape(4, *layers[0].given))
        size = max(float(np.abs(right).max()), 1.0)
        np.testing.assert_allclose(gives.reshape(right.shape), right, atol=1e-4 * size)


@hypothesis.settings(QUICK, max_examples=4)
@CASES
def test_a_network_of_ours_comes_back(net: Autoencoder, seed: int, density: float, units: float) -> None:
    check(net, seed, density, units)


@pytest.mark.slow
@MANY
@CASES
def test_any_network_of_ours_comes_back(net: Autoencoder, seed: int, density: float, units: float) -> None:
    check(net, seed, density, units)
