"""The contract of kinds with places, in networks as users write them: torch's own modules are the oracle."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from aecompress.api.load import load
from aecompress.deploy import compact, graph, pack, quantize, reference, verify
from aecompress.deploy.checkpoint import load_model, save_model, shapes_of, torch_tensors
from aecompress.deploy.compact import chain_of
from aecompress.errors import SpecError
from aecompress.evolve.select import hidden_layers, keep_units, keep_weights, most_unit_zeros, most_zeros, per_unit
from aecompress.layers import kinds
from aecompress.layers.base import BoundLayer
from aecompress.layers.conv import Conv1d, Conv2d
from aecompress.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d
from aecompress.layers.dense import Dense
from aecompress.layers.pool import AvgPool, GlobalAvgPool, MaxPool, Upsample
from aecompress.layers.prelu import Prelu
from aecompress.layers.reshape import Permute, Reshape
from aecompress.nets import layers as nets
from aecompress.nets.autoencoder import gradient
from aecompress.nets.layers import forward
from tests.deploy.models import write_onnx
from tests.layers.nets import NETS, flat_of, model_of, net_of, rows_of

ALL = pytest.mark.parametrize("name", NETS)
ALONE: list[tuple[Any, tuple[int, ...], Any]] = [
    (Conv2d("a", 6, "identity", (3, 2), (2, 1), (1, 0), (1, 2)), (7, 6, 4),
     lambda: nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2))),
    (Conv2d("a", 6, "identity", (3,), padding=(1,), groups=2), (5, 5, 4), lambda: nn.Conv2d(4, 6, 3, 1, 1, 1, 2)),
    (Conv2d("a", 4, "identity", (3,), stride=(2,), groups=4), (5, 6, 4), lambda: nn.Conv2d(4, 4, 3, 2, groups=4)),
    (Conv2d("a", 8, "identity", (2,), groups=4), (5, 6, 4), lambda: nn.Conv2d(4, 8, 2, groups=4)),
    (Conv1d("a", 5, "identity", (3,), (2,), (2,), (2,)), (9, 3), lambda: nn.Conv1d(3, 5, 3, 2, 2, 2)),
    (Prelu("a"), (5, 2, 3), lambda: nn.PReLU(3, 0.3)),
    (Dense("a", 3, "identity", (2, 5)), (4, 2, 3),
     lambda: nn.Sequential(nn.Flatten(), nn.Linear(24, 30), nn.Unflatten(1, (3, 2, 5)))),
    (ConvTranspose2d("a", 6, "identity", (3, 2), (2, 1), (1, 0), (1, 0), (1, 2)), (4, 5, 4),
     lambda: nn.ConvTranspose2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 0), 1, True, (1, 2))),
    (ConvTranspose2d("a", 6, "identity", (3,), (3,), (0,), (2,), groups=2), (3, 3, 4),
     lambda: nn.ConvTranspose2d(4, 6, 3, 3, 0, 2, 2)),
    (ConvTranspose1d("a", 4, "identity", (3,), (2,), groups=4), (5, 4),
     lambda: nn.ConvTranspose1d(4, 4, 3, 2, groups=4)),
    (MaxPool("a", (3, 2), (2,), (1,)), (7, 6, 4), lambda: nn.MaxPool2d((3, 2), 2, 1)),
    (MaxPool("a", (2,)), (7, 4), lambda: nn.MaxPool1d(2)),
    (AvgPool("a", (3,), (2,), (1,)), (7, 6, 4), lambda: nn.AvgPool2d(3, 2, 1)),
    (AvgPool("a", (2,), (1,)), (7, 4), lambda: nn.AvgPool1d(2, 1)),
    (GlobalAvgPool("a"), (3, 5, 4), lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())),
    (Upsample("a", (2, 3)), (3, 2, 4), lambda: nn.Upsample(scale_factor=(2, 3))),
    (Upsample("a", (3, 2), "linear"), (3, 2, 4), lambda: nn.Upsample(scale_factor=(3, 2), mode="bilinear")),
    (Upsample("a", (4,), "linear"), (3, 4), lambda: nn.Upsample(scale_factor=4, mode="linear")),
]  # fmt: skip
"""A layer, what it is given, and torch's module of it."""


