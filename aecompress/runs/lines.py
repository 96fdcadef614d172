"""A run's events as lines of text, for every place that prints or shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aecompress.events import Event, Finished, Front, Generation, Paused, Resumed, Started, Verified

APART = 0.2
"""Models that differ more in their sparsity have budgets of their own."""


def facts_of(start: Started) -> list[tuple[str, str]]:
    """Return what a run trains, and on what, as pairs of a name and a text."""
    rows = ", ".join(f"{count:,} {part}" for part, count in start.rows.items())
    return [
        ("data", f"{start.setting('data.source')}: {rows} rows"),
        *([("decided", "; ".join(start.decisions))] if start.decisions else []),
        (
            "models",
            f"{start.cells}, of {start.parameters:,} parameters" + (f", {start.network}" if start.network else ""),
        ),
        ("epochs", f"{start.generations:,}"),
        ("trained", start.engine),
        ("seed", str(start.setting("seed"))),
    ]


def sparsity_of(end: Finished) -> str:
    """Return the exported model's sparsity, in words."""
    return f"{end.sparsity:.2%} ({end.zeros:,} of {end.parameters:,} are zero)"


def describe(event: Event) -> str:
    """Return the line of an event that is printed at once; empty of others."""
    if isinstance(event, Started):
        network = f" ({event.network})" if event.network else ""
        return (
            f"{event.run}: {counted(event.cells, 'model')} of {event.parameters:,} parameters{network}, "
            f"{event.rows['train']:,} training rows, {counted(event.generations, 'epoch')} on {event.device}, "
            f"{event.training}"
        )
    if isinstance(event, Resumed):
        return f"resumed after epoch {event.generation}. {event.note}".rstrip()
    if isinstance(event, Paused):
        return f"{'paused' if event.waiting else 'resumed'} by control after epoch {event.generation}"
    return ""


def counted(count: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{count} {noun}{'s' * (count != 1)}"


def closing(kept: Iterable[Event]) -> Iterator[str]:
    """Yield what was verified and evaluated; the files themselves are the command's output on stdout."""
    target = 0.0
    for event in kept:
        if isinstance(event, Verified):
            yield (
                f"verified in onnxruntime: {event.checks} checks passed, largest difference {event.max_difference:.1e}"
            )
        if isinstance(event, Front) and len(event.cells) > 2:
            count = counted(len(event.cells), "model")
            yield f"front: {count} with {event.nonzeros[0]:,} to {event.nonzeros[-1]:,} non-zeros"
        if isinstance(event, Started):
            wanted = event.setting("prune.target_sparsity")
            target = wanted if isinstance(wanted, float) else 0.0
        if isinstance(event, Finished):
            if target and abs(event.sparsity - target) > 1 / event.parameters:
                yield f"target sparsity {target:.2%}; the exported model has {event.sparsity:.2%}"
            yield (
                f"sparsity {event.sparsity:.2%}: {event.zeros:,} of {event.parameters:,} weights and biases are zero; "
                f"{event.seconds:.1f} s"
            )
            yield from by_metric(event)


def by_metric(event: Finished) -> Iterator[str]:
    """Yield a line for each metric of the exported model, with its value on every split; ``--json`` has the others."""
    names = dict.fromkeys(name for metrics in event.by_split.values() for name in metrics)
    for name in names:
        values = [f"{split} {metrics[name]:.5f}" for split, metrics in event.by_split.items() if name in metrics]
        yield f"{name.replace('_', ' ')}: {', '.join(values)}"


def losses_of(event: Generation) -> str:
    """Return a generation in one line; of models with budgets of their own the densest and the sparsest."""
    ends = min(event.sparsity), max(event.sparsity)
    if ends[1] - ends[0] > APART:
        dense, sparse = (event.validation_loss[event.sparsity.index(end)] for end in ends)
        return f"validation {event.metric} {dense:.5f} at {ends[0]:.1%} to {sparse:.5f} at {ends[1]:.1%} sparsity"
    losses = f"{min(event.train_loss):.5f} train, {min(event.validation_loss):.5f} validation"
    return f"{event.metric} {losses}; sparsity {event.actual:.1%}"
