"""The models of a run that no other has both a lower loss and fewer non-zeros than."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from aecompress import markup
from aecompress.api.pictures import ready, shown
from aecompress.data.raw import described_bytes
from aecompress.data.scaling import Scaling
from aecompress.deploy.checkpoint import load_model
from aecompress.events import SPLITS, Event, Generation, Started
from aecompress.files import standing
from aecompress.markup import Line
from aecompress.plan.export import Export
from aecompress.runs import front as members
from aecompress.runs.again import about_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class FrontModel:
    """One model of a front."""

    sparsity: float
    nonzeros: int
    bytes: int
    """About, of the smallest autoencoder file that its export writes, as ``--pick bytes<=N`` counts them."""
    loss: float
    """On validation rows; on training rows where the run had no others."""
    against_dense: float | None
    """The loss as a multiple of the lowest one of models that nothing was pruned of; None where there is none."""
    knee: bool
    """More sparsity costs much loss from here on."""
    folder: Path | None = None
    """Its model folder, for :func:`aecompress.load`; None of a model in memory."""


@dataclass(frozen=True)
class Front(Sequence[FrontModel]):
    """The front of a run, fewest non-zeros first."""

    models: tuple[FrontModel, ...]
    metric: str
    """Of the losses."""
    split: str
    """Of the losses: validation or train."""

    def __len__(self) -> int:
        return len(self.models)

    @overload
    def __getitem__(self, at: int) -> FrontModel: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[FrontModel, ...]: ...

    def __getitem__(self, at: int | slice) -> FrontModel | tuple[FrontModel, ...]:
        return self.models[at]

    def __iter__(self) -> Iterator[FrontModel]:
        return iter(self.models)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return a table of the models, as ``pandas.DataFrame`` takes it."""
        return [asdict(model) | {"folder": str(model.folder or "")} for model in self.models]

    def __repr__(self) -> str:
        lines = "".join("\n  " + "  ".join(f"{cell:>12}" for cell in row) for row in (self._head, *self._cells()))
        return f"<Front of {len(self)} models, {self.split} {self.metric}, * knee>{lines}"

    def _repr_html_(self) -> str:
        return markup.block(
            markup.headline("Front", f"{self.split} {self.metric}; * knee"),
            markup.side_by_side([chart(self.metric, self._points, self._knee)] if len(self) > 1 else []),
            markup.table(self._head, self._cells()),
        )

    @property
    def _head(self) -> tuple[str, ...]:
        return ("sparsity", "non-zeros", "bytes", "loss", "against dense", "")

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                f"{one.sparsity:.2%}",
                f"{one.nonzeros:,}",
                f"{one.bytes:,}",
                f"{one.loss:.6g}",
                "" if one.against_dense is None else f"{one.against_dense:.2f}x",
                "*" if one.knee else "",
            )
            for one in self.models
        ]

    def plot(self) -> Figure:
        """Draw loss against non-zeros with the knee, as ``aecompress front --plot``; returned and not shown.

        Raises:
            SpecError: matplotlib is not installed.
        """
        ready("front.plot()")
        from aecompress.runs.figures import front_chart

        across, up = zip(*self._points, strict=True)
        axes = front_chart(across, up, self._knee, f"{self.split} {self.metric}")
        return shown(axes.figure)

    @property
    def _points(self) -> list[tuple[float, float]]:
        return [(float(one.nonzeros), one.loss) for one in self.models]

    @property
    def _knee(self) -> int:
        return next(at for at, one in enumerate(self.models) if one.knee)


def chart(metric: str, points: Sequence[tuple[float, float]], knee: int) -> str:
    """Return (non-zeros, loss) as SVG, both logarithmic, with a ring around the ``knee``-th."""
    line = Line("a model; ring: knee", points, dotted=True, ring=knee)
    return markup.chart(metric, "non-zeros", [line], log=True, log_across=True)


def chart_of(run: Path, metric: str) -> str:
    """Return the front of a finished run as SVG; "" where it has no more than two models. It counts no bytes.

    Raises:
        DataError: the front is not whole.
    """
    points = [(float(one.nonzeros), one.loss) for one in members_of(run, metric)]
    return chart(metric, points, members.knee(points)) if len(points) > 2 else ""


def read_front(run: Path, dense: float | None, export: Export) -> Front:
    """Read the front of a finished run; a run that kept none has its exported model alone.

    Args:
        dense: the loss of its dense model, where it has one.
        export: by which bytes are counted.

    Raises:
        DataError: the front, or the exported model, is not whole.
    """
    exported = load_model(standing(run / "model"))
    found = members_of(run, export.metric)
    inputs = exported.about.get("inputs", ())
    knee = members.knee([(float(one.nonzeros), one.loss) for one in found])

    def size_of(folder: Path) -> int:
        model = load_model(standing(folder))
        return about_bytes(model, export, described_bytes(Scaling(**model.scaling), inputs))

    models = (
        FrontModel(
            sparsity=one.sparsity,
            nonzeros=one.nonzeros,
            bytes=size_of(one.path),
            loss=one.loss,
            against_dense=one.loss / dense if dense else None,
            knee=at == knee,
            folder=one.path,
        )
        for at, one in enumerate(found)
    )
    return Front(tuple(models), found[0].metric, found[0].split)


def members_of(run: Path, metric: str) -> list[members.Member]:
    """Return the front of a finished run as it is on disk, or its exported model alone.

    Raises:
        DataError: it is not whole.
    """
    return members.load(run) if members.check(run) else [exported_member(run, metric)]


def exported_member(run: Path, metric: str) -> members.Member:
    """Return the exported model of a run as a member of its front."""
    path = run / "model"
    model = load_model(standing(path))
    metrics = model.about["metrics"]
    losses = {split: metrics[f"{split}_{metric}"] for split in SPLITS if f"{split}_{metric}" in metrics}
    return members.Member(
        path=path, nonzeros=model.parameters - model.zeros, parameters=model.parameters, metric=metric, losses=losses
    )


def dense_loss(log: Iterable[Event]) -> float | None:
    """Return the lowest validation loss, after the last epoch, of the run's models that nothing was pruned of, or None.

    Those are the cells whose budget is 0, and those without a zero.
    """
    started, last = None, None
    for event in log:
        started = event if isinstance(event, Started) else started
        last = event if isinstance(event, Generation) else last
    if last is None:
        return None
    budgets: Sequence[Any] = [None] * len(last.sparsity)
    if started is not None and started.setting("prune.drive") == "target":
        own, same = started.setting("evolve.budgets"), [started.setting("prune.target_sparsity")] * len(budgets)
        budgets = own if isinstance(own, list | tuple) and len(own) == len(budgets) else same
    cells = zip(last.validation_loss, last.sparsity, budgets, strict=True)
    dense = [loss for loss, sparsity, budget in cells if (budget == 0 or not sparsity) and math.isfinite(loss)]
    return min(dense, default=None)
