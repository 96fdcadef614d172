"""The figures of a study and of a run, drawn with matplotlib."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aecompress.errors import SpecError
from aecompress.events import Compared, Event, Generation, LayerSparsity, Started
from aecompress.spec.toml import flatten
from aecompress.study.design import slug
from aecompress.study.results import Outcome, Result
from aecompress.study.stats import summary

Floats = NDArray[np.float64]
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#777777")
"""Tol's bright scheme, told apart by colour-blind readers too."""
DASHES = ("-", "--", ":")
MANY = 8
"""Lines that one chart can bear."""
WIDTH = 7.0
"""Of every figure, in inches."""
FORMATS = ("svg", "png")
WRAP = 32
"""Letters of a group's name on a line."""


def available() -> None:
    """Make sure, before any work, that figures can be drawn.

    Raises:
        SpecError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as fault:
        raise SpecError("report: needs matplotlib for its figures; pip install 'aecompress[plot]'") from fault


def canvas(height: float) -> tuple[Any, Any]:
    """A figure of ``height`` inches with one chart."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    chart = figure.subplots()
    chart.grid(alpha=0.3)
    chart.spines[["top", "right"]].set_visible(False)
    return figure, chart


def rendered(figure: Any, kind: str) -> bytes:
    """A figure as a file of ``kind``, the same bytes every time."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "aecompress", "svg.fonttype": "none"}):
        figure.savefig(buffer, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def family(outcome: Outcome) -> str:
    """What a group's runs are, in words: canonical, or a ring and its order."""
    spec = outcome.results[0].spec
    return "canonical" if spec["mode"] == "canonical" else f"ring, {spec['evolve']['order']}"


Charts = dict[str, dict[str, Outcome]]
"""Titles of charts, and the groups on each by the name they have there."""


def charts_of(found: Sequence[Outcome], same: str = "", lines: str = "") -> Charts:
    """Which groups are drawn together.

    Every group is on some chart, on none with more than :data:`MANY`, and never one line with another.

    Args:
        same: a field of the spec that is the same for all groups of a chart; groups that do not prune are on each.
        lines: the field that tells a chart's groups apart; their names, where it does not.
    """
    split: dict[str, list[Outcome]] = {}
    for outcome in found:
        split.setdefault(family(outcome), []).append(outcome)
    charts: Charts = {}
    for kind, outcomes in split.items():
        plain = [outcome for outcome in outcomes if field_of(outcome, "prune.operator") == "none"] if same else []
        parts: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
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
    """A field of a group's spec by dotted path, as a word."""
    return str(flatten(outcome.results[0].spec)[path])


def style(number: int) -> dict[str, str]:
    """Colour, then dashes, of the ``number``-th line."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}


def band(chart: Any, curves: Sequence[Floats], label: str, number: int) -> None:
    """Median and middle half of some curves ``[T]``; of unequal length, over what all have."""
    length = min(map(len, curves))
    low, middle, high = np.quantile(np.stack([curve[:length] for curve in curves]), [0.25, 0.5, 0.75], axis=0)
    generations = np.arange(1, length + 1)
    chart.plot(generations, middle, label=label, **style(number))
    chart.fill_between(generations, low, high, alpha=0.2, linewidth=0, color=style(number)["color"])


def by_generation(title: str, groups: dict[str, Outcome], curve: str, label: str) -> Any:
    """Median over trials and the middle half of them, by generation: a line for each group.

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
    """Under the chart, in two columns where the names are short."""
    columns = 1 if max(map(len, names), default=0) > WRAP else 2
    figure.legend(loc="outside lower center", ncols=columns, fontsize="small", frameon=False)


def wrapped(found: Sequence[Outcome]) -> list[str]:
    """The groups' names on lines short enough for the side of a chart."""
    return [textwrap.fill(outcome.group.name, WRAP) for outcome in found]


def values_of(result: Result, curve: str) -> Floats:
    """A curve ``[T]`` of a run, the mean over its cells; of the loss, over those that are not lost."""
    if curve == "nonzeros":
        return result.curves.nonzeros
    loss = np.ma.masked_invalid(result.curves.loss).mean(1)
    return np.asarray(np.ma.filled(loss, np.nan), dtype=np.float64)


