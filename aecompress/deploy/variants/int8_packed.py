"""``PART.int8.packed.onnx``: eight-bit arithmetic on weights in few bytes.

onnxruntime computes the whole numbers of an int8 file from them when it loads the file, and then runs the same kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aecompress.deploy import expected, graph
from aecompress.deploy.compact import Chain
from aecompress.deploy.grid import CODE_BITS, WHOLE_BITS
from aecompress.deploy.session import LARGEST_BATCH, load, run_batches
from aecompress.deploy.variants.base import about
from aecompress.deploy.variants.bits import Plan, plans
from aecompress.deploy.variants.eight import NOT, Eight, Task, Trial, eight, keep, keep_scorer, tried
from aecompress.deploy.verify import Check


class Attempt(NamedTuple):
    """The parts with weights of some bits."""

    eights: dict[str, Eight]
    trials: dict[str, Trial]
    lost: str
    """How the loss of a part rises too much; empty: it does not."""


def int8_packed(task: Task, method: str) -> None:
    """Write the parts that are kept in int8 in few bytes, and their scorer.

    Weights take the fewest bits that lose no more than allowed, or those that ``--values`` says.
    """
    parts = [part for part in task.source.chains if f"{part}-int8" in task.outcome.files]
    found = fewest(task, parts, possible(task), method) if parts else None
    if found is None:
        return
    for part, own in found.eights.items():
        trial, whole = found.trials[part], task.folder / f"{part}.int8.onnx"
        size = trial.path.stat().st_size
        if size >= whole.stat().st_size:
            task.outcome.notes.append(f"{part}.int8.packed.onnx: {NOT}, {size:,} bytes, {whole.name} has no more")
            trial.path.unlink()
            continue
        path = keep(task, part, trial, "int8.packed")
        task.outcome.checks.append(same_as_whole(task, path, part, own, method))
        task.outcome.notes.append(f"{path.name}: {weights(own)}, the kernels of {whole.name}")
    if "autoencoder" in found.eights:
        own = found.eights["autoencoder"]
        keep_scorer(task, own, own.packed(method), "int8.packed", method)


def possible(task: Task) -> list[Plan]:
    """Return the plans to choose from, each with fewer bits than the one before; one, where ``--values`` says it."""
    values, layers = task.request.values, task.source.chains.values()
    if values == "smallest":
        return plans(task.source, task.request.metric, task.poll)
    bits = CODE_BITS.get(values, 8)
    grid = next((name for name, own in WHOLE_BITS.items() if own == bits), "")
    return [{layer.name: grid for chain in layers for layer in chain.layers} if grid else {}]


def fewest(task: Task, parts: Sequence[str], choices: Sequence[Plan], method: str) -> Attempt | None:
    """Return the parts written by the last of the plans that loses no more than allowed; None: none does, as noted.

    What has fewer bits than a plan that loses too much is not tried.
    """
    first, last, best, written = 0, len(choices) - 1, -1, -1
    while first <= last:
        written = (first + last + 1) // 2
        found = attempted(task, parts, choices[written], method)
        if found.lost:
            last = written - 1
        else:
            best, first = written, written + 1
    if best < 0:
        task.outcome.notes.append(f"int8.packed: {NOT}, {found.lost}")
        for trial in found.trials.values():
            trial.path.unlink()
        return None
    return found if best == written else attempted(task, parts, choices[best], method)


def attempted(task: Task, parts: Sequence[str], plan: Plan, method: str) -> Attempt:
    """Write the parts by a plan, on trial."""
    eights = {part: eight(task.source, part, plan) for part in parts}
    if plan:
        eights = {part: own._replace(chain=with_half_biases(own.chain)) for part, own in eights.items()}
    trials = {part: tried(task, part, own, own.packed(method), method) for part, own in eights.items()}
    lost = (trial.loss.detail for trial in trials.values() if not trial.loss.passed)
    return Attempt(eights, trials, next(lost, ""))


def with_half_biases(chain: Chain) -> Chain:
    """Return the chain with the biases of products in float16, where they fit it."""
    layers = []
    for layer in chain.layers:
        half = np.clip(layer.bias, -65504, 65504).astype(np.float16).astype(np.float32)
        layers.append(replace(layer, bias=half) if layer.product else layer)
    return replace(chain, layers=tuple(layers))


def weights(own: Eight) -> str:
    """Return in words what the weights of the layers take."""
    bits = [str(levels.bits) for levels in own.grids.values()]
    return f"weights of {bits[0]} bits" if len(set(bits)) == 1 else f"weights of {', '.join(bits)} bits, layer by layer"


def same_as_whole(task: Task, path: Path, part: str, own: Eight, method: str) -> Check:
    """Check that a file gives the bits of the one with the same weights whole."""
    request = task.request
    proto = graph.build(
        own.chain, part, request.opset, about(request, ""), product=own.product(method), scaling=request.scaling
    )
    case = task.source.expected[part][0]
    rows = case.fed if request.scaling is None else expected.unscaled({part: [case]}, request.scaling)[part][0].fed
    packed, whole = (
        run_batches(path, load(path, data, 1), rows, LARGEST_BATCH, task.poll)
        for data in (path.read_bytes(), proto.SerializeToString())
    )
    different = int(np.count_nonzero(packed != whole))
    detail = f"{different} values differ" if different else f"{packed.size} values, bit for bit"
    return Check(f"{path.name} equals its weights whole", not different, detail, float(np.abs(packed - whole).max()))
