"""Random networks of mixed kinds with random masks: all that a model becomes computes one function.

Torch's own modules, the stacked layers, NumPy, and onnxruntime on plain, compacted, packed and unpacked files.
"""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from aecompress.deploy import compact, graph, pack, reference
from aecompress.deploy.checkpoint import Model, torch_tensors
from aecompress.deploy.compact import Chain, chain_of
from aecompress.deploy.plain import unpack
from aecompress.evolve.select import hidden_layers, keep_units, most_unit_zeros, removed_units, split_hidden
from aecompress.layers.kinds import KINDS
from aecompress.nets.autoencoder import gradient
from aecompress.nets.layers import forward
from aecompress.nets.module import AutoencoderModule
from aecompress.nets.shapes import Autoencoder
from tests.layers.nets import flat_of
from tests.layers.networks import ELSEWHERE, LAYERS, masked_model, networks

OURS = set(KINDS)
"""Without the toy kinds, which the tests of this folder add."""
QUICK = hypothesis.settings(
    deadline=None, max_examples=6, suppress_health_check=list(hypothesis.HealthCheck), derandomize=True
)
MANY = hypothesis.settings(QUICK, max_examples=150, derandomize=False)
CASES = hypothesis.given(
    net=networks(),
    seed=st.integers(0, 2**31 - 1),
    density=st.sampled_from([0.1, 0.5, 1.0]),
    units=st.sampled_from([0.4, 0.8, 1.0]),
)


def close(found: np.ndarray, right: np.ndarray) -> None:
    size = max(float(np.abs(right).max()), 1.0)
    np.testing.assert_allclose(found, right.reshape(found.shape), rtol=1e-4, atol=2e-5 * size)


