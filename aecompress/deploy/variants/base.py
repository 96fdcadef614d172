"""What every variant is made from, and how its files are written; each is kept only where it pays.

A variant that loses more than allowed, or an int8 file that is not faster here, is not kept, and a note says why.
"""

from __future__ import annotations

import math
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aecompress.deploy import expected, graph, reference, verify
from aecompress.deploy.checkpoint import Floats, Model
from aecompress.deploy.compact import Chain, run
from aecompress.deploy.expected import Expectations
from aecompress.deploy.graph import Affine
from aecompress.deploy.verify import Check
from aecompress.files import write_bytes
from aecompress.polling import Poll
from aecompress.registry import VARIANTS

CALIBRATION_ROWS = 4096


@dataclass(frozen=True)
class Request:
    """What is to be written, and how well it must agree."""

    variants: tuple[str, ...]
    """Names in the registry; some change what others write: each has a scorer of its own where one is requested."""
    opset: int
    metadata: Mapping[str, str]
    metric: str
    values: str
    """One of grid.VALUES, or smallest: that loses no more than allowed."""
    int8: str
    """measured: kept where faster here; always: kept, untimed; never: left out."""
    allowed: float
    """Largest rise of the loss by rounding, as a share."""
    tolerance: float
    scaling: Affine | None
    """Put into the graphs; None: files take scaled rows."""
    quantile: float
    """Share of training rows whose error lies below the scorer's threshold."""


@dataclass
class Outcome:
    """What was written and what was not."""

    checks: list[Check] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    """Kind -> file name, of those kept."""
    notes: list[str] = field(default_factory=list)
    """A sentence for each choice."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Of variants' scorers on labelled rows: ``auroc_int8`` and the like."""
    missing: dict[str, list[str]] = field(default_factory=dict)
    """Variant -> why files of it were not kept."""

    def leave_out(self, variant: str, why: str) -> None:
        """Note why a file of a variant is not kept."""
        self.notes.append(why)
        self.missing.setdefault(variant, []).append(why)


class Labelled(NamedTuple):
    """Rows of which it is known whether they are anomalies."""

    rows: Floats
    """Scaled, ``[N, *shape]``."""
    figures: Callable[[NDArray[np.float32]], Mapping[str, float]]
    """Returns how well scores ``[N]`` separate them, by name of the figure."""


@dataclass(frozen=True)
class Source:
    """What every variant is made from."""

    model: Model
    chains: Mapping[str, Chain]
    expected: Expectations
    """Of the model on scaled rows."""
    rows: Floats
    """Scaled rows ``[N, *shape]`` that losses are evaluated on."""
    training: Floats
    """Scaled training rows, for calibration and the threshold."""
    labelled: Labelled | None
    """None: no row has a label."""


Writer = Callable[[Path, Source, Request, Outcome, Poll], None]
"""Writes a variant into a folder and verifies it; adds its files and checks, or why it is not kept, to the outcome."""


def write(folder: Path, source: Source, request: Request, poll: Poll) -> Outcome:
    """Write the requested variants into ``folder``, beside the plain files, verify them, keep what is worth it."""
    outcome = Outcome()
    for name, row in VARIANTS.items():
        if name in request.variants:
            poll()
            writer: Writer = pkgutil.resolve_name(row.write)
            files, notes = set(outcome.files), len(outcome.notes)
            writer(folder, source, request, outcome, poll)
            if set(outcome.files) == files and name not in outcome.missing:
                outcome.missing[name] = outcome.notes[notes:] or [f"{name}: no file was written"]
    return outcome


def loss_with(source: Source, part: str, chain: Chain, name: str) -> float:
    """Return the mean loss of reconstruction when ``part`` of the model is ``chain``."""
    rows = source.rows
    if part == "encoder":
        out = reference.run(source.model.decoder, source.model.tensors, run(chain, rows))
    elif part == "decoder":
        out = run(chain, reference.run(source.model.encoder, source.model.tensors, rows).astype(np.float32))
    else:
        out = run(chain, rows)
    return float(reference.row_losses(name, out, rows).mean())


def fed(source: Source, part: str) -> Floats:
    """Return some training rows, or their latent codes, as ``part`` gets them."""
    sample = source.training[:: max(1, len(source.training) // CALIBRATION_ROWS)]
    if part != "decoder":
        return sample
    return reference.run(source.model.encoder, source.model.tensors, sample).astype(np.float32)


def about(request: Request, values: str) -> dict[str, str]:
    """Return the metadata of a file with rounded ``values``."""
    return dict(request.metadata) | ({graph.ROUNDED_KEY: values} if values != "float32" else {})


def put(path: Path, chain: Chain, part: str, request: Request, product: graph.Product, values: str) -> Path:
    """Write one file with rounded ``values``, which its metadata name; return its path."""
    proto = graph.build(chain, part, request.opset, about(request, values), product=product, scaling=request.scaling)
    write_bytes(path, proto.SerializeToString(deterministic=True))
    return path


def agreed(path: Path, chain: Chain, source: Source, request: Request, part: str, poll: Poll) -> list[Check]:
    """Check a float32 graph whose tensors are those of ``chain``."""
    cases = expected.rounded({part: source.expected[part]}, {part: chain})
    if request.scaling is not None:
        cases = expected.unscaled(cases, request.scaling)
    return verify.verify_file(path, replace(source.model, tensors={}), cases, request.tolerance, poll, part)


def too_much(name: str, worse: float, request: Request, cure: bool = False) -> str:
    """Return why a rounded variant is not kept.

    Args:
        cure: also name the flag that would keep it.
    """
    why = f"{name}: not kept, the loss changes {worse:+.2%}, allowed +{request.allowed:.2%}"
    if not cure or not math.isfinite(worse):
        return why
    return f"{why}; `aecompress export RUN --variant-loss {math.ceil(worse * 100) / 100:g}` writes it"
