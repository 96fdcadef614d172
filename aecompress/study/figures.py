"""The figures of a study and of a run, drawn with matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.errors import SpecError
from aecompress.events import Compared, Event, Generation, LayerSparsity, Started
from aecompress.pictures import import_matplotlib
from aecompress.runs.figures import COLOURS, WIDTH, canvas, draw_losses, draw_schedule
from aecompress.spec.toml import flatten
from aecompress.study.design import slug
from aecompress.study.results import Outcome, Result
from aecompress.study.stats import summary

Floats = NDArray[np.float64]
DASHES = ("-", "--", ":")
MANY = 8
"""Lines of a chart at most."""
WRAP = 32
"""Letters of a group's name on a line."""


def available() -> None:
    """Check, before any work, that figures can be drawn.

    Raises:
        SpecError: matplotlib is not installed.
    """
    try:
        import_matplotlib()
    except ImportError as fault:
        raise SpecError("report: needs matplotlib for its figures; pip install 'aecompress[plot]'") from fault


def family(outcome: Outcome) -> str:
    """Return what a group's runs are: canonical, or a ring and its order."""
    spec = outcome.results[0].spec
    return "canonical" if spec["mode"] == "canonical" else f"ring, {spec['evolve']['order']}"


Charts = dict[str, dict[str, Outcome]]
"""Titles of charts, and the groups on each by the name they have there."""


