"""``PART.int8.packed.onnx``: eight-bit arithmetic on weights in few bytes.

onnxruntime computes the whole numbers of an int8 file from them when it loads the file, and then runs the same kernels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aecompress.deploy import expected, graph
from aecompress.deploy.grid import CODE_BITS, WHOLE_BITS
from aecompress.deploy.session import LARGEST_BATCH, load, run_batches
from aecompress.deploy.variants.base import about
from aecompress.deploy.variants.eight import NOT, Eight, Task, eight, keep, keep_scorer, tried
from aecompress.deploy.verify import Check

FEWEST_BITS = 4
"""Of a weight, where the loss decides: below, more is lost than any usual limit allows."""


def int8_packed(task: Task, method: str) -> None:
    """Write the parts that are kept in int8 in few bytes, and their scorer.

    Weights take the fewest bits that lose no more than allowed, or those that ``--values`` says.
    """
    parts = [part for part in task.source.chains if f"{part}-int8" in task.outcome.files]
    for values in tried_values(task.request.values) if parts else ():
        eights = {part: eight(task.source, part, values) for part in parts}
        trials = {part: tried(task, part, own, own.packed(method), method) for part, own in eights.items()}
        lost = [trial.loss.detail for trial in trials.values() if not trial.loss.passed]
        if not lost:
            break
        task.outcome.notes.append(f"int8.packed, {weights(values)}: {NOT}, {lost[0]}")
        for trial in trials.values():
            trial.path.unlink()
    else:
        return
    for part, own in eights.items():
        whole, size = task.folder / f"{part}.int8.onnx", trials[part].path.stat().st_size
        if size >= whole.stat().st_size:
            task.outcome.notes.append(f"{part}.int8.packed.onnx: {NOT}, {size:,} bytes, {whole.name} has no more")
            trials[part].path.unlink()
            continue
        path = keep(task, part, trials[part], "int8.packed")
        task.outcome.checks.append(same_as_whole(task, path, part, own, method))
        task.outcome.notes.append(f"{path.name}: {weights(values)}, the kernels of {whole.name}")
    if "autoencoder" in eights:
        keep_scorer(task, eights["autoencoder"], eights["autoencoder"].packed(method), "int8.packed", method)


def tried_values(values: str) -> tuple[str, ...]:
    """Return the grids of weights to try, the coarsest first, for export.values."""
    if values in CODE_BITS:
        return tuple(name for name, bits in WHOLE_BITS.items() if bits == CODE_BITS[values])
    if values != "smallest":
        return ("int7",)
    return (*(name for name, bits in WHOLE_BITS.items() if bits >= FEWEST_BITS), "int7")


def weights(values: str) -> str:
    """Return in words what weights on the grids of ``values`` take."""
    return f"weights of {WHOLE_BITS.get(values, 8)} bits"


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
