"""The torch module that ``aecompress.load`` gives, as a page."""

from __future__ import annotations

import numpy as np
import torch

from aecompress.nets.module import AutoencoderModule, count, losses_of
from tests.deploy.models import tiny_model


def test_the_page_of_a_module_counts_the_zeros_that_it_has_now() -> None:
    model = tiny_model()
    about = {"name": "<script>x", "metric": "l1", "metrics": {"train_l1": 0.5, "test_l1": 0.25, "train_mse": 1.0}}
    module = AutoencoderModule(model.encoder, model.decoder, model.tensors, model.scaling, about)
    zeros = sum(int(np.sum(tensor == 0)) for tensor in model.tensors.values())
    size = sum(tensor.size for tensor in model.tensors.values())
    page = module._repr_html_()
    assert f"{size:,} parameters, sparsity {zeros / size:.2%}" in page and "train l1 0.5, test l1 0.25" in page
    assert "&lt;script&gt;x" in page and "<script" not in page
    assert all(layer.name in page for layer in model.layers) and page.count("<svg") == 1
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.fill_(0)
    assert "sparsity 100.00%" in module._repr_html_() and count(module) == count(module, zeros=True) == size
    assert repr(module).startswith("AutoencoderModule(") and losses_of({}) == []
