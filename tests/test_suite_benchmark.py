"""The suite's rivals: trained as one stack as they are alone, with the zeros that were requested, and its table."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NETWORK = {"model.hidden": [5], "model.latent": 2}


class Suite:
    """The modules of the benchmark, which are no package."""

    def __init__(self) -> None:
        names = ("suite", "suite_rivals", "suite_stack", "suite_report", "suite_obs")
        self.command, self.rivals, self.stack, self.report, self.obs = map(importlib.import_module, names)


@pytest.fixture(scope="module")
def suite() -> Iterator[Any]:
    sys.path.insert(0, str(BENCHMARKS))
    yield Suite()
    sys.path.remove(str(BENCHMARKS))


def rows() -> NDArray[np.float64]:
    draws = np.random.default_rng(1)
    return draws.normal(size=(100, 3)) @ draws.normal(size=(3, 12)) + 0.1 * draws.normal(size=(100, 12))


@pytest.fixture(scope="module")
def task(suite: Any) -> Any:
    """Few passes over a hundred rows of twelve inputs."""
    from dataclasses import replace

    return replace(suite.command.task_of("drawn", rows(), NETWORK), passes=6)


def test_a_task_has_the_rows_and_the_splits_of_the_default_command(suite: Any, tmp_path: Path) -> None:
    from aecompress.runs.job import prepare
    from aecompress.spec.resolve import resolve

    np.save(tmp_path / "rows.npy", rows())
    flags = NETWORK | {"data.source": str(tmp_path / "rows.npy"), "mode": "canonical"}
    job = prepare(resolve({path: ("test", value) for path, value in flags.items()}), tmp_path / "run")
    task = suite.command.task_of("drawn", rows(), NETWORK)
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(task.dataset.splits[split], job.dataset.splits[split])
    assert [layer.outputs for layer in task.net.layers] == [layer.outputs for layer in job.net.layers]
    assert (task.passes, task.batch) == (job.plan.training.generations, job.plan.training.batch)


def test_pca_has_the_error_of_a_singular_value_decomposition(suite: Any, task: Any) -> None:
    train, test = (task.dataset.splits[name].astype(np.float64) for name in ("train", "test"))
    mean = train.mean(0)
    directions = np.linalg.svd(train - mean, full_matrices=False)[2][: task.net.latent]
    left = (test - mean) - (test - mean) @ directions.T @ directions
    (found,) = suite.rivals.components(task, [])
    assert found.test == pytest.approx(np.square(left).mean(), rel=1e-4)
    (constant,) = suite.rivals.constant(task, [])
    assert constant.test == pytest.approx(np.square(test - mean).mean(), rel=1e-6)


def modules_of(task: Any, weights: torch.Tensor) -> torch.nn.Sequential:
    """The network as torch's own modules, with the parameters of the one individual ``[1, n]``."""
    parts: list[torch.nn.Module] = []
    views = task.net.layout.views(weights)
    for layer in task.net.layers:
        linear = torch.nn.Linear(layer.inputs, layer.outputs)
        linear.weight.data = views[f"{layer.name}.weight"][0].T.clone()
        linear.bias.data = views[f"{layer.name}.bias"][0, 0].clone()
        activations = {"relu": torch.nn.ReLU(), "sigmoid": torch.nn.Sigmoid(), "identity": torch.nn.Identity()}
        parts += [linear, activations[layer.activation]]
    return torch.nn.Sequential(*parts)


@pytest.mark.slow
def test_a_stack_trains_as_modules_with_adam_of_torch_do(suite: Any, task: Any) -> None:
    from aecompress.plan.training import warmup_cosine

    member = suite.stack.Member(0.0, 5e-3, 0.4, 3)
    stack = suite.stack.begin(task, [member])
    net = modules_of(task, stack.weights)
    suite.stack.train(task, stack, range(task.passes))
    steps, done = task.passes * math.ceil(len(task.dataset.train) / task.batch), 0
    optimizer, share = torch.optim.Adam(net.parameters(), lr=5e-3), warmup_cosine(task.warmup)
    for number in range(task.passes):
        for batch in suite.stack.batches(task, [3], number):
            optimizer.param_groups[0]["lr"] = 5e-3 * share(done / steps)
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(net(batch[0]), batch[0]).backward()
            optimizer.step()
            done += 1
    assert done == steps
    with torch.no_grad():
        loss = torch.nn.functional.mse_loss(net(task.rows("test")), task.rows("test"))
    assert suite.stack.results(task, stack)[0].test == pytest.approx(float(loss), rel=1e-4)


