"""The events of a run: frozen records, one JSON line each in ``events.jsonl``. A run reports in no other way.

``to_json`` and ``from_json`` are exact inverses. Numbers that JSON does not have (infinity, not-a-number) are
written as the strings "inf", "-inf" and "nan".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

from aecompress.errors import DataError
from aecompress.intervals import Ratio, milliseconds_text
from aecompress.parsing import check_depth

VERSION = 1
"""Version of the event log; raised when a reader of the old form would go wrong."""
SPLITS = ("train", "validation", "test")
OTHERS = ("_cells", "_cells_median", "_constant", "_pca", "_dense")
"""Endings of metrics that are not of the exported model."""


@dataclass(frozen=True, kw_only=True)
class Started:
    """The run begins."""

    kind: ClassVar[str] = "started"
    at: float
    """Unix time in seconds; every event has it."""
    version: int
    run: str
    spec: dict[str, Any]
    parameters: int
    """Weights and biases of encoder and decoder."""
    cells: int
    generations: int
    layers: tuple[str, ...]
    rows: dict[str, int]
    """Rows per split."""
    row_shape: tuple[int, ...]
    device: str
    engine: str
    """The engine and why it was chosen, for people."""
    decisions: tuple[str, ...] = ()
    """What was decided about the rows, as clauses a person reads; older logs have none."""
    network: str = ""
    """Shapes of a row and of what each layer gives, as ``28x28-14x14x16-64-28x28``; older logs have none."""

    @property
    def training(self) -> str:
        """Return how the run is trained, in words."""
        return f"training {self.engine}" if not self.engine.startswith("no training") else "no training"

    def setting(self, field: str) -> Any:
        """Return the value of a dotted field of the spec; None where the log has none."""
        value: Any = self.spec
        for name in field.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return value


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One generation is complete; tuples have one entry per cell."""

    kind: ClassVar[str] = "generation"
    at: float
    generation: int
    """Counts from 1: generations completed."""
    metric: str
    """Name of the reported loss, lower is better."""
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    """Equal to the training loss where the run has no validation rows."""
    sparsity: tuple[float, ...]
    """Share of the weights and biases that are exactly zero."""
    learning_rate: tuple[float, ...]
    parents: tuple[int, ...]
    """The cell whose individual, or under dominance whose encoder, each cell's individual was copied from."""
    order: tuple[int, ...]
    """The cells in the order they were visited, each after those before it; empty where all were visited at once."""
    capacity: tuple[float, ...]
    """Share of parameters not zero at the lineage's last prune (the paper's count); 1 when never pruned."""
    target: float
    """The schedule's value: a sparsity (target-driven) or a probability of pruning (probability-driven)."""
    actual: float
    """Mean sparsity over the cells."""
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LayerSparsity:
    """Share of zeros in each layer (weights and biases together), per cell and layer."""

    kind: ClassVar[str] = "layer-sparsity"
    at: float
    generation: int
    layers: tuple[str, ...]
    sparsity: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """Cells that were pruned in a generation, with the zeros each had right after its last prune."""

    kind: ClassVar[str] = "pruned"
    at: float
    generation: int
    cells: tuple[int, ...]
    zeros: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A few validation rows and the best cell's reconstructions of them."""

    kind: ClassVar[str] = "preview"
    at: float
    generation: int
    cell: int
    rows: tuple[tuple[float, ...], ...]
    reconstructions: tuple[tuple[float, ...], ...]
    errors: tuple[float, ...]
    """The reported loss of each row."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A complete state is on disk."""

    kind: ClassVar[str] = "checkpoint"
    at: float
    generation: int
    path: str
    """Relative to the run folder."""


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """The run continues from a checkpoint; events of later generations before this line no longer hold."""

    kind: ClassVar[str] = "resumed"
    at: float
    generation: int
    """The last completed generation that holds."""
    note: str
    """What the resume met, for example a damaged checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Paused:
    """The run waits, or continues, by an order in ``control``."""

    kind: ClassVar[str] = "paused"
    at: float
    generation: int
    waiting: bool


@dataclass(frozen=True, kw_only=True)
class Front:
    """The run's models that no other has both a lower loss and fewer non-zeros than, fewest non-zeros first."""

    kind: ClassVar[str] = "front"
    at: float
    cells: tuple[int, ...]
    """The cell of each model; -1 where it was interpolated between two cells after the last generation."""
    losses: tuple[float, ...]
    nonzeros: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Saved:
    """A file of the result is in its place."""

    kind: ClassVar[str] = "saved"
    at: float
    file: str
    """What the file is, for example "autoencoder"."""
    path: str
    """Relative to the run folder."""
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The exported model was compared with the trained one."""

    kind: ClassVar[str] = "verified"
    at: float
    passed: bool
    max_difference: float
    tolerance: float
    checks: int


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Bytes, time and loss of the exported files, beside the dense model of the same shape, which comes first."""

    kind: ClassVar[str] = "compared"
    at: float
    files: tuple[str, ...]
    bytes: tuple[int, ...]
    nonzeros: tuple[int, ...]
    losses: tuple[float, ...]
    """The reported metric on test rows where there are any; the dense model's is that of the one brought in, or of the
    run's best one without a zero; infinite where there is none."""
    batches: tuple[int, ...]
    """Rows of a call."""
    milliseconds: tuple[tuple[float, ...], ...]
    """Median time of a call on one thread, per file and batch."""
    quartiles: tuple[tuple[tuple[float, float], ...], ...]
    """Between them lies half of what was measured, in milliseconds, per file and batch."""
    ratios: tuple[tuple[tuple[float, float, float], ...], ...]
    """How many times as fast as the dense model, per file and batch: the interval's beginning, the median, its end."""
    notes: tuple[str, ...]
    """Which variants were kept, and why; and that PCA is better, where it is."""
    baselines: tuple[str, ...] = ()
    """What needs no training: the mean training row, and PCA; older logs have none."""
    baseline_losses: tuple[float, ...] = ()
    baseline_nonzeros: tuple[int, ...] = ()

    def table(self) -> list[tuple[str, ...]]:
        """Return the before/after table as text, its head first."""
        calls = [f"{batch} row{'s' * (batch > 1)}" for batch in self.batches]
        columns = [column for call in calls for column in (f"ms, {call}", f"faster, {call}")]
        rows: list[tuple[str, ...]] = [("file", "bytes", "smaller", *columns, "loss", "non-zeros")]
        for name, size, nonzeros, loss, own, quartiles, ratios in zip(
            *(self.files, self.bytes, self.nonzeros, self.losses, self.milliseconds, self.quartiles, self.ratios),
            strict=True,
        ):
            times = [milliseconds_text(*pair) for pair in zip(own, quartiles, strict=True)]
            gains = [Ratio(low=low, middle=middle, high=high).text for low, middle, high in ratios]
            gains = gains if len(rows) > 1 else ["1.00x"] * len(gains)  # the dense model itself
            cells = [cell for pair in zip(times, gains, strict=True) for cell in pair]
            error, smaller = f"{loss:.6f}" if math.isfinite(loss) else "", f"{self.bytes[0] / max(size, 1):.1f}x"
            rows.append((name, f"{size:,}", smaller, *cells, error, f"{nonzeros:,}"))
        below = zip(self.baselines, self.baseline_losses, self.baseline_nonzeros, strict=True)
        empty = [""] * (2 + len(columns))
        return rows + [(name, *empty, f"{loss:.6f}", f"{nonzeros:,}") for name, loss, nonzeros in below]