def capacity_boxes(found: Sequence[Outcome]) -> Any:
    """Boxes of the capacity of every trial, as published, and crosses at the parameters not zero at the end."""
    figure, chart = canvas(1.2 + 0.36 * len(found))
    places = np.arange(len(found), 0, -1)
    boxes = chart.boxplot(
        [outcome.capacities for outcome in found], positions=places, orientation="horizontal", widths=0.6,
        patch_artist=True, medianprops={"color": "black"},
    )  # fmt: skip
    for number, box in enumerate(boxes["boxes"]):
        box.set(facecolor=COLOURS[number % len(COLOURS)], alpha=0.6)
    ends = [np.mean([result.nonzero for result in outcome.results]) for outcome in found]
    chart.plot(ends, places, "kx", label="not zero at the end, mean")
    chart.set(xlabel="capacity", xlim=(-0.02, 1.02))
    chart.set_yticks(places, wrapped(found))
    legend(figure)
    return figure


def trials(found: Sequence[Outcome]) -> Any:
    """Every trial as a dot, the mean with its interval as a bar, the published mean as a diamond."""
    figure, chart = canvas(1.4 + 0.36 * len(found))
    expected = [(outcome.group.expected, place) for place, outcome in enumerate(reversed(found), 1)]
    for place, outcome in enumerate(reversed(found), 1):
        colour = COLOURS[(len(found) - place) % len(COLOURS)]
        values, numbers = outcome.losses, summary(outcome.losses)
        spread = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else np.zeros(1)
        chart.plot(values, place + spread, ".", color=colour, alpha=0.6)
        chart.plot([numbers.low, numbers.high], [place, place], color=colour, linewidth=4, alpha=0.5)
        chart.plot(numbers.mean, place, "|", color="black", markersize=12)
    known = [(value, place) for value, place in expected if value is not None]
    if known:
        chart.plot(*zip(*known, strict=True), "D", color="black", fillstyle="none", label="published mean")
        legend(figure)
    chart.set(xlabel=f"training {found[0].metric}")
    chart.set_yticks(range(1, len(found) + 1), wrapped(found)[::-1])
    return figure


def best_of_each(title: str, groups: dict[str, Outcome]) -> Any:
    """The curve of the best trial of each group, its cells as thin lines."""
    figure, chart = canvas(4.6)
    for number, (name, outcome) in enumerate(groups.items()):
        result = min(outcome.results, key=lambda result: result.loss)
        generations, colour = np.arange(1, len(result.curves.loss) + 1), style(number)["color"]
        chart.plot(generations, result.curves.loss, color=colour, alpha=0.2, linewidth=0.8)
        chart.plot(generations, values_of(result, "loss"), label=f"{name}, seed {result.seed}", **style(number))
    chart.set(xlabel="generation", ylabel=f"training {result.metric}", title=title)
    legend(figure, groups)
    return figure


def best_groups(found: Sequence[Outcome]) -> list[Outcome]:
    """The group of each family and operator with the lowest loss."""
    best: dict[tuple[str, str], Outcome] = {}
    for outcome in sorted(found, key=lambda outcome: float(outcome.losses.mean())):
        best.setdefault((family(outcome), field_of(outcome, "prune.operator")), outcome)
    return [outcome for outcome in found if outcome in best.values()]


def study_figures(found: Sequence[Outcome]) -> dict[str, tuple[str, Any]]:
    """Every figure of a study: file name, caption and figure."""
    loss, every = f"training {found[0].metric}", charts_of(found)
    spread = "median over trials, and the middle half of them."
    drawn = {
        "trials": (
            "Every trial, mean over its cells; the mean of each group with its 95 % interval, and what was published.",
            trials(found),
        )
    }
    for title, groups in every.items():
        caption = f"Loss by generation, {title}, mean over the cells: {spread}"
        drawn[f"loss-{slug(title)}"] = caption, by_generation(title, groups, "loss", loss)
    for field, other in (("operator", "schedule"), ("schedule", "operator")):
        for title, groups in charts_of(found, f"prune.{other}", f"prune.{field}").items():
            pruned = [outcome for outcome in groups.values() if field_of(outcome, "prune.operator") != "none"]
            told_apart = len({field_of(outcome, f"prune.{field}") for outcome in pruned}) > 1
            names = {outcome.group.name for outcome in groups.values()}
            if told_apart and all(names != {one.group.name for one in each.values()} for each in every.values()):
                caption = f"Loss by generation and {field}, {title}: {spread}"
                drawn[f"loss-by-{field}-{slug(title)}"] = caption, by_generation(title, groups, "loss", loss)
    for title, groups in charts_of(best_groups(found)).items():
        caption = f"The best trial of the best group of each operator, {title}; thin lines are its cells."
        drawn[f"best-{slug(title)}"] = caption, best_of_each(title, groups)
    drawn["capacity"] = (
        "Capacity of every trial: share of the parameters not zero at the lineage's last prune.",
        capacity_boxes(found),
    )
    for title, groups in every.items():
        caption = f"Network size over time, {title}: parameters that are not zero, mean over the cells."
        drawn[f"size-{slug(title)}"] = caption, by_generation(title, groups, "nonzeros", "non-zeros")
    return drawn


