"""Budgets, starting from a trained model, and pruning in one shot: whole runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from aecompress import event_log, events
from aecompress.deploy.checkpoint import load_model
from aecompress.errors import DataError, RunError, SpecError
from aecompress.plan.budget import bytes_at, likeness, rising_budgets
from aecompress.plan.network import network_of
from aecompress.registry import VARIANTS
from aecompress.runs.job import Job, prepare, prepare_resume
from aecompress.runs.run import run
from aecompress.spec.fields import ExportSpec, ModelSpec
from aecompress.spec.resolve import resolve
from tests.deploy.pretrained.modules import Plain

BASE = {"mode": "canonical", "train.epochs": 3, "model.hidden": [48], "model.latent": 6}


def job(where: Path, **changes: object) -> Job:
    fields = {**BASE, **{key.replace("__", "."): value for key, value in changes.items()}}
    return prepare(resolve({path: ("test", value) for path, value in fields.items() if value is not None}), where)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module, Path]:
    """A plain torch script's model: rows, module, and its three files' folder."""
    where = tmp_path_factory.mktemp("trained")
    random = np.random.default_rng(0)
    rows = (1 / (1 + np.exp(-random.normal(size=(400, 3)) @ random.normal(size=(3, 12))))).astype(np.float32)
    np.save(where / "rows.npy", rows)
    module = Plain()
    optimizer = torch.optim.Adam(module.parameters(), 0.01)
    for _ in range(400):
        optimizer.zero_grad()
        nn.functional.mse_loss(module(torch.from_numpy(rows)), torch.from_numpy(rows)).backward()
        optimizer.step()
    safetensors.torch.save_file(module.state_dict(), where / "m.safetensors")
    torch.save(module.state_dict(), where / "m.pt")
    return where, module.eval(), where


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["m.safetensors", "m.pt", "m.onnx"])
@pytest.mark.parametrize("mode", ["canonical", pytest.param("coevo", marks=pytest.mark.slow)])
def test_a_model_trained_elsewhere_goes_out_pruned_and_verified(
    trained: tuple[Path, nn.Module, Path], tmp_path: Path, name: str, mode: str
) -> None:
    where, module, _ = trained
    if name == "m.onnx":
        torch.onnx.export(module, (torch.zeros(2, 12),), where / name, dynamo=True, external_data=False, verbose=False)
    fields = {"model__hidden": None, "model__latent": None, "data__source": str(where / "rows.npy"), "mode": mode}
    done = job(tmp_path / "whole", model__init=str(where / name), train__epochs=0, prune__operator="none", **fields)
    list(run(done))
    whole = load_model(tmp_path / "whole/model")
    with torch.no_grad():
        rows = torch.from_numpy(done.dataset.test)
        loss = float(nn.functional.mse_loss(module(rows), rows))
    assert whole.about["metrics"]["test_mse"] == pytest.approx(loss, rel=1e-4)
    assert whole.zeros == 0
    said = list(
        run(job(tmp_path / "cut", model__init=str(where / name), train__epochs=0, prune__target_sparsity=0.4, **fields))
    )
    cut = load_model(tmp_path / "cut/model")
    assert cut.zeros == round(0.4 * cut.parameters)
    kept = [cut.tensors[key][cut.tensors[key] != 0] for key in cut.tensors]
    assert all(np.isin(values, whole.tensors[key]).all() for key, values in zip(cut.tensors, kept, strict=True))
    # One shot of global magnitude: nothing that stayed is smaller than anything that went.
    gone = max(float(np.abs(whole.tensors[key][cut.tensors[key] == 0]).max(initial=0)) for key in cut.tensors)
    assert gone <= min(float(np.abs(values).min(initial=np.inf)) for values in kept)
    assert any(isinstance(event, events.Verified) and event.passed for event in said)


def test_training_goes_on_from_the_model(trained: tuple[Path, nn.Module, Path], tmp_path: Path) -> None:
    where = trained[0]
    fields = {"model__hidden": None, "model__latent": None, "data__source": str(where / "rows.npy")}
    fields["model__initial"] = "scaled"
    losses = {}
    for name in ("", str(where / "m.pt")):
        fields |= {"model__hidden": None if name else [8], "model__latent": None if name else 3}
        said = list(run(job(tmp_path / f"r{len(name)}", model__init=name, prune__operator="none", **fields)))
        losses[bool(name)] = next(event.train_loss[0] for event in said if isinstance(event, events.Generation))
    assert losses[True] < 0.5 * losses[False]


@pytest.mark.parametrize(
    ("changes", "kind", "said"),
    [
        ({"train__epochs": 0}, SpecError, "name it as model.init"),
        ({"model__init": "none.pt"}, DataError, "no such file"),
        ({"model__init": "rows.npy"}, DataError, "takes .safetensors"),
        ({"model__init": "m.pt"}, DataError, "takes 12 inputs, the rows have 64"),
        ({"model__init": "m.pt", "data__source": "rows.npy"}, SpecError, "come from model.init"),
        ({"model__init": "m.pt", "train__epochs": 0, "prune__operator": "variance"}, SpecError, "no training to watch"),
        ({"budget__max_params": 100, "prune__operator": "none"}, SpecError, "met by pruning to a target"),
        ({"budget__min_sparsity": 0.5}, SpecError, "give that too"),
        ({"budget__max_bytes": 1750}, SpecError, "choose --variants packed"),
        ({"budget__max_bytes": 100, "export__variants": ["packed"]}, SpecError, "allow more"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    trained: tuple[Path, nn.Module, Path], tmp_path: Path, changes: dict[str, object], kind: type, said: str
) -> None:
    for key in ("model__init", "data__source"):
        if key in changes:
            changes = changes | {key: str(trained[0] / str(changes[key]))}
    with pytest.raises(kind) as caught:
        job(tmp_path / "run", **changes)
    assert said in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_budgets_rise_by_a_constant_factor_of_what_is_kept() -> None:
    assert rising_budgets(4, 0.8, 0.99) == pytest.approx((0.0, 1 - 0.2**0.5, 0.8, 0.9), abs=1e-6)
    assert rising_budgets(4, 0.8, 0.85)[-1] == 0.85
    assert rising_budgets(3, 0.8, 0.7) == (0.0, 0.8, 0.8)


@pytest.mark.parametrize("units", [False, True])
def test_a_likeness_has_the_share_of_zeros(units: bool) -> None:
    net = network_of(ModelSpec(hidden=(64,), latent=16, latent_activation="identity", output="sigmoid"), (100,))
    encoder, decoder = net.encoder, net.decoder
    sizes = [bytes_at(share, encoder, decoder, ExportSpec(), units=units) for share in (0.2, 0.5, 0.8)]
    assert (sizes[0] > sizes[1] > sizes[2]) == units  # only whole units make a plain file smaller
    tensors = likeness(0.5, encoder, decoder, units=units)
    zeros = sum(int((tensor == 0).sum()) for name, tensor in tensors.items() if name.endswith("weight"))
    weights = sum(tensor.size for name, tensor in tensors.items() if name.endswith("weight"))
    assert zeros / weights == pytest.approx(0.5, abs=0.02)


def test_a_smaller_variant_counts_and_is_offered_by_its_row_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(VARIANTS, "thin", VARIANTS["packed"])
    monkeypatch.delitem(VARIANTS, "packed")
    net = network_of(ModelSpec(hidden=(64,), latent=16, latent_activation="identity", output="sigmoid"), (100,))
    plain, thin = (
        bytes_at(0.5, net.encoder, net.decoder, ExportSpec(variants=variants), units=False)
        for variants in ((), ("thin",))
    )
    assert thin < 0.5 * plain
    with pytest.raises(SpecError, match="choose --variants thin"):
        job(tmp_path / "run", budget__max_bytes=1750)
    with pytest.raises(SpecError, match="allow more"):
        job(tmp_path / "run", budget__max_bytes=100)


def test_most_parameters_is_met_to_the_weight(tmp_path: Path) -> None:
    list(run(job(tmp_path / "run", budget__max_params=700)))
    model = load_model(tmp_path / "run/model")
    assert model.parameters - model.zeros == 700


def test_most_parameters_is_met_by_whole_units(tmp_path: Path) -> None:
    list(run(job(tmp_path / "run", budget__max_params=700, prune__granularity="unit")))
    model = load_model(tmp_path / "run/model")
    assert 500 < model.parameters - model.zeros <= 700


@pytest.mark.parametrize("granularity", ["weight", "unit"])
@pytest.mark.parametrize("most", [7000, 9000])
def test_most_bytes_are_met_and_nearly_used(tmp_path: Path, granularity: str, most: int) -> None:
    list(
        run(
            job(
                tmp_path / "run",
                budget__max_bytes=most,
                export__variants=["packed"],
                export__values="int8",
                prune__granularity=granularity,
            )
        )
    )
    size = (tmp_path / "run/model/autoencoder.packed.onnx").stat().st_size
    assert 0.6 * most < size <= most


def test_a_budget_that_is_missed_fails_and_says_what_was_reached(tmp_path: Path) -> None:
    going = run(job(tmp_path / "run", budget__max_params=100, prune__target_sparsity=0.5))
    with pytest.raises(RunError, match=r"budget\.max_params = 100: \d+ weights and biases are not zero"):
        list(going)
    assert (tmp_path / "run/model/autoencoder.onnx").exists()
    assert isinstance(event_log.read_log(tmp_path / "run/events.jsonl")[-1], events.Failed)


def test_a_run_from_a_model_is_resumed_to_the_same_bits(trained: tuple[Path, nn.Module, Path], tmp_path: Path) -> None:
    where = trained[0]
    fields = {"model__hidden": None, "model__latent": None, "data__source": str(where / "rows.npy")}
    fields |= {"model__init": str(where / "m.pt"), "train__epochs": 4, "checkpoint_every": 1}
    list(run(job(tmp_path / "whole", **fields)))
    going = run(job(tmp_path / "cut", **fields))
    for event in going:
        if isinstance(event, events.Checkpoint):
            break
    going.close()
    list(run(prepare_resume(tmp_path / "cut")))
    weights = [(tmp_path / name / "model/model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


def test_the_estimated_bytes_are_of_weights_in_few_values_where_training_rounds_them() -> None:
    net = network_of(ModelSpec(hidden=(64,), latent=16, output="sigmoid", latent_activation="identity"), (200,))
    export = ExportSpec(variants=("packed",), values="float32")
    sizes = [bytes_at(0.9, net.encoder, net.decoder, export, units=False, bits=bits) for bits in (0, 8, 4, 2)]
    nonzeros = 0.1 * net.model_size
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[2] - sizes[3] == pytest.approx(nonzeros * 2 / 8, rel=0.25)
    assert sizes[0] - sizes[2] == pytest.approx(nonzeros * 28 / 8, rel=0.25)
