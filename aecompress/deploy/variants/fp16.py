"""``PART.fp16.onnx``: weights stored in half the bytes, computed in float32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from aecompress.deploy import graph
from aecompress.deploy.checkpoint import Floats
from aecompress.deploy.compact import Chain
from aecompress.deploy.variants.base import Outcome, Request, Source, agreed, loss_with, put, too_much
from aecompress.deploy.variants.scorer import Form, scorer_of
from aecompress.polling import Poll


def rounded(chain: Chain, change: Callable[[Floats], Floats]) -> Chain:
    """Return the chain with every tensor put through ``change``."""
    layers = tuple(replace(one, weight=change(one.weight), bias=change(one.bias)) for one in chain.layers)
    return replace(chain, layers=layers)


def fp16(folder: Path, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Write ``PART.fp16.onnx``: weights stored in half the bytes, computed in float32."""
    chains = {
        part: rounded(chain, lambda tensor: tensor.astype(np.float16).astype(np.float32))
        for part, chain in source.chains.items()
    }
    worst = 0.0
    for part, chain in source.chains.items():
        right = loss_with(source, part, chain, request.metric)
        worst = max(worst, loss_with(source, part, chains[part], request.metric) / max(right, 1e-12) - 1)
    if not worst <= request.allowed:
        outcome.leave_out("fp16", too_much("fp16", worst, request, cure=True))
        return
    for part, chain in source.chains.items():
        name = f"{part}.fp16.onnx"
        path = put(folder / name, chain, part, request, graph.gemm(graph.half), "float16")
        outcome.checks += agreed(path, chains[part], source, request, part, poll)
        outcome.files[f"{part}-fp16"] = name
    outcome.notes.append(f"fp16: the loss changes {worst:+.2%}")
    form = Form("fp16", "float16", source.chains["autoencoder"], graph.gemm(graph.half), chains["autoencoder"])
    scorer_of(folder, form, source, request, outcome, poll)
