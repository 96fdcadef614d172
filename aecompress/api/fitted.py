"""A trained model on raw rows, in NumPy: codes, reconstructions, errors."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.api.front import Front
from aecompress.api.history import History
from aecompress.api.parameters import SOURCE
from aecompress.data.arrays import all_rows
from aecompress.data.base import Array, Raw, Request
from aecompress.data.chosen import Blocks, Chosen
from aecompress.data.dataset import Dataset, read_rows
from aecompress.data.encoding import Encoding
from aecompress.data.scaling import Scaling
from aecompress.data.sparse import Rows, SparseRows, few
from aecompress.data.table import Table, plain
from aecompress.data.tables import encoded_rows, unnamed
from aecompress.deploy import reference
from aecompress.deploy.checkpoint import Floats, Model
from aecompress.deploy.expected import score_metric
from aecompress.errors import DataError
from aecompress.plan.export import Export
from aecompress.runs.again import windowed
from aecompress.spec.resolve import Resolved

Doubles = NDArray[np.float64]
BLOCK_VALUES = 1 << 22
"""Values of raw rows that are worked on at once."""


def scaled(model: Model, rows: Array) -> Floats:
    """Return raw rows ``[N, D]`` as the network takes them: ``[N, *shape]``."""
    return Scaling(**model.scaling).apply(Chosen(rows)).reshape(-1, *model.shape)


def unscaled(model: Model, rows: Doubles) -> Doubles:
    """Return what the network gives, ``[N, *shape]``, in raw units: ``[N, D]``."""
    offset, divisor = (np.asarray(model.scaling[name], dtype=np.float64) for name in ("offset", "divisor"))
    found: Doubles = rows.reshape(len(rows), -1) * divisor + offset
    return found


def encode(model: Model, rows: Floats) -> Doubles:
    """Return latent codes ``[N, L]`` of scaled rows ``[N, *shape]``."""
    codes = reference.run(model.encoder, model.tensors, rows)
    return codes.reshape(len(codes), -1)


def decode(model: Model, codes: Doubles) -> Doubles:
    """Return raw rows ``[N, D]`` of latent codes ``[N, L]``."""
    given = codes.reshape(-1, *model.decoder[0].given)
    return unscaled(model, reference.run(model.decoder, model.tensors, given))


def errors(model: Model, metric: str, rows: Floats) -> Doubles:
    """Return the reconstruction error ``[N]`` of scaled rows ``[N, *shape]``, as a scorer has it."""
    given = rows.reshape(-1, *model.shape)
    return reference.row_losses(score_metric(metric), reference.reconstruct(model, given)[1], given)


def by_block(rows: Blocks | SparseRows, value: Callable[[Array], Doubles]) -> Doubles:
    """Return ``value`` of rows ``[N, D]``, a block at a time, so that memory stays bounded."""
    return np.concatenate([value(block) for block in blocks(rows)])


def blocks(rows: Blocks | SparseRows) -> Iterable[Array]:
    """Return rows ``[N, D]`` in blocks ``[K, D]``: large ones where they are in memory."""
    step = max(1, BLOCK_VALUES // rows.shape[1])
    held = rows if isinstance(rows, SparseRows) else rows.whole
    if held is None:
        assert not isinstance(rows, SparseRows)
        return rows.blocks()
    return (held[first : first + step] for first in range(0, len(held), step))


def latent_size(model: Model) -> int:
    """Return the number of values of a latent code."""
    return int(np.prod(model.decoder[0].given))


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a fitted estimator holds."""

    model: Model
    """With its metrics in ``about``."""
    front: tuple[Model, ...]
    """Non-dominated models with their losses, fewest non-zeros first."""
    metric: str
    """The reported loss."""
    names: tuple[str, ...]
    """Of the columns, where they have names."""
    row_shape: tuple[int, ...]
    """Of a raw row."""
    threshold: float | None
    """The largest error of a normal row; None: it is not known."""
    before: Mapping[str, float] = field(default_factory=dict)
    """Metrics of the model that it was begun with, as that came; empty: it was drawn."""
    history: History | None = None
    dense_loss: float | None = None
    """The lowest validation loss of a model without zeros; None without any."""
    export: Export
    """What an export writes, where nothing else is requested."""
    resolved: Resolved | None = None
    """The complete spec; None: it is not known."""
    encoding: Encoding | None = None
    """How the columns of a table become inputs; None: they are the inputs."""
    decisions: tuple[str, ...] = ()
    """What was decided about the rows, as clauses."""
    run: Path | None = None
    """The folder of the run that it was loaded from."""
    dataset: Dataset | None = None
    """The rows that it was trained on; None: they are not at hand."""

    @cached_property
    def table(self) -> Front:
        """Return the front as a table; its bytes take a while to count."""
        from aecompress.api.training import front_of

        return front_of(self)

    @property
    def epochs(self) -> int:
        """Return the number of epochs that it was trained for; 0 where that is not known."""
        return 0 if self.history is None else len(self.history.epochs)

    @property
    def encoded(self) -> bool:
        """Return whether columns are matched by name, or become other inputs."""
        return self.encoding is not None and not self.encoding.plain

    @property
    def columns(self) -> int:
        """Return the number of columns of its rows, or of the rows that make a window."""
        if self.encoding is not None:
            return len(self.encoding.columns)
        return self.model.inputs // (self.model.about.get("window") or 1)

    @property
    def column_names(self) -> tuple[str, ...]:
        """Return the names of these columns, where they have names."""
        if self.encoding is None:
            return self.names
        return tuple(column.name for column in self.encoding.columns) if self.encoding.named else ()


