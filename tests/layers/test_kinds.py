"""The contract of a layer kind, over every real kind and two toy ones, in a chain between dense layers."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import hypothesis
import hypothesis.strategies as st
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from aecompress.api.load import load
from aecompress.deploy import compact, graph, reference, verify
from aecompress.deploy.checkpoint import Model, load_model, save_model, shapes_of
from aecompress.deploy.compact import chain_of
from aecompress.engines.cuda import records as on_cuda
from aecompress.engines.numba import activations as compiled
from aecompress.evolve.select import hidden_layers, keep_units, most_unit_zeros, per_unit, removed_units
from aecompress.layers import activations, kinds
from aecompress.layers.base import BoundLayer, Layer, bind
from aecompress.layers.dense import Dense
from aecompress.layers.names import HIDDEN_NAMES, NAMES
from aecompress.layers.prelu import Prelu
from aecompress.layers.units import fed, read
from aecompress.nets import layers as nets
from aecompress.nets.autoencoder import gradient, tensors_of
from aecompress.nets.layers import backward, forward, initial
from aecompress.nets.shapes import Autoencoder
from tests.deploy.models import build_all
from tests.layers.gain import Gain
from tests.layers.maxout import Maxout
from tests.layers.nets import SHAPED

MAKE: dict[str, Callable[[str], Layer]] = {
    "dense": lambda name: Dense(name, 5, "tanh"),
    "gain": lambda name: Gain(name, "gelu"),
    "maxout": lambda name: Maxout(name, 4, "relu"),
    "prelu": Prelu,
}
"""One layer of every kind; a kind without an entry here fails the first test."""
INPUTS, CELLS = 9, torch.arange(3)
ALL = pytest.mark.parametrize("kind", MAKE)


def net_of(kind: str, ends: bool = False) -> Autoencoder:
    """The kind between dense layers in encoder and decoder, twice in a row in the encoder; with ``ends`` also last."""
    encoder = [Dense("encoder.0", 6, "relu"), MAKE[kind]("encoder.1"), MAKE[kind]("encoder.2")]
    encoder.append(Dense("encoder.3", 3, "identity"))
    decoder = [Dense("decoder.0", 5, "leaky-relu"), MAKE[kind]("decoder.1"), Dense("decoder.2", INPUTS, "sigmoid")]
    if ends and kind == "gain":
        decoder.append(Gain("decoder.3", "identity"))
    return Autoencoder(bind(encoder, (INPUTS,)), bind(decoder, (3,)))


def model_of(net: Autoencoder, seed: int, density: float = 1.0) -> Model:
    """A model with random weights, a share of the weights and of the units' columns kept."""
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in net.layers:
        weight = random.normal(size=(layer.inputs, layer.outputs))
        mask = random.random(weight.shape) < density
        if density < 1:
            mask &= (random.random(layer.units) < 0.7)[layer.matrix.writes]
            mask &= (random.random(layer.matrix.below) < 0.7)[layer.matrix.reads]
        tensors[layer.name + ".weight"] = (weight * mask).astype(np.float32)
        bias = random.normal(size=layer.biases) * (random.random(layer.biases) < 0.8)
        tensors[layer.name + ".bias"] = bias.astype(np.float32)
    return Model(
        encoder=net.encoder,
        decoder=net.decoder,
        tensors=tensors,
        scaling={"kind": "none", "offset": 0.0, "divisor": 1.0},
        about={},
    )


def rows_of(count: int = 7) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, INPUTS)).astype(np.float32)


def test_every_kind_is_here_and_has_both_sides() -> None:
    assert (
        set(kinds.KINDS) == set(nets.KINDS) == {*MAKE, *SHAPED, "pointwise"}
    )  # on rows with places: test_places, test_shaped
    assert all(kinds.KINDS[name].kind == name for name in kinds.KINDS)


