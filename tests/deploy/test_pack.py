"""Packed chains: which form is chosen, and how many bytes it takes."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import entropy

from aecompress.deploy import forms, graph, pack
from aecompress.deploy.compact import Chain
from aecompress.deploy.grid import VALUES
from tests.deploy.models import packed_layer, sparse, weighted


@pytest.mark.parametrize(("density", "low"), [(1.0, forms.DENSE), (0.5, 0), (0.1, 3), (0.01, 5)])
def test_the_smallest_form_is_taken(density: float, low: int) -> None:
    weight = sparse((400, 300), density)
    assert pack.pack(weight, "int8").low == low
    form = forms.encode(weight, "int8", 0)
    others = {
        other: packed_layer(
            weight, forms.encode(weight, "int8", forms.DENSE) if other < 0 else form._replace(low=other)
        )
        for other in range(-1, 8)
    }
    assert min(others, key=lambda other: others[other].ByteSize()) == low


@pytest.mark.parametrize("values", ["float32", "int8", "int4"])
@pytest.mark.parametrize("density", [0.5, 0.2, 0.1, 0.05, 0.02])
def test_a_large_tensor_takes_little_more_than_its_entropy(density: float, values: str) -> None:
    weight = sparse((784, 256), density)
    bits = {"float32": 32, "int8": 8, "int4": 4}[values]
    share = np.count_nonzero(weight) / weight.size
    bound = (np.count_nonzero(weight) * bits + weight.size * entropy([share, 1 - share], base=2)) / 8
    proto = packed_layer(weight, pack.pack(weight, values))
    assert bound * 0.97 < proto.ByteSize() - 256 * 4 <= bound * (1.32 if density < 0.03 else 1.18)


SIZES = (784, 256, 64, 256, 784)


def mnist_like(density: float) -> Chain:
    """The shape of the network in docs/deploy.md, its weights and biases sparse at random places."""
    layers = []
    for number, (inputs, outputs) in enumerate(pairwise(SIZES)):
        weight, bias = sparse((inputs, outputs), density, number), sparse((outputs,), density, number + 10)
        layers.append(weighted(f"autoencoder.{number}", weight, bias))
    return Chain((784,), tuple(layers))


@pytest.mark.parametrize(("values", "bits", "most"), [("int8", 8, 1.25), ("int4", 4, 1.3)])
@pytest.mark.parametrize("density", [0.07, 0.05])
def test_a_file_takes_little_more_than_the_entropy_of_all_its_tensors(
    density: float, values: str, bits: int, most: float
) -> None:
    chain = mnist_like(density)
    bound = 0.0
    for layer in chain.layers:
        for tensor in layer.tensors.values():
            share = np.count_nonzero(tensor) / tensor.size
            bound += (np.count_nonzero(tensor) * bits + tensor.size * entropy([share, 1 - share], base=2)) / 8
    packed = pack.pack_all(chain, values)
    proto = graph.build(chain, "autoencoder", 18, {}, product=graph.gemm(pack.stored(packed)))
    assert bound < proto.ByteSize() <= most * bound


def test_the_estimate_of_bytes_is_near() -> None:
    weight = sparse((200, 100), 0.1)
    bare = packed_layer(weight, forms.encode(weight, "float32", forms.DENSE)).ByteSize() - weight.nbytes
    for values in VALUES:
        for low in (forms.DENSE, 0, 3):
            form = forms.encode(weight, values, low)
            estimate = form.bytes + pack.GROUP_BYTES.get(low, pack.GAP_BYTES)
            assert abs(packed_layer(weight, form).ByteSize() - bare - estimate) < 300, (values, low)


def test_tensors_share_low_bits_where_their_own_would_take_more_operators() -> None:
    tensors = {"a": sparse((300, 300), 0.1), "b": sparse((30, 30), 0.02), "c": sparse((300, 300), 0.11)}
    found = pack.smallest({name: pack.forms_of(tensor, "int8") for name, tensor in tensors.items()})
    assert found["a"].low == found["c"].low == 3
    assert found["b"].low in (forms.DENSE, 3)
    assert len({form.low for form in found.values()} - {forms.DENSE}) == 1


def test_values_that_are_exact_may_stand_where_rounded_ones_are_requested() -> None:
    tiny = sparse((3, 2), 1.0)
    assert pack.pack(tiny, "int4").values.startswith("float")


@pytest.mark.parametrize("values", ["int8", "int4"])
def test_a_vector_takes_eight_bits_unless_one_value_is_far_above_the_others(values: str) -> None:
    bias = sparse((400,), 0.9)
    form = pack.pack(bias, values)
    assert form.values == "int8"
    assert np.abs(forms.decode(form) - bias).max() <= np.abs(bias).max() / 127 * 0.501
    bias[0] = 100.0
    form = pack.pack(bias, values)
    assert form.values == "float16"
    assert forms.decode(form) == pytest.approx(bias, rel=2**-11)
    assert pack.pack(bias, "float16").values == "float16"