def charts_of(outcomes: Sequence[Outcome], same: str = "", lines: str = "") -> Charts:
    """Return which groups are drawn together.

    Every group is on some chart, on none with more than :data:`MANY`, and never one line with another.

    Args:
        same: a field of the spec that is the same for all groups of a chart; groups that do not prune are on each.
        lines: the field that distinguishes a chart's groups; their names, where it does not.
    """
    split: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        split.setdefault(family(outcome), []).append(outcome)
    charts: Charts = {}
    for kind, members in split.items():
        plain = [outcome for outcome in members if field_of(outcome, "prune.operator") == "none"] if same else []
        parts: dict[str, list[Outcome]] = {}
        for outcome in members:
            if outcome not in plain:
                parts.setdefault(f"{kind}, {field_of(outcome, same)}" if same else kind, []).append(outcome)
        for title, part in parts.items():
            whole = plain + part
            names = [field_of(outcome, lines) if lines and outcome in part else "" for outcome in whole]
            called = {
                name if name and names.count(name) == 1 else outcome.group.name: outcome
                for name, outcome in zip(names, whole, strict=True)
            }
            pages = -(-len(called) // MANY)
            for page in range(pages):
                number = f" ({page + 1} of {pages})" if pages > 1 else ""
                charts[title + number] = dict(list(called.items())[page * MANY : (page + 1) * MANY])
    return charts


def field_of(outcome: Outcome, path: str) -> str:
    """Return a field of a group's spec by dotted path, as text."""
    return str(flatten(outcome.results[0].spec)[path])


def style(number: int) -> dict[str, str]:
    """Return colour, then dashes, of the ``number``-th line."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}


def band(chart: Any, curves: Sequence[Floats], label: str, number: int) -> None:
    """Draw the median and middle half of some curves ``[T]``; of unequal length, over what all have."""
    length = min(map(len, curves))
    low, middle, high = np.quantile(np.stack([curve[:length] for curve in curves]), [0.25, 0.5, 0.75], axis=0)
    generations = np.arange(1, length + 1)
    chart.plot(generations, middle, label=label, **style(number))
    chart.fill_between(generations, low, high, alpha=0.2, linewidth=0, color=style(number)["color"])


def by_generation(title: str, groups: dict[str, Outcome], curve: str, label: str) -> Any:
    """Draw the median over trials and the middle half of them by generation, a line for each group.

    Args:
        curve: "loss" (mean over the cells) or "nonzeros".
    """
    figure, chart = canvas(4.6)
    for number, (name, outcome) in enumerate(groups.items()):
        band(chart, [values_of(result, curve) for result in outcome.results], name, number)
    lengths = [len(result.curves.nonzeros) for outcome in groups.values() for result in outcome.results]
    if max(lengths) > 3 * min(lengths):
        chart.set_xscale("log")
    chart.set(xlabel="generation", ylabel=label, title=title)
    legend(figure, groups)
    return figure


def legend(figure: Any, names: Iterable[str] = ()) -> None:
    """Draw the legend under the chart, in two columns where the names are short."""
    columns = 1 if max(map(len, names), default=0) > WRAP else 2
    figure.legend(loc="outside lower center", ncols=columns, fontsize="small", frameon=False)


def wrapped(outcomes: Sequence[Outcome]) -> list[str]:
    """Return the groups' names on lines short enough for the side of a chart."""
    return [textwrap.fill(outcome.group.name, WRAP) for outcome in outcomes]


def values_of(result: Result, curve: str) -> Floats:
    """Return a curve ``[T]`` of a run, the mean over its cells; of the loss, over the finite ones."""
    if curve == "nonzeros":
        return result.curves.nonzeros
    loss = np.ma.masked_invalid(result.curves.loss).mean(1)
    return np.asarray(np.ma.filled(loss, np.nan), dtype=np.float64)


def capacity_boxes(outcomes: Sequence[Outcome]) -> Any:
    """Draw the capacity of every trial as boxes, as published, and crosses at the parameters not zero at the end."""
    figure, chart = canvas(1.2 + 0.36 * len(outcomes))
    places = np.arange(len(outcomes), 0, -1)
    boxes = chart.boxplot(
        [outcome.capacities for outcome in outcomes], positions=places, orientation="horizontal", widths=0.6,
        patch_artist=True, medianprops={"color": "black"},
    )  # fmt: skip
    for number, box in enumerate(boxes["boxes"]):
        box.set(facecolor=COLOURS[number % len(COLOURS)], alpha=0.6)
    ends = [np.mean([result.nonzero for result in outcome.results]) for outcome in outcomes]
    chart.plot(ends, places, "kx", label="not zero at the end, mean")
    chart.set(xlabel="capacity", xlim=(-0.02, 1.02))
    chart.set_yticks(places, wrapped(outcomes))
    legend(figure)
    return figure


def trials(outcomes: Sequence[Outcome]) -> Any:
    """Draw every trial as a dot, the mean with its interval as a bar, the published mean as a diamond."""
    figure, chart = canvas(1.4 + 0.36 * len(outcomes))
    expected = [(outcome.group.expected, place) for place, outcome in enumerate(reversed(outcomes), 1)]
    for place, outcome in enumerate(reversed(outcomes), 1):
        colour = COLOURS[(len(outcomes) - place) % len(COLOURS)]
        values, numbers = outcome.losses, summary(outcome.losses)
        jitter = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else np.zeros(1)
        chart.plot(values, place + jitter, ".", color=colour, alpha=0.6)
        chart.plot([numbers.low, numbers.high], [place, place], color=colour, linewidth=4, alpha=0.5)
        chart.plot(numbers.mean, place, "|", color="black", markersize=12)
    known = [(value, place) for value, place in expected if value is not None]
    if known:
        chart.plot(*zip(*known, strict=True), "D", color="black", fillstyle="none", label="published mean")
        legend(figure)
    chart.set(xlabel=f"training {outcomes[0].metric}")
    chart.set_yticks(range(1, len(outcomes) + 1), wrapped(outcomes)[::-1])
    return figure


def best_of_each(title: str, groups: dict[str, Outcome]) -> Any:
    """Draw the curve of the best trial of each group, its cells as thin lines."""
    figure, chart = canvas(4.6)
    for number, (name, outcome) in enumerate(groups.items()):
        result = min(outcome.results, key=lambda result: result.loss)
        generations, colour = np.arange(1, len(result.curves.loss) + 1), style(number)["color"]
        chart.plot(generations, result.curves.loss, color=colour, alpha=0.2, linewidth=0.8)
        chart.plot(generations, values_of(result, "loss"), label=f"{name}, seed {result.seed}", **style(number))
    chart.set(xlabel="generation", ylabel=f"training {result.metric}", title=title)
    legend(figure, groups)
    return figure


def best_groups(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the group of each family and operator with the lowest loss."""
    best: dict[tuple[str, str], Outcome] = {}
    for outcome in sorted(outcomes, key=lambda outcome: float(outcome.losses.mean())):
        best.setdefault((family(outcome), field_of(outcome, "prune.operator")), outcome)
    return [outcome for outcome in outcomes if outcome in best.values()]


def study_figures(outcomes: Sequence[Outcome]) -> dict[str, tuple[str, Any]]:
    """Draw every figure of a study: file name, caption and figure."""
    loss, every = f"training {outcomes[0].metric}", charts_of(outcomes)
    band_of = "median over trials, and the middle half of them."
    drawn = {
        "trials": (
            "Every trial, mean over its cells; the mean of each group with its 95 % interval, and what was published.",
            trials(outcomes),
        )
    }
    for title, groups in every.items():
        caption = f"Loss by generation, {title}, mean over the cells: {band_of}"
        drawn[f"loss-{slug(title)}"] = caption, by_generation(title, groups, "loss", loss)
    for field, other in (("operator", "schedule"), ("schedule", "operator")):
        for title, groups in charts_of(outcomes, f"prune.{other}", f"prune.{field}").items():
            pruned = [outcome for outcome in groups.values() if field_of(outcome, "prune.operator") != "none"]
            differ = len({field_of(outcome, f"prune.{field}") for outcome in pruned}) > 1
            names = {outcome.group.name for outcome in groups.values()}
            if differ and all(names != {one.group.name for one in each.values()} for each in every.values()):
                caption = f"Loss by generation and {field}, {title}: {band_of}"
                drawn[f"loss-by-{field}-{slug(title)}"] = caption, by_generation(title, groups, "loss", loss)
    for title, groups in charts_of(best_groups(outcomes)).items():
        caption = f"The best trial of the best group of each operator, {title}; thin lines are its cells."
        drawn[f"best-{slug(title)}"] = caption, best_of_each(title, groups)
    drawn["capacity"] = (
        "Capacity of every trial: share of the parameters not zero at the lineage's last prune.",
        capacity_boxes(outcomes),
    )
    for title, groups in every.items():
        caption = f"Network size over time, {title}: parameters that are not zero, mean over the cells."
        drawn[f"size-{slug(title)}"] = caption, by_generation(title, groups, "nonzeros", "non-zeros")
    return drawn


def run_figures(log: Sequence[Event], activations: dict[str, Floats]) -> dict[str, tuple[str, Any]]:
    """Draw every figure of a run: file name, caption and figure.

    Args:
        activations: by layer, what its units give on some rows, ``[rows, units]``; empty where no rows are kept.
    """
    past = [event for event in log if isinstance(event, Generation)]
    layers = [event for event in log if isinstance(event, LayerSparsity)]
    compared = [event for event in log if isinstance(event, Compared)]
    drawn: dict[str, tuple[str, Any]] = {}
    if past:
        by_probability = any(isinstance(one, Started) and one.setting("prune.drive") == "probability" for one in log)
        drawn["loss"] = ("Loss by epoch; thin lines are the cells.", loss_curves(past))
        drawn["sparsity"] = ("Sparsity over time; a line for each cell.", sparsity_curves(past, by_probability))
    if layers:
        drawn["layers"] = ("Sparsity of each layer over time, mean over the cells.", layer_map(layers))
    if compared:
        drawn["before_after"] = (
            "Bytes, and milliseconds on one thread with their quartiles, of every file.",
            sizes_and_times(compared[-1]),
        )
    if activations:
        drawn["activations"] = (
            "What every unit gives on the kept rows, scaled to the layer's largest value.",
            activation_maps(activations),
        )
        drawn["coverage"] = (
            "Coverage: units that are active on at least one of the rows, and on the mean row.",
            coverage_bars(activations),
        )
    return drawn


def loss_curves(past: Sequence[Generation]) -> Any:
    """Draw the losses of every cell, and of the best one on training and validation rows."""
    figure, chart = canvas(4)
    generations = [event.generation for event in past]
    training = np.array([event.train_loss for event in past])
    validation = np.array([event.validation_loss for event in past])
    chart.plot(generations, training, color=COLOURS[0], alpha=0.35, linewidth=0.8)
    best = np.nanmin(training, axis=1), np.nanmin(validation, axis=1)
    draw_losses(chart, generations, *best, past[-1].metric)
    return figure


def sparsity_curves(past: Sequence[Generation], by_probability: bool) -> Any:
    """Draw the sparsity of every cell, and the schedule."""
    figure, chart = canvas(4)
    generations = [event.generation for event in past]
    chart.plot(generations, [event.sparsity for event in past], color=COLOURS[0], alpha=0.5)
    draw_schedule(chart, generations, [event.target for event in past], by_probability)
    return figure


def layer_map(layers: Sequence[LayerSparsity]) -> Any:
    """Draw the sparsity as shade: layers down, generations across."""
    figure, chart = canvas(1.2 + 0.4 * len(layers[-1].layers))
    values = np.array([np.mean(event.sparsity, axis=0) for event in layers]).T
    first, last = layers[0].generation, layers[-1].generation
    image = chart.imshow(
        values, aspect="auto", vmin=0, vmax=1, cmap="viridis", interpolation="nearest",
        extent=(first - 0.5, last + 0.5, len(values) - 0.5, -0.5),
    )  # fmt: skip
    chart.grid(False)
    chart.set_yticks(range(len(values)), layers[-1].layers)
    chart.set(xlabel="epoch")
    figure.colorbar(image, label="sparsity")
    return figure


def sizes_and_times(event: Compared) -> Any:
    """Draw bytes and milliseconds of every file, the dense model's first."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 1.4 + 0.42 * len(event.files)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(event.files))
    left.barh(places, event.bytes, color=COLOURS[0])
    left.set_yticks(places, event.files)
    left.invert_yaxis()
    left.set(xlabel="bytes")
    height = 0.8 / len(event.batches)
    for number, batch in enumerate(event.batches):
        label = f"{batch} row{'s' * (batch > 1)}"
        shift = (number - (len(event.batches) - 1) / 2) * height
        times = [spent[number] for spent in event.milliseconds]
        right.barh(places + shift, times, height, label=label, color=COLOURS[1 + number % (len(COLOURS) - 1)])
        for place, quartiles in zip(places + shift, event.quartiles, strict=True):
            right.plot(quartiles[number], (place, place), color="black", linewidth=1)
    right.set(xlabel="milliseconds, one thread; lines: quartiles")
    for chart in (left, right):
        chart.grid(alpha=0.3, axis="x")
        chart.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(event.batches), frameon=False)
    return figure


def activation_maps(activations: dict[str, Floats]) -> Any:
    """Draw the activations of each layer: units across, rows down."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.5 + 1.25 * len(activations)), layout="constrained")
    charts = figure.subplots(len(activations), 1, squeeze=False)[:, 0]
    for chart, (name, values) in zip(charts, activations.items(), strict=True):
        largest = float(np.abs(values).max()) or 1.0
        image = chart.imshow(values / largest, aspect="auto", cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        chart.set(ylabel="row", title=f"{name}: {values.shape[1]} units, largest {largest:.3g}")
        chart.title.set_fontsize("small")
    charts[-1].set(xlabel="unit")
    figure.colorbar(image, ax=list(charts), label="activation, scaled")
    return figure


ACTIVE = 0.1
"""Share of the layer's largest absolute value from which a unit counts as active (the conjunctive threshold)."""


def coverage(values: Floats) -> tuple[float, float]:
    """Return the share of the units of a layer ``[rows, units]`` that are active on some row, and on the mean row."""
    largest = float(np.abs(values).max())
    if not largest:
        return 0.0, 0.0
    active = np.abs(values) >= ACTIVE * largest
    return float(active.any(0).mean()), float(active.mean())


def coverage_bars(activations: dict[str, Floats]) -> Any:
    """Draw both shares for each layer."""
    figure, chart = canvas(1.2 + 0.45 * len(activations))
    places = np.arange(len(activations))
    shares = [coverage(values) for values in activations.values()]
    chart.barh(places - 0.2, [some for some, _ in shares], 0.4, color=COLOURS[0], label="on at least one row")
    chart.barh(places + 0.2, [mean for _, mean in shares], 0.4, color=COLOURS[4], label="on the mean row")
    chart.set_yticks(places, list(activations))
    chart.invert_yaxis()
    chart.set(xlabel=f"share of units above {ACTIVE:g} of the layer's largest value", xlim=(0, 1.02))
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
