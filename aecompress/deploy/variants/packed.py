"""``PART.packed.onnx``: the zeros cost almost nothing."""

from __future__ import annotations

from pathlib import Path

from aecompress.deploy import graph, pack, rounding
from aecompress.deploy.graph import PARTS
from aecompress.deploy.variants.base import Outcome, Request, Source, agreed, fed, loss_with, put, too_much
from aecompress.deploy.variants.scorer import Form, scorer_of
from aecompress.polling import Poll


def packed(folder: Path, source: Source, request: Request, outcome: Outcome, poll: Poll) -> None:
    """Write ``PART.packed.onnx``, in the smallest values that lose no more than allowed."""
    exact = {part: loss_with(source, part, chain, request.metric) for part, chain in source.chains.items()}
    tried = (request.values,) if request.values != "smallest" else tuple(reversed(pack.VALUES))
    for form in tried:
        forms = {}
        for part, chain in source.chains.items():
            poll()
            near, grids = rounding.compensated(chain, fed(source, part), form)
            forms[part] = pack.pack_all(near, form, grids)
        chains = {part: pack.restored(chain, forms[part]) for part, chain in source.chains.items()}
        losses = {part: loss_with(source, part, chain, request.metric) for part, chain in chains.items()}
        worst = max(losses[part] / max(exact[part], 1e-12) - 1 for part in PARTS)
        if worst <= request.allowed or form == "float32":
            break
        outcome.notes.append(too_much(f"packed, values {form}", worst, request))
    else:
        return
    for part, chain in source.chains.items():
        name = f"{part}.packed.onnx"
        path = put(folder / name, chain, part, request, graph.gemm(pack.stored(forms[part])), form)
        outcome.checks += agreed(path, chains[part], source, request, part, poll)
        outcome.files[f"{part}-packed"] = name
    outcome.notes.append(f"packed: values {form}, the loss changes {worst:+.2%}")
    whole, product = source.chains["autoencoder"], graph.gemm(pack.stored(forms["autoencoder"]))
    scorer_of(folder, Form("packed", form, whole, product, chains["autoencoder"]), source, request, outcome, poll)