def without_rows(trained: Trained) -> Trained:
    """Return what is held, but for the rows."""
    return replace(trained, dataset=None)


def threshold_of(model: Model, metric: str, train: Rows, quantile: float) -> float:
    """Return the error that a share of ``quantile`` of scaled training rows ``[N, D]`` does not exceed.

    Where the rows are sparse, it is that of some of them.
    """
    found = by_block(Chosen(few(train)), lambda block: errors(model, metric, np.asarray(block, dtype=np.float32)))
    return float(np.quantile(found, quantile))


def with_threshold(trained: Trained) -> Model:
    """Return the model with its threshold in what config.json says of it."""
    limit = {"error": score_metric(trained.metric), "share": trained.export.quantile, "value": trained.threshold}
    return replace(trained.model, about={**trained.model.about, "threshold": limit})


def report(trained: Trained) -> dict[str, Any]:
    """Return metrics on each split, sparsity and sizes of a model, and metrics of the one that it was begun with."""
    model = trained.model
    return {
        "metrics": dict(model.about.get("metrics", {})),
        "before": dict(trained.before),
        "metric": trained.metric,
        "sparsity": model.sparsity,
        "zeros": model.zeros,
        "parameters": model.parameters,
        "threshold": trained.threshold,
        "decisions": list(trained.decisions),
    }


def from_memory(trained: Trained, rows: Array | Table) -> Blocks:
    """Return raw rows in memory as the model's inputs ``[N, D]``; of a model of windows, as windows of their series.

    Raises:
        DataError: they are not finite numbers, their columns are not those of the model, or no window fits.
    """
    inputs = trained.model.inputs
    request = windowed(Request(source=SOURCE), trained.model, Path(SOURCE))
    if trained.encoding is not None and (isinstance(rows, Table) or trained.encoded):
        table = rows if isinstance(rows, Table) else unnamed(rows)
        found = reported(encoded_rows(Raw(name=SOURCE, train=table), request, trained.encoding))
        if len(found) < len(table) and not request.window:
            raise DataError(
                f"{SOURCE}: some rows ({len(table) - len(found)}) have missing cells, which missing = 'drop' leaves "
                "out of a fit; leave them out here too, or fit with missing = 'median'"
            )
        return found
    return fitting(trained.model, SOURCE, all_rows(Raw(name=SOURCE, train=plain(SOURCE, rows)), request, inputs))


def from_file(trained: Trained, source: str) -> Blocks:
    """Return the raw rows of a file as :func:`from_memory` does.

    Raises:
        DataError: they cannot be read, or are not those of the model.
    """
    model = trained.model
    request = windowed(Request(source=source), model, Path(SOURCE))
    return fitting(model, source, reported(read_rows(request, model.inputs, trained.encoding)))


def fitting(model: Model, source: str, rows: Blocks) -> Blocks:
    """Return rows ``[N, D]`` that are as wide as the model's.

    Raises:
        DataError: they are not.
    """
    if rows.shape[1] != model.inputs:
        raise DataError(f"{source}: has {rows.shape[1]} inputs, the model {model.inputs}; give its rows")
    return rows


def reported(found: tuple[Blocks, tuple[str, ...]]) -> Blocks:
    """Return rows; what is to be reported of them becomes warnings."""
    rows, notes = found
    for note in notes:
        warnings.warn(f"{SOURCE}: {note}", stacklevel=5)
    return rows