def members_of(suite: Any, task: Any, name: str) -> list[Any]:
    """Two settings of a method with two sparsities and two seeds each."""
    settings = suite.rivals.METHODS[name].settings(task, 0.8)
    return [
        suite.stack.Member(sparsity, *setting, seed)
        for sparsity in (0.8, 0.9)
        for setting in (settings[0], settings[-1])
        for seed in (0, 5)
    ]


SPARSE = ("magnitude", "rigl", "set", "ac/dc", "obs")


@pytest.mark.parametrize("name", SPARSE)
def test_a_member_of_a_stack_is_the_model_that_is_trained_alone(suite: Any, task: Any, name: str) -> None:
    """And has the non-zeros of its sparsity, or its result is refused."""
    members, method = members_of(suite, task, name), suite.rivals.METHODS[name]
    together = method.carry_out(task, members)
    assert len(set(together)) >= len(members) - 1  # two may have lost every path
    for place in (0, len(members) - 1):
        (alone,) = method.carry_out(task, [members[place]])
        assert together[place].test == pytest.approx(alone.test, rel=1e-5)
        assert together[place].nonzeros == alone.nonzeros
        assert alone.nonzeros == task.net.model_size - round(members[place].sparsity * task.net.model_size)


def refits(inputs: NDArray[Any], outputs: NDArray[Any], kept: NDArray[Any]) -> tuple[NDArray[Any], float]:
    """The least-squares weights on the inputs ``kept``, and the mean squared error of one output with them."""
    weights = np.zeros(inputs.shape[1])
    weights[kept] = np.linalg.lstsq(inputs[:, kept], outputs, rcond=None)[0]
    return weights, float(np.square(inputs @ weights - outputs).mean())