def run_figures(said: Sequence[Event], activations: dict[str, Floats]) -> dict[str, tuple[str, Any]]:
    """Every figure of a run: file name, caption and figure.

    Args:
        activations: by layer, what its units give on some rows, ``[rows, units]``; empty where no rows are kept.
    """
    past = [event for event in said if isinstance(event, Generation)]
    drawn: dict[str, tuple[str, Any]] = {}
    if past:
        generations = [event.generation for event in past]
        figure, chart = canvas(4)
        losses = np.array([event.train_loss for event in past])
        chart.plot(generations, losses, color=COLOURS[0], alpha=0.35, linewidth=0.8)
        chart.plot(generations, np.nanmin(losses, axis=1), color=COLOURS[0], label="training, best cell")
        held = np.array([event.validation_loss for event in past])
        chart.plot(generations, np.nanmin(held, axis=1), color=COLOURS[1], label="validation, best cell")
        chart.set(xlabel="generation", ylabel=past[-1].metric, yscale="log")
        chart.legend(frameon=False)
        drawn["loss"] = ("Loss by generation; thin lines are the cells.", figure)
        figure, chart = canvas(4)
        chart.plot(generations, [event.sparsity for event in past], color=COLOURS[0], alpha=0.5)
        chance = any(isinstance(event, Started) and event.spec["prune"]["drive"] == "probability" for event in said)
        label = "the schedule's chance to prune" if chance else "asked by the schedule, mean"
        chart.plot(generations, [event.target for event in past], "k--", label=label)
        chart.set(xlabel="generation", ylabel="share of zeros")
        chart.legend(frameon=False)
        drawn["sparsity"] = ("Zeros over time; a line for each cell.", figure)
    layers = [event for event in said if isinstance(event, LayerSparsity)]
    if layers:
        drawn["layers"] = ("Share of zeros in each layer over time, mean over the cells.", layer_map(layers))
    compared = [event for event in said if isinstance(event, Compared)]
    if compared:
        drawn["before_after"] = ("Bytes, and milliseconds on one thread, of every file.", sizes_and_times(compared[-1]))
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


def layer_map(layers: Sequence[LayerSparsity]) -> Any:
    """Layers down, generations across, zeros as shade."""
    figure, chart = canvas(1.2 + 0.4 * len(layers[-1].layers))
    values = np.array([np.mean(event.sparsity, axis=0) for event in layers]).T
    first, last = layers[0].generation, layers[-1].generation
    image = chart.imshow(
        values, aspect="auto", vmin=0, vmax=1, cmap="viridis", interpolation="nearest",
        extent=(first - 0.5, last + 0.5, len(values) - 0.5, -0.5),
    )  # fmt: skip
    chart.grid(False)
    chart.set_yticks(range(len(values)), layers[-1].layers)
    chart.set(xlabel="generation")
    figure.colorbar(image, label="zeros")
    return figure


def sizes_and_times(event: Compared) -> Any:
    """Bytes and milliseconds of every file, the dense model's first."""
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
    right.set(xlabel="milliseconds, one thread")
    for chart in (left, right):
        chart.grid(alpha=0.3, axis="x")
        chart.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=len(event.batches), frameon=False)
    return figure


def activation_maps(activations: dict[str, Floats]) -> Any:
    """A map for each layer: units across, rows down."""
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
    """Share of the units of a layer ``[rows, units]`` that are active on some row, and on the mean row."""
    largest = float(np.abs(values).max())
    if not largest:
        return 0.0, 0.0
    active = np.abs(values) >= ACTIVE * largest
    return float(active.any(0).mean()), float(active.mean())


def coverage_bars(activations: dict[str, Floats]) -> Any:
    """Both shares, for each layer."""
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
