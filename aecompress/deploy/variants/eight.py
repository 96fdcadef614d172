"""Files in eight-bit arithmetic: written on trial, kept under their names where they lose no more than allowed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from aecompress.deploy import expected, quantize, rounding, verify
from aecompress.deploy.compact import Chain
from aecompress.deploy.graph import Product
from aecompress.deploy.grid import Grid
from aecompress.deploy.variants.base import Outcome, Request, Source, fed, loss_with, put
from aecompress.deploy.variants.bits import Plan, plan_of
from aecompress.deploy.variants.scorer import Form, scorer_of
from aecompress.deploy.verify import Check
from aecompress.polling import Poll

NOT = "not kept"


@dataclass(frozen=True, kw_only=True)
class Task:
    """What every step reads, and adds to."""

    folder: Path
    source: Source
    request: Request
    outcome: Outcome
    poll: Poll


class Eight(NamedTuple):
    """A part whose weights lie on grids of whole numbers."""

    chain: Chain
    grids: Mapping[str, Grid]
    seen: Mapping[str, quantize.Range]
    """What each layer reads on training rows."""

    def product(self, method: str) -> Product:
        """Return the product of a method of :data:`quantize.METHODS`."""
        return quantize.product_of(method, self.seen, self.grids)

    def packed(self, method: str) -> Product:
        """Return the same in few bytes."""
        return quantize.packed_product_of(method, self.chain, self.seen, self.grids)


class Trial(NamedTuple):
    """A file that was written, and whether it loses no more than allowed."""

    path: Path
    loss: Check


def eight(source: Source, part: str, plan: Plan) -> Eight:
    """Return a part with its weights on the grids of a plan; what is no product stays as it is."""
    chain, sample = source.chains[part], fed(source, part)
    near, grids = rounding.compensated(chain, sample, plan_of(chain, plan))
    return Eight(near, grids, quantize.ranges(near, sample))


def tried(task: Task, part: str, own: Eight, product: Product, method: str) -> Trial:
    """Write a part with its ``product``, under a name that says the ``method``, and compare its loss."""
    task.poll()
    source, request = task.source, task.request
    path = task.folder / f"{part}.int8-{method}.onnx"
    put(path, own.chain, part, request, product, f"int8 {method}")
    right = loss_with(source, part, source.chains[part], request.metric)
    return Trial(path, verify.no_worse(path, source.model, source.rows, request.metric, request.allowed, right))


def keep(task: Task, part: str, trial: Trial, name: str) -> Path:
    """Give the file the ``name`` of a variant, verify it, and return its path."""
    source, request, outcome = task.source, task.request, task.outcome
    final = trial.path.replace(task.folder / f"{part}.{name}.onnx")
    cases = source.expected if request.scaling is None else expected.unscaled(source.expected, request.scaling)
    outcome.checks += [
        replace(trial.loss, name=f"{final.name} loss"),
        *verify.rounded_file(final, cases, request.tolerance, task.poll, part),
    ]
    outcome.files[f"{part}-{name.replace('.', '-')}"] = final.name
    return final


def keep_scorer(task: Task, own: Eight, product: Product, name: str, method: str) -> None:
    """Write the scorer of the autoencoder's file of a variant, where there is one."""
    if f"autoencoder-{name.replace('.', '-')}" in task.outcome.files:
        form = Form(name, f"int8 {method}", own.chain, product, None)
        scorer_of(task.folder, form, task.source, task.request, task.outcome, task.poll)