@pytest.mark.parametrize(("layer", "given", "make"), ALONE, ids=lambda value: getattr(value, "kind", ""))
def test_a_layer_is_the_module_of_torch(layer: Any, given: tuple[int, ...], make: Any) -> None:
    torch.manual_seed(0)
    module, bound = make(), BoundLayer(layer, given)
    tensors = {key.rpartition(".")[2]: value.numpy() for key, value in module.state_dict().items()}
    weight, bias = layer.from_torch(given, tensors)
    assert (weight.shape, bias.shape) == shapes_of(bound)
    again = layer.to_torch(given, weight, bias)
    assert again.keys() == tensors.keys() and all(np.array_equal(again[key], tensors[key]) for key in tensors)
    rows = torch.randn(5, *given)
    right = module(rows.movedim(-1, 1)).movedim(1, -1).detach().numpy()
    assert right.shape == (5, *bound.gives)
    given_rows = rows.numpy().astype(np.float64)
    np.testing.assert_allclose(layer.reference(given_rows, weight, bias), right, rtol=1e-4, atol=1e-5)
    stacked = [torch.from_numpy(part)[None] for part in (weight, bias[None])]
    mine = nets.KINDS[layer.kind].forward(bound, *stacked, rows[None])[0]
    np.testing.assert_allclose(mine.numpy(), right, rtol=1e-4, atol=1e-5)
    assert kinds.from_json("a", kinds.to_json(layer)) == layer


@ALL
def test_maps_and_sizes_agree(name: str) -> None:
    net = net_of(name)
    for bound in net.layers:
        matrix = bound.matrix
        assert bound.gives[-1] == matrix.units and matrix.below == bound.given[-1]
        assert kinds.from_json(bound.name, kinds.to_json(bound.layer)) == bound.layer
        if not bound.weighted:
            assert (matrix.fan_in, matrix.columns, bound.biases, bound.size, bound.macs) == (0, 0, 0, 0, 0)
            continue
        last = matrix.below + matrix.units if matrix.recurs else matrix.below - 1
        assert np.broadcast_to(matrix.reads, (matrix.fan_in, matrix.columns)).max() == last
        assert set(Counter(matrix.writes.tolist())) == set(range(matrix.units))
        assert bound.macs > 0


@ALL
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    net = net_of(name)
    flat, rows = flat_of(net, 3), torch.rand(3, 5, net.inputs).double()
    grad = torch.full_like(flat, torch.nan)
    gradient(net, net.layout.views(flat), net.layout.views(grad), rows, None, 0.0, loss="mse")

    def value(weights: torch.Tensor) -> torch.Tensor:
        out = forward(net.layers, net.layout.views(weights), rows).out[-1].flatten(2)
        return (out - rows).square().mean((1, 2))

    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        way = torch.randn(flat.shape, generator=generator).double()
        slope = (value(flat + 1e-6 * way) - value(flat - 1e-6 * way)) / 2e-6
        torch.testing.assert_close((grad * way).sum(1), slope, rtol=1e-4, atol=1e-7)


@ALL
def test_torch_numpy_and_onnxruntime_agree(name: str) -> None:
    net = net_of(name)
    model, rows = model_of(net, 5), rows_of(net)
    right = reference.run(net.layers, model.tensors, rows)
    flat = torch.cat([torch.from_numpy(model.tensors[slot]).flatten() for slot in net.model_layout.slots])[None]
    mine = forward(net.layers, net.layout.views(flat), torch.from_numpy(rows).flatten(1)[None]).out[-1][0]
    np.testing.assert_allclose(mine.numpy(), right, rtol=1e-3, atol=1e-4)
    for opset in (13, 18):
        proto = graph.build(chain_of(net.layers, model.tensors), "autoencoder", opset, {})
        onnx.checker.check_model(proto, full_check=True)
        runner = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(runner.run(None, {"input": rows})[0], right, rtol=1e-3, atol=1e-4)


