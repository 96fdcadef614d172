"""Compaction: the same function in no more bytes, for any network and any mask."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from aecompress.deploy import compact, graph, pack, reference
from aecompress.deploy.checkpoint import Model
from aecompress.deploy.compact import Chain, chain_of
from aecompress.deploy.plain import unpack
from aecompress.layers.activations import ACTIVATIONS
from aecompress.layers.base import BoundLayer
from aecompress.layers.dense import dense
from tests.deploy.models import build_all, weighted
from tests.deploy.networks import networks, rows_for


def output(proto: onnx.ModelProto, rows: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    runner = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (out,) = runner.run(None, {runner.get_inputs()[0].name: rows})
    return out


def close(got: np.ndarray, right: np.ndarray) -> bool:
    return bool(np.abs(got - right).max() <= 2e-5 * max(1.0, float(np.abs(right).max())))


def layers_of(model: Model) -> dict[str, tuple[BoundLayer, ...]]:
    return {"encoder": model.encoder, "decoder": model.decoder, "autoencoder": model.layers}


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(networks(), st.sampled_from(list(graph.PARTS)))
def test_original_compacted_packed_and_unpacked_agree(model: Model, part: str) -> None:
    layers = layers_of(model)[part]
    rows = rows_for(layers[0].inputs)
    right = reference.run(layers, model.tensors, rows)
    chain = compact.compact(chain_of(layers, model.tensors))
    assert close(compact.run(chain, rows), right)
    plain = output(graph.build(chain, part, 18, {}), rows)
    assert plain.shape == right.shape
    assert close(plain, right)
    packed = graph.build(chain, part, 18, {}, product=graph.gemm(pack.stored(pack.pack_all(chain, "float32"))))
    assert np.array_equal(output(packed, rows), plain)
    assert np.array_equal(output(unpack(packed), rows), plain)


@settings(max_examples=200, deadline=None)
@given(networks(), st.sampled_from(list(graph.PARTS)))
def test_nothing_is_left_that_could_go(model: Model, part: str) -> None:
    whole = chain_of(layers_of(model)[part], model.tensors)
    chain = compact.compact(whole)
    assert chain.shape == whole.shape
    assert chain.layers[-1].weight.shape[1] == whole.layers[-1].weight.shape[1]
    for layer, after in pairwise(chain.layers):
        alone = layer.weight.shape[1] == 1
        assert alone or (layer.weight.any(0).all() and after.weight.any(1).all())
    again = compact.compact(chain)
    assert [one.weight.shape for one in again.layers] == [one.weight.shape for one in chain.layers]
    # Only biases can gain non-zeros, one for each output of a layer into which a constant was folded.
    assert chain.nonzeros <= whole.nonzeros + sum(one.bias.size for one in chain.layers if one.folded)


def test_layers_that_joining_others_made_joinable_are_joined() -> None:
    tensors = {
        "encoder.0.weight": np.array([[0, 0], [-0.62, 0.04]], np.float32),
        "encoder.1.weight": np.array([[0, -0.46], [0.22, -1.0], [-0.21, -0.16]], np.float32),
        "encoder.2.weight": np.array([[1.5, 2.0, 1.8]], np.float32),
        "decoder.0.weight": np.array([[0.43], [0.7]], np.float32),
    }
    layers = [dense(name[:9], *weight.T.shape, "identity") for name, weight in tensors.items()]
    tensors = {name: weight.T for name, weight in tensors.items()}
    biases = {f"{layer.name}.bias": np.zeros(layer.outputs, np.float32) for layer in layers}
    whole = chain_of(layers, tensors | biases)
    chain = compact.compact(whole)
    rows = np.eye(2, dtype=np.float32)
    assert [one.weight.shape for one in chain.layers] == [(2, 2)]
    np.testing.assert_allclose(compact.run(chain, rows), compact.run(whole, rows), rtol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_constant_unit_is_folded_through_its_activation(activation: str) -> None:
    first = weighted("a", [[1, 0], [2, 0]], [0.5, -0.75], activation)
    second = weighted("b", [[1, 1, 1], [10, 20, 0]], [0, 100, 0], "identity")
    chain = compact.compact(Chain((2,), (first, second)))
    value = ACTIVATIONS[activation].value(np.array([-0.75]))[0]
    assert chain.layers[0].weight.tolist() == [[1], [2]]
    assert chain.layers[1].bias == pytest.approx([10 * value, 100 + 20 * value, 0], rel=1e-6)
    assert chain.layers[1].folded == bool(value)
    name = "b.bias.folded" if value else "b.bias"
    assert list(chain.layers[1].tensors) == ["b.weight", name]


def test_layers_with_nothing_between_them_become_one_where_that_takes_no_more_weights() -> None:
    first = weighted("a", [[1, 2], [3, 4]], [1, -1], "identity")
    second = weighted("b", [[1, 0], [2, 1]], [10, 20], "tanh")
    (one,) = compact.compact(Chain((2,), (first, second))).layers
    assert (one.weight.tolist(), one.bias.tolist(), one.activation) == ([[5, 2], [11, 4]], [9, 19], "tanh")
    assert list(one.tensors) == ["a.b.weight", "a.b.bias.folded"]
    bent = Chain((2,), (weighted("a", [[1, 2], [3, 4]], [1, -1], "relu"), second))
    assert [layer.name for layer in compact.compact(bent).layers] == ["a", "b"]
    thin = weighted("a", [[1], [1]], [0], "identity"), weighted("b", [[1, 0]], [0, 0])
    assert len(compact.compact(Chain((2,), thin)).layers) == 2  # three weights are fewer than four


def test_what_nobody_reads_goes_back_to_the_input() -> None:
    chain = Chain(
        (2,),
        (
            weighted("a", [[1, 2, 3], [4, 5, 6]], [0, 0, 0]),
            weighted("b", [[1, 1], [1, 1], [0, 1]], [0, 0]),
            weighted("c", [[1], [0]], [0]),
        ),
    )
    left = compact.compact(chain)
    assert [layer.weight.tolist() for layer in left.layers] == [[[1, 2], [4, 5]], [[1], [1]], [[1]]]


def test_a_dead_network_is_a_constant_with_its_shapes() -> None:
    chain = Chain((3,), (weighted("a", [[0] * 4] * 3, [1, 2, 3, 4]), weighted("b", [[1, 0]] * 4, [0, 7], "identity")))
    left = compact.compact(chain)
    assert [layer.weight.shape for layer in left.layers] == [(3, 1), (1, 2)]
    assert compact.run(left, rows_for(3)).tolist() == [[10, 7]] * 5
    assert output(graph.build(left, "autoencoder", 18, {}), rows_for(3)).tolist() == [[10, 7]] * 5


def test_unread_inputs_are_skipped_by_one_gather_where_it_pays() -> None:
    weight = np.zeros((2000, 64), np.float32)
    weight[[3, 1999]] = 1
    for kept, gathers in ((weight, 1), (weight[:4], 0)):
        chain = compact.compact(Chain((len(kept),), (weighted("a", kept, np.zeros(64, np.float32), "relu"),)))
        proto = graph.build(chain, "encoder", 18, {})
        assert [node.op_type for node in proto.graph.node].count("Gather") == gathers
        rows = rows_for(len(kept))
        assert close(output(proto, rows), np.maximum(rows @ kept, 0))
    assert compact.compact(Chain((2000,), (weighted("a", weight, weight[0], "relu"),))).reads.tolist() == [3, 1999]


def test_a_latent_unit_goes_from_the_joined_graph_alone() -> None:
    model = Model(
        encoder=(dense("encoder.0", 2, 2, "relu"),),
        decoder=(dense("decoder.0", 2, 2, "identity"),),
        tensors={
            "encoder.0.weight": np.array([[1, 0], [1, 0]], np.float32),
            "encoder.0.bias": np.array([0, 3], np.float32),
            "decoder.0.weight": np.array([[1, 1], [2, 0]], np.float32),
            "decoder.0.bias": np.zeros(2, np.float32),
        },
        scaling={},
        about={},
    )
    protos = build_all(model, 18, {})
    shapes = {
        part: [tuple(numpy_helper.to_array(t).shape) for t in proto.graph.initializer if "weight" in t.name]
        for part, proto in protos.items()
    }
    assert shapes == {"encoder": [(2, 2)], "decoder": [(2, 2)], "autoencoder": [(2, 1), (1, 2)]}