@pytest.mark.parametrize(
    ("wanted", "right", "wrong", "words"),
    [
        (int, [3], [True, 3.0, "3", None, [3]], "a whole number"),
        (float, [0.5, 3], [True, "3"], "a number"),
        (bool, [True], [1, "true"], "true or false"),
        (str, ["a"], [1, ["a"]], "a text"),
        (tuple[int, ...], [3, [], [3], (3, 3)], [True, "33", [3.0], [True]], "a whole number or a list of these"),
        (tuple[int, int], [[3, 3]], [[3], [3, 3, 3], 3], "a list of 2 whole numbers"),
        (Literal["same", "valid"], ["same"], ["Same", 1, ["same"]], "one of same, valid"),
    ],
)
def test_what_a_field_of_a_kind_takes(wanted: Any, right: list[Any], wrong: list[Any], words: str) -> None:
    assert all(kinds.fits(value, wanted) for value in right)
    assert not any(kinds.fits(value, wanted) for value in wrong)
    assert kinds.in_words(wanted) == words


@ALL
def test_shape_matrix_and_numbers_agree(kind: str) -> None:
    layer = MAKE[kind]("a")
    bound = BoundLayer(layer, (INPUTS,))
    matrix = bound.matrix
    assert bound.gives[-1] == matrix.units == bound.units
    assert matrix.reads.shape in ((matrix.fan_in, 1), (1, matrix.columns))
    assert matrix.writes.shape == (matrix.columns,)
    assert matrix.writes.max() + 1 == matrix.units
    assert matrix.reads.min() == 0 and matrix.reads.max() == matrix.below - 1 == INPUTS - 1
    assert len(set(np.bincount(matrix.writes))) == 1
    assert bound.macs > 0
    given = (2,) if matrix.tied else (INPUTS,)
    assert BoundLayer(layer.resize(2), given).units == 2
    assert kinds.from_json("a", kinds.to_json(layer)) == layer
    weight, bias = (np.random.default_rng(0).random(size).astype(np.float32) for size in shapes_of(bound))
    again = layer.from_torch(bound.given, layer.to_torch(bound.given, weight, bias))
    assert np.array_equal(again[0], weight) and np.array_equal(again[1], bias)


@ALL
def test_backward_equals_autograd(kind: str) -> None:
    net = net_of(kind)
    flat = initial(net.layers, net.layout, 3, CELLS).double()
    rows, delta = torch.rand(3, 6, INPUTS).double(), torch.randn(3, 6, INPUTS).double()
    grad = torch.full_like(flat, torch.nan)
    trace = forward(net.layers, net.layout.views(flat), rows)
    backward(net.layers, net.layout.views(flat), net.layout.views(grad), rows, trace, delta)
    leaf = flat.clone().requires_grad_()
    functions = {
        "identity": lambda x: x, "relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu,
        "leaky-relu": lambda x: torch.nn.functional.leaky_relu(x, 0.01),
    }  # fmt: skip
    values, views = rows, net.layout.views(leaf)
    for layer in net.layers:
        pre = nets.KINDS[layer.kind].forward(layer, views[layer.name + ".weight"], views[layer.name + ".bias"], values)
        values = pre if layer is net.layers[-1] else functions[layer.activation](pre)
    values.backward(delta)
    torch.testing.assert_close(grad, leaf.grad)


@ALL
def test_the_gradient_of_the_loss_equals_autograd(kind: str) -> None:
    net = net_of(kind)
    flat = initial(net.layers, net.layout, 3, CELLS).double()
    rows, grad = torch.rand(3, 6, INPUTS).double(), torch.empty_like(flat)
    gradient(net, net.layout.views(flat), net.layout.views(grad), rows, None, 0.0, loss="mse")
    for at in range(0, net.layout.size, 17):  # finite differences, an oracle of neither side
        step = torch.zeros_like(flat)
        step[:, at] = 1e-6
        up, down = (
            (forward(net.layers, net.layout.views(moved), rows).out[-1] - rows).square().mean((1, 2))
            for moved in (flat + step, flat - step)
        )
        torch.testing.assert_close(grad[:, at], (up - down) / 2e-6, rtol=1e-4, atol=1e-7)


