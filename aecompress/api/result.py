"""What a finished run left: its model folder, its figures, and the other models of its front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from aecompress import markup
from aecompress.api.front import Front, chart_of, dense_loss, read_front
from aecompress.api.history import History, charts, history_of
from aecompress.digests import check_folder
from aecompress.errors import DataError, printable
from aecompress.events import Compared, Event, Finished, Saved, Started, Verified
from aecompress.files import standing
from aecompress.plan.export import Export, export_of
from aecompress.runs.ended import held, read_run
from aecompress.runs.job import started_with
from aecompress.runs.lines import by_metric, closing, facts_of, sparsity_of
from aecompress.steering import status_of


@dataclass(frozen=True, kw_only=True)
class Result:
    """A finished run."""

    folder: Path
    """The run folder."""
    files: dict[str, Path]
    """The files of the model folder, by kind, such as "autoencoder", "weights" and "autoencoder-packed"."""
    history: History
    dense_loss: float | None
    """The lowest validation loss of the run's models without a zero; None without any."""
    started: Started
    """With the complete spec."""
    verification: Verified
    """How far the exported files are from the trained model."""
    compared: Compared | None
    """Bytes and milliseconds of the files, beside the dense model."""
    finished: Finished
    export: Export
    """What was requested to be exported."""

    @property
    def model_folder(self) -> Path:
        """Return the folder of the exported model, for :func:`aecompress.load`."""
        return self.folder / "model"

    @property
    def metrics(self) -> dict[str, float]:
        """Return the exported model's metrics, such as ``test_l1``."""
        return self.finished.metrics

    @property
    def metric(self) -> str:
        """Return the name of the reported loss."""
        return self.export.metric

    @property
    def sparsity(self) -> float:
        """Return the share of the exported model's weights and biases that are exactly zero."""
        return self.finished.sparsity

    @cached_property
    def front(self) -> Front:
        """Return the run's models that no other has both a lower loss and fewer non-zeros than; read when first used.

        Raises:
            DataError: the front on disk is not whole.
        """
        return read_front(self.folder, self.dense_loss, self.export)

    def __repr__(self) -> str:
        log = (self.started, self.verification, self.finished)
        return printable("\n".join([f"<Result of {self.folder}>", *closing(log), f"model: {self.model_folder}"]))

    def _repr_html_(self) -> str:
        facts = [
            *facts_of(self.started),
            ("sparsity", sparsity_of(self.finished)),
            *((name, values) for name, _, values in (line.partition(": ") for line in by_metric(self.finished))),
            (
                "verified",
                f"{self.verification.checks} checks, largest difference {self.verification.max_difference:.1e}",
            ),
            ("model", str(self.model_folder)),
        ]
        parts = [markup.headline(self.started.run, f"finished in {self.finished.seconds:.1f} s"), markup.facts(facts)]
        drawn = charts(self.metric, self.history.epochs)
        try:
            parts.append(markup.side_by_side([*drawn, chart_of(self.folder, self.metric)]))
        except DataError as fault:  # the folder was moved or changed since
            parts += [markup.side_by_side(drawn), markup.note(str(fault))]
        if self.compared is not None:
            head, *rows = self.compared.table()
            parts += [markup.table(head, rows), *map(markup.note, self.compared.notes)]
        return markup.block(*parts)


def read_result(run: Path) -> Result:
    """Read the result of the finished run in a folder.

    Raises:
        DataError: there is none, the run is not finished, or its files are not whole.
    """
    status = status_of(run)
    if status != "finished":
        cure = "" if status == "running" else f"; `aecompress prune --resume {run}` resumes it"
        raise DataError(f"{run}: is {status}, so it has no result{cure}")
    check_folder(standing(run / "model"))
    log = held(run, read_run(run))
    export = export_of(started_with(run)[0].spec)
    return Result(
        folder=run,
        files={event.file: run / event.path for event in log if isinstance(event, Saved)},
        history=history_of(log, export.metric),
        dense_loss=dense_loss(log),
        started=only(Started, log),
        verification=only(Verified, log),
        compared=next((event for event in reversed(log) if isinstance(event, Compared)), None),
        finished=only(Finished, log),
        export=export,
    )


Kind = TypeVar("Kind")


def only(kind: type[Kind], log: Sequence[Event]) -> Kind:
    """Return the one event of a kind that the checked log of a finished run has."""
    return next(event for event in log if isinstance(event, kind))