def test_the_surgeon_removes_what_costs_least_and_refits_the_rest(suite: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against least squares with every single weight left out, one after the other."""
    monkeypatch.setattr(suite.obs, "DAMPING", 0.0)
    monkeypatch.setattr(suite.obs, "SHARE", 0.999)  # one weight a round
    draws = np.random.default_rng(2)
    inputs = draws.normal(size=(40, 4)) @ draws.normal(size=(4, 4))
    dense = draws.normal(size=(4, 3))
    left = {(place, unit) for place in range(4) for unit in range(3)}
    errors = [0.0] * 3
    for _ in range(7):
        costs = {}
        for place, unit in left:
            kept = np.array([one for one in range(4) if (one, unit) in left - {(place, unit)}], int)
            costs[place, unit] = refits(inputs, inputs @ dense[:, unit], kept)[1]
        gone = min(costs, key=lambda one: costs[one] - errors[one[1]])
        errors[gone[1]] = costs[gone]
        left.remove(gone)
    own = [torch.from_numpy(array) for array in (inputs, inputs @ dense, dense)]
    masks, weights = suite.obs.pruned_layer(*own, 5)
    assert set(zip(*np.nonzero(masks.numpy()), strict=True)) == left
    for unit in range(3):
        wanted, _ = refits(inputs, inputs @ dense[:, unit], np.flatnonzero(masks[:, unit].numpy()))
        np.testing.assert_allclose(weights[:, unit], wanted, atol=1e-8)


def test_ac_dc_has_the_phases_of_the_paper(suite: Any) -> None:
    """10 of 100 epochs dense, then 5 and 5 in turn, 10 dense ones, and 15 sparse ones."""
    phases = [suite.rivals.compressed(done, 100) for done in range(101)]
    turns = ([True] * 5 + [False] * 5) * 6 + [True] * 5
    assert phases == [False] * 10 + turns + [False] * 10 + [True] * 16


def test_layers_keep_weights_by_their_size_and_no_more_than_they_have(suite: Any, task: Any) -> None:
    for kept in (6, 20, 60, 100, task.net.model_size):
        counts = suite.stack.per_layer(task.net, kept)
        sizes = task.net.layer_sizes
        assert sum(counts) == kept and all(1 <= count <= size for count, size in zip(counts, sizes, strict=True))
        shares = [
            count / (layer.inputs + 1 + layer.outputs) for count, layer in zip(counts, task.net.layers, strict=True)
        ]
        for count, size, own in zip(counts, sizes, shares, strict=True):
            assert count == size or kept < 20 or own == pytest.approx(max(shares), abs=0.12)


def test_an_exchange_drops_the_smallest_and_grows_the_steepest(suite: Any, task: Any) -> None:
    """In each layer as many; those that are grown begin at 0, all biases stay where they are to."""
    members = [suite.stack.Member(0.6, 1e-2, option, 0) for option in ("", suite.rivals.ALL_BIASES)]
    stack = suite.stack.begin(task, members)
    suite.rivals.begin_sparse(task, stack)
    stack.gradients.normal_(generator=torch.Generator().manual_seed(0))
    before, weights = stack.masks.clone(), stack.weights.clone()
    suite.rivals.exchange(task, stack, 1, 1000, stack.gradients.abs())
    views = task.net.layout.views(stack.masks)
    assert all(bool(view[1].all()) for name, view in views.items() if name.endswith("bias"))
    place = 0
    for size in task.net.layer_sizes:
        part = slice(place, place + size)
        place += size
        was, now = before[0, part], stack.masks[0, part]
        dropped, grown = was & ~now, now & ~was
        assert was.sum() == now.sum()
        assert not stack.weights[0, part][grown].any()
        if dropped.any():
            assert weights[0, part][dropped].abs().max() < weights[0, part][was & now].abs().max()
            assert stack.gradients[0, part][grown].abs().min() >= stack.gradients[0, part][~was & ~now].abs().max()


def test_wrong_zeros_are_refused(suite: Any, task: Any) -> None:
    stack = suite.stack.begin(task, [suite.stack.Member(0.5, 1e-3, "", 0)])
    with pytest.raises(RuntimeError, match="weights are kept"):
        suite.stack.results(task, stack)


def test_settings_are_chosen_on_validation_rows_and_a_broken_off_run_resumes(
    suite: Any, task: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.jsonl"
    suite.command.compare(task, "magnitude", [0.0, 0.8], 2, suite.command.Results(out))
    found = suite.command.Results(out)
    assert len(found.lines) >= 4 + 8 + 2  # more where the best rate was an end of those tried
    own = found.of(task, "magnitude", 0.8)
    best = min((line for line in own if line.seed == 0), key=lambda line: line.validation)
    assert [(line.rate, line.option) for line in own if line.seed == 1] == [(best.rate, best.option)]
    (row,) = suite.report.rows_of(found.lines, [0.8], 2)
    other = next(line.test for line in own if line.seed == 1)
    assert row.errors["magnitude"] == [best.test, other]
    monkeypatch.setitem(suite.rivals.METHODS, "magnitude", suite.rivals.METHODS["magnitude"]._replace(carry_out=None))
    suite.command.compare(task, "magnitude", [0.0, 0.8], 2, found)  # nothing is left to do


@pytest.mark.slow
def test_a_rate_beyond_is_tried_where_the_best_is_an_end(suite: Any) -> None:
    settings = [(rate, end) for rate in (0.01, 0.02, 0.04) for end in (0.3, 0.7)]
    assert suite.command.further(settings, (0.02, 0.7)) == []
    assert suite.command.further(settings, (0.04, 0.3)) == [(0.08, 0.3), (0.08, 0.7)]
    assert suite.command.further(settings, (0.01, 0.7)) == [(0.005, 0.3), (0.005, 0.7)]
    assert suite.command.further([(0.0, "")], (0.0, "")) == []


def test_the_table_has_ratios_and_their_worst(suite: Any, tmp_path: Path) -> None:
    errors = {"pca": [0.4], "magnitude": [0.2, 0.3], "set": [0.3, 0.3], "ours": [0.1, 0.15], "tuned": []}
    found = [suite.report.Row("a", 0.8, errors), suite.report.Row("b", 0.8, errors | {"ours": [0.5, 0.5]})]
    lines = suite.report.table(found, list(errors)).splitlines()
    assert "| 0.25 ± 0.07 |" in lines[2] and "| 0.500 | 0.417 (set) | 0.312 |" in lines[2]
    assert "| 80% | 1.000, 2.000 (b) | 0.833, 1.667 (b) |" in lines[-1]
    without = suite.report.table([suite.report.Row("a", 0.8, {"set": [0.3]})], ["set"]).splitlines()
    assert without[2] == "| a | 80% | 0.3 |  |  |  |  |"
    suite.report.figure(found, list(errors), tmp_path / "f.svg")
    assert "magnitude" in (tmp_path / "f.svg").read_text()


@pytest.mark.slow
def test_ours_is_the_default_command(suite: Any, task: Any) -> None:
    """At its own number of passes; the sparsity is reached."""
    member = suite.stack.Member(0.8, 0.0, "", 0)
    (found,) = suite.rivals.ours(task, [member])
    assert type(found.nonzeros) is int and found.nonzeros <= task.net.model_size - round(0.8 * task.net.model_size)
    (constant,) = suite.rivals.constant(task, [])
    assert 0 < found.test < constant.test
