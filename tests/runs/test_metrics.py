"""Metrics of a model: those of a sparse code are counted again by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

import aecompress
from aecompress.deploy.checkpoint import load_model, load_rows


def test_a_sparse_code_has_its_active_and_dead_units_counted(tmp_path: Path) -> None:
    spec = {
        "data.source": "binary-clusters:2x5x20", "mode": "canonical", "train.epochs": 3, "train.code_l1": 0.3,
        "model.hidden": [12], "model.latent": 40, "prune.operator": "none", "export.rows": 10_000,
    }  # fmt: skip
    result = aecompress.run(spec, tmp_path / "run").result()
    folder = tmp_path / "run" / "model"
    model = load_model(folder)
    assert [layer.activation for layer in model.encoder] == ["relu", "relu"]
    rows = load_rows(folder / "rows.safetensors")
    session = onnxruntime.InferenceSession(folder / "encoder.onnx", providers=["CPUExecutionProvider"])
    active = session.run(None, {"input": rows.astype(np.float32)})[0] > 1e-7
    assert result.metrics["test_code_active"] == np.float32(active.sum(1).mean())
    assert result.metrics["test_code_dead"] == (~active.any(0)).sum()
    assert 0 < result.metrics["test_code_active"] < 40
