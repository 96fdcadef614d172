"""A run on windows of a series: what the model folder says of them, and new rows made into windows the same way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from aecompress.data.base import Request
from aecompress.deploy.checkpoint import Model, load_model
from aecompress.deploy.verify import verify_against
from aecompress.errors import DataError
from aecompress.event_log import read_log
from aecompress.events import Finished, Started
from aecompress.runs.again import export_again, rows_for_model, windowed
from aecompress.runs.lines import facts_of
from tests.commands import aecompress

WINDOW, STRIDE = 6, 4


def pumps(count: int, seed: int) -> np.ndarray:
    """Return a series of two values of ten pumps, whose rows alternate: number of the pump, values."""
    generator = np.random.default_rng(seed)
    pump = np.arange(count) % 10
    return np.c_[pump, generator.normal(size=count) + pump, 50 * generator.random(count)]


def by_hand(rows: np.ndarray) -> np.ndarray:
    """Return the windows of each pump in turn, ``[M, window, 2]``."""
    own = [rows[rows[:, 0] == pump, 1:] for pump in np.unique(rows[:, 0])]
    return np.stack([one[at : at + WINDOW] for one in own for at in range(0, len(one) - WINDOW + 1, STRIDE)])


def test_new_rows_of_a_series_are_made_into_windows_as_the_run_made_them(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", pumps(300, 0))
    words = ["--window", WINDOW, "--stride", STRIDE, "--split-by", "group:0", "--mode", "canonical", "--hidden", "8"]
    ended = aecompress("prune", "rows.npy", *words, "--latent", "2", "--epochs", "1", "-o", "run", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    decisions = (
        "whole groups of 0 are split, drawn by the seed: 8 train, 1 validation, 1 test (80.0%, 10.0%, 10.0% of the "
        "rows)",
        f"windows of {WINDOW} rows, one every {STRIDE} rows: 56 train, 7 validation, 7 test",
    )
    started = next(event for event in read_log(tmp_path / "run/events.jsonl") if isinstance(event, Started))
    assert started.decisions == decisions and started.row_shape == (WINDOW, 2)
    assert dict(facts_of(started))["decided"] == "; ".join(decisions)
    folder = tmp_path / "run/model"
    card, model = (folder / "README.md").read_text(), load_model(folder)
    for decision in decisions:
        assert ended.stderr.count(f"{decision}\n") == 1 and f"\n- {decision}\n" in card
    assert "A row is a window of 6 rows of a series in their order, 6 x 2 values, flattened; no window crosses" in card
    about = {name: model.about[name] for name in ("window", "stride", "group", "decisions", "row_shape")}
    assert about == {"window": 6, "stride": 4, "group": "0", "decisions": [*decisions], "row_shape": [6, 2]}

    new = pumps(140, 1)
    np.save(tmp_path / "new.npy", new)
    scaled = rows_for_model(str(tmp_path / "new.npy"), folder)
    offset, divisor = (np.array(model.scaling[name]) for name in ("offset", "divisor"))
    assert np.allclose(offset.reshape(WINDOW, 2), offset[:2]) and np.allclose(divisor.reshape(WINDOW, 2), divisor[:2])
    np.testing.assert_allclose(scaled, (by_hand(new).reshape(-1, 12) - offset) / divisor, atol=1e-6)
    assert verify_against(folder / "autoencoder.onnx", folder, scaled, None).passed
    np.save(tmp_path / "windows.npy", by_hand(new))
    assert np.array_equal(rows_for_model(str(tmp_path / "windows.npy"), folder), scaled)
    again = export_again(tmp_path / "run", {}, tmp_path / "again", dense=False)
    assert again.verification.passed and load_model(tmp_path / "again").about["window"] == WINDOW
    assert aecompress("data", "rows.npy", *words[:6], cwd=tmp_path).stderr.splitlines()[:2] == [*decisions]


def speeding_up(count: int, seed: int) -> np.ndarray:
    """Return a noisy sine of rising frequency, 0.02 to 0.35 periods a row: ``[count]``."""
    noise = 0.05 * np.random.default_rng(seed).normal(size=count)
    return np.sin(2 * np.pi * np.cumsum(np.linspace(0.02, 0.35, count))) + noise


def loss_in_onnxruntime(folder: Path, windows: np.ndarray) -> float:
    """Return the mean squared error of raw windows ``[M, D]`` in units of the scaled ones."""
    session = onnxruntime.InferenceSession(folder / "autoencoder.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": windows.astype(np.float32)})
    return float((((found - windows) / load_model(folder).scaling["divisor"]) ** 2).mean())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_test_loss_of_a_drifting_series_is_that_of_later_rows_in_order_and_too_low_at_random(
    tmp_path: Path, seed: int
) -> None:
    series, length = speeding_up(2200, seed), 32
    np.save(tmp_path / "rows.npy", series[:2000])
    later = np.lib.stride_tricks.sliding_window_view(series[2000:], length)[::2]
    words = ["--window", length, "--stride", 2, "--mode", "canonical", "--hidden", 64, "--latent", 20, "--epochs", 40]
    ratios = {}
    for split_by in ("order", "random"):
        command = ["prune", "rows.npy", *words, "--target-sparsity", 0.3, "--split-by", split_by, "-o", split_by]
        assert aecompress(*command, cwd=tmp_path).returncode == 0
        end = next(event for event in read_log(tmp_path / split_by / "events.jsonl") if isinstance(event, Finished))
        ratios[split_by] = end.metrics["test_mse"] / loss_in_onnxruntime(tmp_path / split_by / "model", later)
    assert 0.8 < ratios["order"] < 1.2
    assert ratios["random"] < 0.1


@pytest.mark.parametrize("damage", [{"window": "6"}, {"window": -1}, {"stride": 0}, {"group": 3}, {"window": True}])
def test_a_damaged_window_of_a_config_is_named(tmp_path: Path, damage: dict) -> None:
    model = Model(encoder=(), decoder=(), tensors={}, scaling={}, about={"window": 6, "stride": 4} | damage)
    with pytest.raises(DataError, match=r"config\.json: window, stride or group is damaged; make the model again"):
        windowed(Request(source="new.npy"), model, tmp_path)