def test_rows_of_torch_need_no_transpose_in_a_graph_and_others_one_at_each_end() -> None:
    for name, count in (("colours", 0), ("series", 2), ("images", 0), ("pooled", 0), ("waves", 2)):
        net = net_of(name)
        proto = graph.build(chain_of(net.layers, model_of(net, 0).tensors), "autoencoder", 18, {})
        assert sum(node.op_type == "Transpose" for node in proto.graph.node) == count


@ALL
@hypothesis.given(seed=st.integers(0, 2**31 - 1), density=st.sampled_from([0.05, 0.3, 0.8]))
@hypothesis.settings(
    deadline=None, max_examples=4, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_compaction_keeps_the_function_on_random_masks(name: str, seed: int, density: float) -> None:
    net = net_of(name)
    model, rows = model_of(net, seed, density), rows_of(net)
    code = reference.run(net.encoder, model.tensors, rows)
    for layers, given in ((net.encoder, rows), (net.decoder, code), (net.layers, rows)):
        whole = chain_of(layers, model.tensors)
        small = compact.compact(whole)
        right = reference.run(layers, model.tensors, given)
        np.testing.assert_allclose(compact.run(small, given), right, rtol=1e-4, atol=1e-4)
        assert small.shape == whole.shape and small.layers[-1].bound.gives == whole.layers[-1].bound.gives
        for one in small.layers:
            assert one.weight.shape == (one.bound.inputs, one.bound.outputs)
            assert one.bias.shape == (one.bound.biases,)


@ALL
def test_units_that_are_pruned_leave_the_graph(name: str) -> None:
    net = net_of(name)
    scores = torch.rand((2, net.units), generator=torch.Generator().manual_seed(0))
    masks = torch.ones((2, net.layout.size), dtype=torch.bool)
    most = most_unit_zeros(net)
    kept = keep_units(net, scores, masks, [most, most // 2])
    assert int((~kept[0]).sum()) >= most and int((~kept[1]).sum()) >= most // 2
    views, model = net.layout.views(kept), model_of(net, 4)
    tensors = {key: tensor * views[key][1].numpy().reshape(tensor.shape) for key, tensor in model.tensors.items()}
    small = compact.compact(chain_of(net.layers, tensors))
    rows = rows_of(net)
    np.testing.assert_allclose(compact.run(small, rows), reference.run(net.layers, tensors, rows), rtol=1e-3, atol=1e-4)
    assert sum(one.weight.size for one in small.layers) < model.parameters
    score = per_unit(net, torch.rand(2, net.model_size))
    assert score.shape == (2, net.units) and bool(score.isfinite().all())


def test_a_channel_goes_from_all_that_reads_it() -> None:
    net = net_of("images")
    assert [layer.name for layer, _ in hidden_layers(net)] == ["encoder.1", "encoder.2", "decoder.0", "decoder.1"]
    model, gone = model_of(net, 4), np.arange(5) % 2 == 0
    tensors = dict(model.tensors)
    tensors["encoder.2.weight"] = tensors["encoder.2.weight"] * ~gone
    tensors["encoder.2.bias"] = tensors["encoder.2.bias"] * ~gone
    small = compact.compact(chain_of(net.encoder, tensors))
    assert [one.weight.shape for one in small.layers] == [(0, 0), (9, 4), (24, 2), (24, 3)]


@ALL
def test_weights_are_pruned_to_an_exact_number(name: str) -> None:
    net = net_of(name)
    most = most_zeros(net)
    assert most == net.model_size - sum(layer.weighted for layer in net.layers)
    kept = keep_weights(net, torch.rand(2, net.model_size), torch.ones(2, net.layout.size, dtype=torch.bool), [most, 9])
    assert (~kept).sum(1).tolist() == [most, 9]


@ALL
def test_a_model_folder_is_torchs_comes_back_and_its_files_verify(name: str, tmp_path: Path) -> None:
    net = net_of(name)
    model = model_of(net, 7, 0.5)
    save_model(tmp_path, model)
    again = load_model(tmp_path)
    assert again.layers == model.layers and again.shape == net.shape
    assert all(np.array_equal(again.tensors[key], tensor) for key, tensor in model.tensors.items())
    write_onnx(tmp_path, again)
    verification = verify.verify_set(tmp_path, again, rows_of(net, 20), 1e-5, {}, 1e-5)
    assert verification.passed, verification.first_failure
    module, rows = load(tmp_path), rows_of(net)
    assert set(module.state_dict()) == set(torch_tensors(model))
    flat = torch.from_numpy(rows).flatten(1)
    right = reference.reconstruct(model, rows)
    np.testing.assert_allclose(module.encode(flat).detach(), right[0].reshape(len(rows), -1), rtol=1e-4, atol=1e-4)
    out = module(flat)
    np.testing.assert_allclose(out.detach(), right[1].reshape(len(rows), -1), rtol=1e-4, atol=1e-4)
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    assert "encoder.1" in module._repr_html_()


@ALL
@pytest.mark.parametrize("values", ["float32", "int8", "int4"])
def test_packed_files_compute_what_their_tensors_stand_for(name: str, values: str) -> None:
    net = net_of(name)
    model, rows = model_of(net, 2, 0.5), rows_of(net)
    chain = compact.compact(chain_of(net.layers, model.tensors))
    forms = pack.pack_all(chain, values)
    proto = graph.build(chain, "autoencoder", 18, {}, product=graph.gemm(pack.stored(forms)))
    onnx.checker.check_model(proto, full_check=True)
    runner = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    right = compact.run(pack.restored(chain, forms), rows)
    np.testing.assert_allclose(runner.run(None, {"input": rows})[0], right, rtol=1e-3, atol=1e-4)


@ALL
@pytest.mark.parametrize("method", quantize.METHODS)
def test_int8_files_are_near_the_model(name: str, method: str) -> None:
    from aecompress.deploy import rounding
    from aecompress.deploy.variants.bits import plan_of

    net = net_of(name)
    model, rows = model_of(net, 2), rows_of(net, 40)
    chain = compact.compact(chain_of(net.layers, model.tensors))
    near, grids = rounding.compensated(chain, rows, plan_of(chain, {}))
    seen = quantize.ranges(near, rows)
    for product in (
        quantize.product_of(method, seen, grids),
        quantize.packed_product_of(method, near, seen, grids),
    ):
        proto = graph.build(near, "autoencoder", 18, {}, product=product)
        onnx.checker.check_model(proto, full_check=True)
        runner = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        right = reference.run(net.layers, model.tensors, rows)
        assert np.abs(runner.run(None, {"input": rows})[0] - right).mean() < 0.05


@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (lambda: Conv2d("a", 3, "relu", (3,)), (8, 8), r"layer a \(conv2d\) takes rows of shape \(height, width, ch"),
        (
            lambda: Conv2d("a", 3, "relu", (9,)),
            (8, 8, 1),
            r"kernel of 9x9, which rows of shape \[8, 8, 1\] do n",
        ),
        (lambda: Conv2d("a", 4, "relu", (3,), groups=2), (8, 8, 3), "groups = 2 does not divide the 3 channels below"),
        (lambda: Conv2d("a", 3, "relu", (3,), groups=2), (8, 8, 4), "groups = 2 does not divide its 3 channels"),
        (lambda: Conv2d("a", 3, "relu", (3, 3, 3)), (8, 8, 1), r"kernel = \[3, 3, 3\]: give one number or 2 of at lea"),
        (lambda: Conv1d("a", 3, "relu", (3,), (0,)), (8, 1), r"stride = \[0\]: give one number of at least 1"),
        (lambda: Reshape("a", (4, 4)), (15,), r"gives rows of shape \[4, 4\], and is given rows of shape \[15\]"),
        (lambda: Permute("a", (0, 2)), (4, 4), r"axes = \[0, 2\]: name each axis from 0 once"),
        (lambda: Permute("a", (1, 0)), (4,), "takes rows of 2 axes"),
    ],
)
def test_layers_that_cannot_be_are_refused_in_one_sentence(make: Any, given: tuple[int, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        make().shape(given)
