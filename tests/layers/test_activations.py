"""Every activation computes in onnxruntime what torch's module does, from opset 13 on; in NumPy: test_reference.py."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from aecompress.deploy import graph
from aecompress.deploy.compact import chain_of
from aecompress.errors import SpecError
from aecompress.layers.activations import leaky_name
from aecompress.layers.dense import dense
from aecompress.layers.names import slope_of
from tests.modules import MODULES

VALUES = np.concatenate([np.linspace(-9, 9, 181), [-300, -90, -30, 30, 90, 300]]).astype(np.float32)


def test_the_nodes_of_every_opset_compute_what_torchs_module_does() -> None:
    for opset in (13, 14, 18, 22):
        for name, module in MODULES.items():
            layer = dense("encoder.0", 1, 1, name)
            tensors = {"encoder.0.weight": np.ones((1, 1), np.float32), "encoder.0.bias": np.zeros(1, np.float32)}
            proto = graph.build(chain_of((layer,), tensors), "encoder", opset, {})
            onnx.checker.check_model(proto, full_check=True)
            session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
            (got,) = session.run(None, {"input": VALUES[:, None]})
            right = module()(torch.from_numpy(VALUES)).numpy()
            np.testing.assert_allclose(got[:, 0], right, rtol=3e-6, atol=1e-6, err_msg=f"{name} {opset}")


def test_leaky_relu_is_written_with_its_slope() -> None:
    assert [leaky_name(slope) for slope in (0.01, np.float32(0.2), 0.3, 1 / 3, 0, 2)] == [
        "leaky-relu", "leaky-relu:0.2", "leaky-relu:0.3", "leaky-relu:0.33333334", "leaky-relu:0", "leaky-relu:2",
    ]  # fmt: skip
    assert slope_of(leaky_name(1 / 3)) == 0.33333334
    for name in ("leaky-relu:", "leaky-relu:-0.2", "leaky-relu:1e-3", "leaky-relu:nan", "leaky-relu: 0.2", "relu:0.2"):
        assert slope_of(name) is None
        with pytest.raises(SpecError, match="choose one of identity, .*hard-tanh, leaky-relu:0.2"):
            dense("encoder.0", 2, 2, name)
