"""A model from elsewhere on the rows of a run, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aecompress import load
from tests.commands import aecompress

QUICK = ["--epochs", "0", "--operator", "none", "--mode", "canonical", "--json"]


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows that are not in [0, 1], a tanh autoencoder of them, and one of the same rows standardised."""
    folder = tmp_path_factory.mktemp("brought")
    torch.manual_seed(0)
    rows = torch.tanh(torch.randn(300, 3) @ torch.randn(3, 8)) * 2 + 1
    np.save(folder / "rows.npy", rows.numpy())
    np.save(folder / "large.npy", rows.numpy() * 50 + 100)
    for name, given in (("raw", rows), ("standard", (rows - rows.mean(0)) / rows.std(0, unbiased=False))):
        module = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3), nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 8))
        optimizer = torch.optim.Adam(module.parameters(), 0.01, fused=True)
        for _ in range(200):
            optimizer.zero_grad()
            nn.functional.mse_loss(module(given), given).backward()
            optimizer.step()
        torch.save(module.state_dict(), folder / f"{name}.pt")
        (folder / f"{name}.txt").write_text(str(nn.functional.mse_loss(module(given), given).item()))
    return folder


def test_a_model_keeps_its_function_and_its_loss_stands_beside_that_of_the_mean(where: Path, tmp_path: Path) -> None:
    done = aecompress(
        "prune", str(where / "rows.npy"), "--init", str(where / "raw.pt"), *QUICK, "-o", str(tmp_path / "run")
    )
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "run/model/config.json").read_text())
    metrics = config["metrics"]
    assert metrics["train_mse"] == pytest.approx(float((where / "raw.txt").read_text()), rel=0.2)
    assert metrics["test_mse_brought"] == pytest.approx(metrics["test_mse"])
    assert metrics["test_mse"] < 0.5 * metrics["test_mse_constant"]
    assert config["scaling"]["kind"] == "none"
    assert [layer["activation"] for layer in config["encoder"]] == ["tanh", "identity"]
    assert "tanh, identity | tanh, identity" in done.stderr
    assert "are not rescaled" in done.stderr


def test_layers_that_a_spec_writes_out_say_where_the_encoder_ends(where: Path, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 8))
    torch.save(module.state_dict(), tmp_path / "equal.pt")
    (tmp_path / "s.toml").write_text(
        "[model]\nencoder = [{out=8}, {out=8,activation='identity'}]\ndecoder = [{out=8,activation='identity'}]\n"
    )
    given = ["--spec", str(tmp_path / "s.toml"), "--init", str(tmp_path / "equal.pt"), *QUICK]
    done = aecompress("prune", str(where / "rows.npy"), *given, "-o", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    brought = dict(load(tmp_path / "run/model").state_dict())
    assert torch.equal(brought["encoder.1.weight"], module[2].weight)
    assert torch.equal(brought["decoder.0.weight"], module[3].weight)


def test_layers_that_a_spec_writes_out_give_the_activations(where: Path, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        "[model]\nencoder = [{out=6,activation='tanh'},{out=3,activation='identity'}]\n"
        "decoder = [{out=6,activation='elu'},{out=8,activation='identity'}]\n"
    )
    given = ["--spec", str(tmp_path / "s.toml"), "--init", str(where / "raw.pt"), *QUICK, "-o", str(tmp_path / "run")]
    done = aecompress("prune", str(where / "rows.npy"), *given)
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "run/model/config.json").read_text())
    assert [layer["activation"] for layer in config["decoder"]] == ["elu", "identity"]


def test_a_model_worse_than_the_mean_is_refused_with_the_likely_reason(where: Path, tmp_path: Path) -> None:
    given = ["prune", str(where / "large.npy"), *QUICK, "-o", str(tmp_path / "run"), "--init"]
    done = aecompress(*given, str(where / "standard.pt"))
    assert done.returncode == 2
    assert "worse than their mean does" in done.stderr
    assert "give --scaling standard" in done.stderr
    assert not (tmp_path / "run").exists()
    done = aecompress(*given, str(where / "standard.pt"), "--scaling", "standard")
    assert done.returncode == 0, done.stderr


