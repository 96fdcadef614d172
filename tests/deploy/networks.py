"""Random networks with random masks, for properties that hold for all of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from aecompress.deploy.checkpoint import Model
from aecompress.layers.activations import ACTIVATIONS
from aecompress.layers.dense import dense


@st.composite
def networks(draw: st.DrawFn) -> Model:
    """Autoencoders of one to three layers a side, any activations, any share of zeros, whole layers and units dead."""
    inputs, latent = draw(st.integers(1, 9)), draw(st.integers(1, 4))
    sides = [draw(st.lists(st.integers(1, 7), max_size=2)) for _ in range(2)]
    sizes = [[inputs, *sides[0], latent], [latent, *sides[1], inputs]]
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tensors, chains = {}, []
    for part, widths in zip(("encoder", "decoder"), sizes, strict=True):
        layers = []
        for index, (before, after) in enumerate(pairwise(widths)):
            name = f"{part}.{index}"
            layers.append(dense(name, before, after, draw(st.sampled_from(list(ACTIVATIONS)))))
            density = draw(st.sampled_from([0.0, 0.05, 0.3, 0.7, 1.0]))
            mask = random.random((after, before)) < density
            mask[random.random(after) < draw(st.sampled_from([0.0, 0.5]))] = False
            mask[:, random.random(before) < draw(st.sampled_from([0.0, 0.5]))] = False
            # Multiplying by a mask leaves negative zeros behind, as training does.
            tensors[name + ".weight"] = (random.normal(size=(after, before)) * mask).astype(np.float32).T.copy()
            bias = random.normal(size=after) * (random.random(after) < draw(st.sampled_from([0.0, 0.5, 1.0])))
            tensors[name + ".bias"] = bias.astype(np.float32)
        chains.append(tuple(layers))
    return Model(
        encoder=chains[0],
        decoder=chains[1],
        tensors=tensors,
        scaling={"kind": "none", "offset": 0.0, "divisor": 1.0},
        about={},
    )


def rows_for(width: int, count: int = 5) -> np.ndarray:
    """A few rows on both sides of zero."""
    return np.random.default_rng(width).normal(size=(count, width)).astype(np.float32)