@dataclass(frozen=True, kw_only=True)
class Profiled:
    """Where the time since the start, or the last resume, went."""

    kind: ClassVar[str] = "profiled"
    at: float
    seconds: dict[str, float]
    """By phase: setting up, training, evaluating, selecting and pruning, and so on."""


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """The run was stopped before its end."""

    kind: ClassVar[str] = "stopped"
    at: float
    generation: int
    """The last completed generation."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The run is complete."""

    kind: ClassVar[str] = "finished"
    at: float
    metrics: dict[str, float]
    sparsity: float
    zeros: int
    parameters: int
    seconds: float

    @property
    def by_split(self) -> dict[str, dict[str, float]]:
        """Return the exported model's metrics by split and name, without those of others beside it."""
        found: dict[str, dict[str, float]] = {}
        for key, value in self.metrics.items():
            split, _, name = key.partition("_")
            if split in SPLITS and not name.endswith(OTHERS):
                found.setdefault(split, {})[name] = value
        return found


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The run ended without a result."""

    kind: ClassVar[str] = "failed"
    at: float
    message: str


Event = (
    Started
    | Generation
    | LayerSparsity
    | Pruned
    | Preview
    | Checkpoint
    | Resumed
    | Paused
    | Front
    | Saved
    | Verified
    | Compared
    | Profiled
    | Stopped
    | Finished
    | Failed
)
KINDS: dict[str, type[Event]] = {cls.kind: cls for cls in get_args(Event)}


LATEST = 1e11
"""Unix time, of the year 5138; beyond, no calendar of a system has a name for it."""
ALIKE: dict[type[Event], tuple[tuple[str, ...], ...]] = {
    Generation: (("train_loss", "validation_loss", "sparsity", "learning_rate", "parents", "capacity"),),
    Pruned: (("cells", "zeros"),),
    Preview: (("rows", "reconstructions", "errors"),),
    Front: (("cells", "losses", "nonzeros"),),
    Compared: (
        ("files", "bytes", "nonzeros", "losses", "milliseconds", "quartiles", "ratios"),
        ("baselines", "baseline_losses", "baseline_nonzeros"),
    ),
}
"""Fields that go with each other and so have as many entries."""
INSIDE: dict[type[Event], tuple[str, tuple[str, ...]]] = {
    LayerSparsity: ("layers", ("sparsity",)),
    Compared: ("batches", ("milliseconds", "quartiles", "ratios")),
}
"""A field, and those of which each entry has as many entries as it."""


def to_json(event: Event) -> str:
    """Return an event as one line of JSON, without the newline."""
    try:
        return json.dumps({"event": event.kind, **vars(event)}, allow_nan=False)
    except ValueError:  # a number that is not finite
        return json.dumps({"event": event.kind, **_encode(vars(event))}, allow_nan=False)


def from_json(line: str) -> Event:
    """Return the event of one line.

    Raises:
        DataError: the line is not an event of this version.
    """
    try:
        values = json.loads(line)
        cls, readers = _READERS[values["event"]]
        event = cls(**{name: read(values[name]) for name, read, needed in readers if needed or name in values})
        if isinstance(event, Started) and event.version != VERSION:
            raise ValueError(f"version {event.version}")
        check_fields(event)
        return event
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as fault:
        raise DataError(f"event log: {line[:80]!r} is not an event this version knows; remove the line") from fault


def check_fields(event: Event) -> None:
    """Refuse an event of which the fields do not go together, or that is of no time.

    Raises:
        ValueError: naming them.
    """
    if not 0 <= event.at <= LATEST:
        raise ValueError(f"at = {event.at}")
    for names in ALIKE.get(type(event), ()):
        if len({len(getattr(event, name)) for name in names}) > 1:
            raise ValueError(f"{', '.join(names)} are not of one length")
    outer, names = INSIDE.get(type(event), ("kind", ()))
    if any(len(entry) != len(getattr(event, outer)) for name in names for entry in getattr(event, name)):
        raise ValueError(f"{', '.join(names)} do not have an entry for each of {outer}")
    if (isinstance(event, Generation) and not event.train_loss) or (
        isinstance(event, LayerSparsity) and not event.sparsity
    ):
        raise ValueError("no cells")
    if isinstance(event, Preview) and list(map(len, event.rows)) != list(map(len, event.reconstructions)):
        raise ValueError("rows and reconstructions are not of one width")


def fits(event: Event, start: Started) -> bool:
    """Return whether an event is of a run with the cells and layers that ``start`` names."""
    if isinstance(event, Generation):
        return len(event.train_loss) == start.cells
    return not isinstance(event, LayerSparsity) or event.layers == start.layers


def _encode(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _encode(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return the function that makes a value of the type ``hint`` from JSON; built once, because logs are long."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is tuple:
        one, count = _reader(inner[0]), None if Ellipsis in inner else len(inner)
        return lambda value: tuple(map(one, _checked(value, list, count)))
    if origin is dict:
        each = _reader(inner[1])
        return lambda value: {key: each(item) for key, item in _checked(value, dict).items()}
    return _SCALARS[hint]


def _shallow(value: Any) -> Any:
    """Return a value of any type, not nested deeply.

    Raises:
        ValueError: it is.
    """
    check_depth(value)
    return value


def _checked(value: Any, kind: type, count: int | None = None) -> Any:
    """Return ``value`` where it is of a ``kind``, and holds ``count`` entries; None: any number.

    Raises:
        TypeError: it is not.
    """
    if type(value) is kind:
        taken: Any = value
        if count is None or len(taken) == count:
            return taken
    raise TypeError(f"{value!r:.40} is not what is written here")


_SCALARS: dict[Any, Callable[[Any], Any]] = {
    float: float,
    int: lambda value: _checked(value, int),
    str: lambda value: _checked(value, str),
    bool: lambda value: _checked(value, bool),
    Any: _shallow,
}
_READERS: dict[str, tuple[type[Event], list[tuple[str, Callable[[Any], Any], bool]]]] = {
    kind: (cls, [(f.name, _reader(get_type_hints(cls)[f.name]), f.default is MISSING) for f in fields(cls)])
    for kind, cls in KINDS.items()
}
"""Of each event its class; and of each field the name, what reads it, and whether a line must have it."""