def test_batch_norms_say_how_rows_were_scaled_and_let_a_hardly_trained_model_in(where: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    rows = torch.from_numpy(np.load(where / "rows.npy"))
    rows, parts = (rows - rows.mean(0)) / rows.std(0, correction=0), [nn.BatchNorm1d(width) for width in (20, 4, 20)]
    module = nn.Sequential(
        nn.Linear(8, 20), parts[0], nn.ReLU(), nn.Linear(20, 4), parts[1], nn.ReLU(),
        nn.Linear(4, 20), parts[2], nn.ReLU(), nn.Linear(20, 8),
    )  # fmt: skip
    for _ in range(30):
        module(rows)  # only its norms change
    torch.save(module.state_dict(), tmp_path / "a.pt")
    given = ["prune", str(where / "rows.npy"), "--init", str(tmp_path / "a.pt"), *QUICK, "-o", str(tmp_path / "run")]
    done = aecompress(*given)
    assert done.returncode == 2 and "; give --scaling standard" in done.stderr
    done = aecompress(*given, "--scaling", "standard")
    assert done.returncode == 0, done.stderr
    assert "known by what its batch norms are given on these rows: relu, relu | relu, identity" in done.stderr
    assert "hardly trained" in done.stderr
    (tmp_path / "s.toml").write_text(
        "[model]\nencoder = [{out=20}, {out=4}]\n"
        "decoder = [{out=20,activation='tanh'}, {out=8,activation='identity'}]\n"
    )  # which no norm sees
    done = aecompress(*given[:-1], str(tmp_path / "other"), "--scaling", "standard", "--spec", str(tmp_path / "s.toml"))
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own exporter
def test_a_file_that_says_all_comes_in_hardly_trained_and_the_run_says_so(where: Path, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 8))
    torch.onnx.export(module, (torch.zeros(2, 8),), tmp_path / "first.onnx", dynamo=False, input_names=["x"])
    given = ["--init", str(tmp_path / "first.onnx"), *QUICK, "-o", str(tmp_path / "run")]
    done = aecompress("prune", str(where / "rows.npy"), *given)
    assert done.returncode == 0, done.stderr
    assert ": hardly trained, or on other rows" in done.stderr
    torch.save(module.state_dict(), tmp_path / "first.pt")
    given = ["--init", str(tmp_path / "first.pt"), *QUICK, "-o", str(tmp_path / "other")]
    done = aecompress("prune", str(where / "rows.npy"), *given)
    assert done.returncode == 2 and "worse than their mean does" in done.stderr
    assert "or write its layers with their activations as model.encoder and model.decoder" in done.stderr
    (tmp_path / "s.toml").write_text(
        "[model]\nencoder = [{out=3,activation='celu'}]\ndecoder = [{out=8,activation='identity'}]\n"
    )
    done = aecompress("prune", str(where / "rows.npy"), *given, "--spec", str(tmp_path / "s.toml"))
    assert done.returncode == 0, done.stderr
    assert ": hardly trained, or on other rows" in done.stderr and "as requested: elu | identity" in done.stderr


def test_convolutions_that_a_spec_writes_out_say_their_strides_and_activations(tmp_path: Path) -> None:
    torch.manual_seed(0)
    np.save(tmp_path / "rows.npy", torch.rand(60, 8, 3).numpy())
    module = nn.Sequential(nn.Conv1d(3, 4, 3, 2, 1), nn.ReLU(), nn.ConvTranspose1d(4, 3, 3, 2, 1, 1))
    torch.save(module.state_dict(), tmp_path / "first.pt")
    both = "kernel=3, stride=2, padding=1"
    (tmp_path / "s.toml").write_text(
        f"[model]\nencoder = [{{kind='conv1d', out=4, {both}, activation='relu'}}]\n"
        f"decoder = [{{kind='conv1d-transpose', {both}, output_padding=1, out=3, activation='identity'}}]\n"
    )
    given = ["--init", str(tmp_path / "first.pt"), "--spec", str(tmp_path / "s.toml"), *QUICK]
    done = aecompress("prune", str(tmp_path / "rows.npy"), *given, "-o", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    brought = load(tmp_path / "run/model").state_dict()
    assert torch.equal(brought["encoder.0.weight"], module[0].weight)