def run_file(proto: onnx.ModelProto, rows: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    runner = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: np.ndarray = runner.run(None, {runner.get_inputs()[0].name: rows})[0]
    return found


def check_files(chain: Chain, part: str, rows: np.ndarray, right: np.ndarray) -> None:
    """The plain file, and the packed one as it is and unpacked, in every form of values that is exact."""
    plain = graph.build(chain, part, 18, {})
    onnx.checker.check_model(plain, full_check=True)
    close(run_file(plain, rows), right)
    forms = pack.pack_all(chain, "float32")
    packed = graph.build(chain, part, 18, {}, product=graph.gemm(pack.stored(forms)))
    found = run_file(packed, rows)
    close(found, right)
    np.testing.assert_allclose(
        run_file(unpack(packed), rows), found, rtol=1e-6, atol=1e-6 * max(1, np.abs(found).max())
    )


def check_model(net: Autoencoder, model: Model, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(5, *net.shape)).astype(np.float32)
    code, right = reference.reconstruct(model, rows)
    flat = torch.from_numpy(
        np.concatenate([model.tensors[name].ravel() for name in net.model_layout.slots] + [np.zeros(0, np.float32)])
    )
    stacked = torch.stack([torch.zeros_like(flat), flat])
    out = forward(net.layers, net.layout.views(stacked), torch.from_numpy(rows).flatten(1).expand(2, -1, -1)).out[-1]
    close(out[1].numpy(), right)
    close(run_file(graph.build(chain_of(net.layers, model.tensors), "autoencoder", 13, {}), rows), right)
    module = AutoencoderModule(model.encoder, model.decoder, model.tensors, model.scaling)
    close(module(torch.from_numpy(rows).flatten(1)).detach().numpy(), right)
    for part, layers, given, wanted in (
        ("encoder", net.encoder, rows, code),
        ("decoder", net.decoder, code.astype(np.float32), right),
        ("autoencoder", net.layers, rows, right),
    ):
        whole = chain_of(layers, model.tensors)
        small = compact.compact(whole)
        assert small.shape == whole.shape and small.layers[-1].bound.gives == whole.layers[-1].bound.gives
        assert sum(one.weight.size for one in small.layers) <= sum(one.weight.size for one in whole.layers)
        close(compact.run(small, given), wanted)
        check_files(small, part, given, wanted)


@CASES
@QUICK
def test_what_a_model_becomes_computes_its_function(net: Autoencoder, seed: int, density: float, units: float) -> None:
    check_model(net, masked_model(net, seed, density, units), seed)


@pytest.mark.slow
@CASES
@MANY
def test_what_many_models_become_computes_their_function(
    net: Autoencoder, seed: int, density: float, units: float
) -> None:
    check_model(net, masked_model(net, seed, density, units), seed)


@hypothesis.given(net=networks(), seed=st.integers(0, 2**31 - 1), share=st.floats(0, 1))
@QUICK
def test_units_pruned_whole_leave_the_chain(net: Autoencoder, seed: int, share: float) -> None:
    model = masked_model(net, seed, 1.0, 1.0)
    generator = torch.Generator().manual_seed(seed)
    masks = torch.ones((2, net.layout.size), dtype=torch.bool)
    wanted = round(share * most_unit_zeros(net))
    kept = keep_units(net, torch.rand((2, net.units), generator=generator), masks, [wanted, 0])
    assert int((~kept[0]).sum()) >= wanted and bool(kept[1].all())
    views = net.layout.views(kept)
    tensors = {
        name: (tensor * views[name][0].numpy().reshape(tensor.shape)).astype(np.float32)
        for name, tensor in model.tensors.items()
    }
    rows = np.random.default_rng(seed).normal(size=(4, *net.shape)).astype(np.float32)
    whole, right = chain_of(net.layers, tensors), reference.run(net.layers, tensors, rows)
    small = compact.compact(whole)
    close(compact.run(small, rows), right)
    can_go = {one.name for at, one in enumerate(whole.layers) if compact.can_drop(whole.layers, at)}
    removed = split_hidden(net, removed_units(net, kept))
    gone = [
        int(mine[0].sum()) for (one, _), mine in zip(hidden_layers(net), removed, strict=True) if one.name in can_go
    ]
    left = sum(one.matrix.units for one in small.layers if one.bound.weighted)
    assert sum(one.units for one in net.weighted) - left >= sum(gone)


@hypothesis.given(net=networks(), seed=st.integers(0, 2**31 - 1))
@QUICK
def test_the_gradient_of_the_loss_is_that_of_finite_differences(net: Autoencoder, seed: int) -> None:
    stacked = flat_of(net, seed, 2)
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn((2, 3, net.inputs), generator=generator).double()
    grad = torch.full_like(stacked, torch.nan)
    gradient(net, net.layout.views(stacked), net.layout.views(grad), rows, None, 0.0, loss="mse")
    direction = torch.randn(net.layout.size, generator=generator).double()
    step = 1e-6 * direction

    def loss(weights: torch.Tensor) -> torch.Tensor:
        out = forward(net.layers, net.layout.views(weights), rows).out[-1].flatten(2)
        return (out - rows).square().mean((1, 2))

    slope = (loss(stacked + step) - loss(stacked - step)) / 2e-6
    found = grad @ direction
    torch.testing.assert_close(found, slope, rtol=2e-3, atol=1e-5)


def test_every_kind_takes_part() -> None:
    assert {*LAYERS, *ELSEWHERE} >= OURS


@hypothesis.given(net=networks())
@QUICK
def test_torchs_tensors_come_back(net: Autoencoder) -> None:
    model = masked_model(net, 3, 1.0, 1.0)
    stored = torch_tensors(model)
    for one in net.layers:
        prefix = one.name + "."
        own = {name.removeprefix(prefix): tensor for name, tensor in stored.items() if name.startswith(prefix)}
        weight, bias = one.layer.from_torch(one.given, own)
        assert np.array_equal(weight, model.tensors[one.name + ".weight"])
        assert np.array_equal(bias, model.tensors[one.name + ".bias"])