@ALL
def test_torch_numpy_and_onnxruntime_agree(kind: str) -> None:
    net = net_of(kind, ends=True)
    flat = initial(net.layers, net.layout, 5, CELLS)
    rows = rows_of()
    tensors = {name: tensor.numpy().copy() for name, tensor in tensors_of(net, flat[1]).items()}
    right = reference.run(net.layers, tensors, rows)
    stacked = forward(net.layers, net.layout.views(flat), torch.from_numpy(rows).expand(3, -1, -1)).out[-1][1]
    np.testing.assert_allclose(stacked.numpy(), right, rtol=1e-4, atol=1e-5)
    proto = graph.build(chain_of(net.layers, tensors), "autoencoder", 18, {})
    onnx.checker.check_model(proto, full_check=True)
    runner = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(runner.run(None, {"input": rows})[0], right, rtol=1e-4, atol=1e-5)


@ALL
@hypothesis.given(seed=st.integers(0, 2**31 - 1), share=st.floats(0, 1))
@hypothesis.settings(
    deadline=None, max_examples=30, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_units_are_pruned_whole(kind: str, seed: int, share: float) -> None:
    net = net_of(kind)
    scores = torch.rand((2, sum(layer.units for layer in net.layers)), generator=torch.Generator().manual_seed(seed))
    masks = torch.ones((2, net.layout.size), dtype=torch.bool)
    wanted = round(share * most_unit_zeros(net))
    kept = keep_units(net, scores, masks, [wanted, 0])
    assert int((~kept[0]).sum()) >= wanted and bool(kept[1].all())
    views, gone = net.layout.views(kept), removed_units(net, kept)[0].numpy()
    first = 0
    for layer, reader in hidden_layers(net):
        mine = gone[first : first + layer.units]
        first += layer.units
        assert not mine.all()
        weight, bias = views[layer.name + ".weight"][0].numpy(), views[layer.name + ".bias"][0, 0].numpy()
        assert not weight[:, mine[layer.matrix.writes]].any() and not bias[mine[layer.matrix.writes]].any()
        read_by = views[reader.name + ".weight"][0].numpy()
        assert not read_by[np.broadcast_to(mine[reader.matrix.reads], read_by.shape)].any()
    for name in (net.encoder[-1].name, net.decoder[-1].name):
        assert bool(views[name + ".bias"].all())


@ALL
def test_unit_scores_are_norms_in_times_norms_out(kind: str) -> None:
    net = net_of(kind)
    scores = torch.rand((2, net.model_size))
    got = net.split_units(per_unit(net, scores))
    views = {name: view[1].numpy() for name, view in net.model_layout.views(scores).items()}
    for index, layer in enumerate(net.layers):
        mine = views[layer.name + ".weight"]
        right = [np.linalg.norm(mine[:, layer.matrix.writes == unit]) for unit in range(layer.units)]
        after = [one for one in net.layers[index + 1 :] if not one.follows]
        if after and not layer.follows:
            reader = after[0]
            theirs = views[reader.name + ".weight"]
            reads = np.broadcast_to(reader.matrix.reads, theirs.shape)
            right = [norm * np.linalg.norm(theirs[reads == unit]) for unit, norm in enumerate(right)]
        np.testing.assert_allclose(got[index][1].numpy(), np.array(right) / np.mean(right), rtol=1e-5)


@ALL
@hypothesis.given(seed=st.integers(0, 2**31 - 1), density=st.sampled_from([0.02, 0.1, 0.3, 0.8]))
@hypothesis.settings(
    deadline=None, max_examples=40, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
def test_compaction_keeps_the_function_on_random_masks(kind: str, seed: int, density: float) -> None:
    net = net_of(kind, ends=True)
    model, rows = model_of(net, seed, density), rows_of()
    for layers in (net.encoder, net.decoder, net.layers):
        given = rows if layers[0].given == (INPUTS,) else rows[:, : layers[0].given[0]]
        whole = chain_of(layers, model.tensors)
        small = compact.compact(whole)
        right = reference.run(layers, model.tensors, given)
        np.testing.assert_allclose(compact.run(small, given), right, rtol=1e-4, atol=1e-4)
        assert small.shape == whole.shape and small.layers[-1].bound.gives == whole.layers[-1].bound.gives
        assert sum(one.weight.size for one in small.layers) <= sum(one.weight.size for one in whole.layers)
        for one in small.layers:
            assert one.weight.shape == (one.bound.inputs, one.bound.outputs)


@ALL
@pytest.mark.parametrize("seed", range(4))
def test_compaction_keeps_the_function_of_a_chain_that_begins_with_the_kind(kind: str, seed: int) -> None:
    encoder = bind([MAKE[kind]("encoder.0"), Dense("encoder.1", 3, "relu")], (INPUTS,))
    decoder = bind([MAKE[kind]("decoder.0"), Dense("decoder.1", INPUTS, "identity")], (3,))
    net = Autoencoder(encoder, decoder)
    model, rows = model_of(net, seed, 0.5), rows_of()
    for layers in (net.encoder, net.decoder, net.layers):
        given = rows if layers[0].given == (INPUTS,) else rows[:, : layers[0].given[0]]
        small = compact.compact(chain_of(layers, model.tensors))
        right = reference.run(layers, model.tensors, given)
        np.testing.assert_allclose(compact.run(small, given), right, rtol=1e-4, atol=1e-4)


@ALL
def test_a_saved_model_loads_as_a_torch_module_that_can_be_trained(kind: str, tmp_path: Path) -> None:
    model, rows = model_of(net_of(kind, ends=True), 0), rows_of()
    save_model(tmp_path, model)
    module = load(tmp_path)
    assert set(module.state_dict()) == {name for name in model.tensors if model.tensors[name].size}
    assert not module.training
    latent = reference.run(model.encoder, model.tensors, rows)
    np.testing.assert_allclose(module.encode(torch.from_numpy(rows)).detach(), latent, rtol=1e-4, atol=1e-5)
    out = module(torch.from_numpy(rows))
    np.testing.assert_allclose(out.detach(), reference.reconstruct(model, rows)[1], rtol=1e-4, atol=1e-5)
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@ALL
def test_whole_dead_units_leave_the_graph(kind: str) -> None:
    net = net_of(kind)
    model = model_of(net, 4)
    masks = torch.ones((1, net.layout.size), dtype=torch.bool)
    scores = torch.rand((1, sum(layer.units for layer in net.layers)), generator=torch.Generator().manual_seed(0))
    kept = net.layout.views(keep_units(net, scores, masks, [most_unit_zeros(net) // 2]))
    tensors = {name: tensor * kept[name][0].numpy().reshape(tensor.shape) for name, tensor in model.tensors.items()}
    small = compact.compact(chain_of(net.layers, tensors))
    for one, after in zip(small.layers, small.layers[1:], strict=False):
        assert fed(one.matrix, one.weight).all() or one.bound.units == 1
        assert read(after.matrix, after.weight).all() or one.bound.units == 1
    np.testing.assert_allclose(
        compact.run(small, rows_of()), reference.run(net.layers, tensors, rows_of()), rtol=1e-4, atol=1e-5
    )


@ALL
def test_a_model_folder_comes_back_and_its_files_verify(kind: str, tmp_path: Path) -> None:
    model = model_of(net_of(kind, ends=True), 7, 0.5)
    save_model(tmp_path, model)
    again = load_model(tmp_path)
    assert again.layers == model.layers
    assert all(np.array_equal(again.tensors[name], tensor) for name, tensor in model.tensors.items())
    for part, proto in build_all(again, 18, {}).items():
        (tmp_path / f"{part}.onnx").write_bytes(proto.SerializeToString())
    verification = verify.verify_set(tmp_path, again, rows_of(40), 1e-5, {}, 1e-5)
    assert verification.passed, verification.first_failure


def test_every_table_of_activations_has_the_same_names() -> None:
    assert tuple(activations.ACTIVATIONS) == tuple(nets.ACTIVATIONS) == compiled.ACTIVATIONS == NAMES
    assert set(HIDDEN_NAMES) == {*NAMES} - {"identity"}


def test_the_kernels_have_a_branch_both_ways_for_each_activation_of_their_list() -> None:
    ours = set(on_cuda.ACTIVATIONS)
    assert ours < set(activations.ACTIVATIONS)
    source = Path(on_cuda.__file__).with_name("pieces.py").read_text()  # to import it takes triton
    for function in ("activated", "activation_backward"):
        body = source.partition(f"def {function}(")[2].partition("\n\n\n")[0]
        assert {*re.findall(r'NAME == "([^"]+)":', body), "identity"} == ours
