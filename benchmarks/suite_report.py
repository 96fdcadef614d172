"""The table and the figure of the suite, from its results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from suite_stack import Member

BASELINE = "magnitude"
FLOORS = ("constant", "pca")
"""What has no sparsity: the error is that of every row."""
OURS = ("ours", "tuned")
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10)
"""Of the figure's axis, which ends with them; what lies beyond is not shown."""


class Trained(Protocol):
    """One trained model, as a line of the results has it."""

    @property
    def member(self) -> Member: ...
    @property
    def set(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def validation(self) -> float: ...
    @property
    def test(self) -> float: ...


class Row(NamedTuple):
    """One set at one sparsity."""

    set: str
    sparsity: float
    errors: dict[str, list[float]]
    """Test errors of each method by seed, with the setting that was chosen."""

    def mean(self, method: str) -> float:
        """Return a method's mean error; not a number where it has none."""
        return statistics.fmean(self.errors[method]) if self.errors.get(method) else math.nan

    def ratio(self, method: str, other: str) -> float:
        """Return a method's mean error as a share of another's; 1 where both are 0."""
        ours, theirs = self.mean(method), self.mean(other)
        if theirs == 0:
            return 1.0 if ours == 0 else math.nan if math.isnan(ours) else math.inf
        return ours / theirs

    def best_other(self) -> str:
        """Return the sparse-training method, but magnitude, with the lowest error; "" without any."""
        others = [name for name in self.errors if name not in (BASELINE, *FLOORS, *OURS)]
        return min(others, key=self.mean, default="")


def chosen(lines: Iterable[Trained], seed: int = 0) -> tuple[float, float | str]:
    """Return the rate and option with the lowest loss on validation rows, of one set, method and sparsity."""
    best = min((line for line in lines if line.member.seed == seed), key=lambda line: line.validation)
    return best.member.rate, best.member.option


def rows_of(lines: Sequence[Trained], sparsities: Sequence[float], seeds: int) -> list[Row]:
    """Return a row for each set and sparsity, in order of the sets' first lines."""
    found = []
    for name in dict.fromkeys(line.set for line in lines):
        for sparsity in sparsities:
            errors: dict[str, list[float]] = {}
            for method in dict.fromkeys(line.method for line in lines if line.set == name):
                at = 0.0 if method in FLOORS else sparsity
                own = [line for line in lines if (line.set, line.method, line.member.sparsity) == (name, method, at)]
                if own:
                    setting = chosen(own)
                    by_seed = {
                        line.member.seed: line.test
                        for line in own
                        if (line.member.rate, line.member.option) == setting and line.member.seed < seeds
                    }
                    errors[method] = list(by_seed.values())
            found.append(Row(name, sparsity, errors))
    return found


def geometric(values: Iterable[float]) -> float:
    """Return the geometric mean of those values that are finite and above 0; not a number without any."""
    logs = [math.log(value) for value in values if 0 < value < math.inf]
    return math.exp(statistics.fmean(logs)) if logs else math.nan


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation, to four digits of the mean."""
    if not values:
        return ""
    mean = statistics.fmean(values)
    text = f"{mean:.4g}"
    return text if len(values) < 2 else f"{text} ± {statistics.stdev(values):.1g}"


def share(value: float) -> str:
    """Return a ratio as the table has it."""
    return "" if math.isnan(value) else f"{value:.3f}"


def table(rows: Sequence[Row], methods: Sequence[str]) -> str:
    """Return the table of test errors and the ratios that matter, and below it their means and worst, in Markdown."""
    heads = ["set", "sparsity", *methods, "ours / magnitude", "ours / best other", "ours / PCA", "tuned / magnitude"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        errors = [spread(row.errors.get(method, [])) for method in methods]
        best = row.best_other()
        beside = share(row.ratio("ours", best))
        ratios = [
            share(row.ratio("ours", BASELINE)),
            f"{beside} ({best})" if beside else "",
            share(row.ratio("ours", "pca")),
            share(row.ratio("tuned", BASELINE)),
        ]
        lines.append("| " + " | ".join([row.set, f"{row.sparsity:.0%}", *errors, *ratios]) + " |")
    return "\n".join([*lines, "", *summary(rows)])


def summary(rows: Sequence[Row]) -> list[str]:
    """Return, for each sparsity, geometric mean and worst set of the ratios of the acceptance, in Markdown."""
    lines = [
        "| sparsity | ours / magnitude: geometric mean, worst | ours / best other | ours / PCA | tuned / magnitude |",
        "|---|---|---|---|---|",
    ]
    for sparsity in dict.fromkeys(row.sparsity for row in rows):
        own = [row for row in rows if row.sparsity == sparsity]
        cells = []
        for ratio in (
            lambda row: row.ratio("ours", BASELINE),
            lambda row: row.ratio("ours", row.best_other()),
            lambda row: row.ratio("ours", "pca"),
            lambda row: row.ratio("tuned", BASELINE),
        ):
            values = {row.set: ratio(row) for row in own if not math.isnan(ratio(row))}
            worst = max(values, key=lambda name: values[name], default="")
            cells.append(f"{geometric(values.values()):.3f}, {values[worst]:.3f} ({worst})" if values else "")
        lines.append(f"| {sparsity:.0%} | " + " | ".join(cells) + " |")
    return lines


def figure(rows: Sequence[Row], methods: Sequence[str], path: Path) -> None:
    """Draw each method's error as a share of tuned magnitude's, per set and sparsity."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    sparsities = list(dict.fromkeys(row.sparsity for row in rows))
    names = list(dict.fromkeys(row.set for row in rows))[::-1]
    drawn = Figure(figsize=(3.2 * len(sparsities) + 1.5, 0.34 * len(names) + 1.6), layout="constrained")
    charts = drawn.subplots(1, len(sparsities), sharey=True, squeeze=False)[0]
    others = [name for name in methods if name not in (BASELINE, "constant", *OURS)]
    marks = dict(zip(others, "x+1v^s", strict=False)) | {"ours": "o", "tuned": "."}
    colours = {name: f"C{place}" for place, name in enumerate(others, 4)} | {"ours": "C3", "tuned": "C1"}
    for chart, sparsity in zip(charts, sparsities, strict=True):
        own = {row.set: row for row in rows if row.sparsity == sparsity}
        chart.axvline(1, color="k", linewidth=0.8)
        for method in [name for name in methods if name in marks]:
            points = [(own[name].ratio(method, BASELINE), place) for place, name in enumerate(names)]
            points = [point for point in points if 0 < point[0] < math.inf]
            if points:
                style = {"color": colours[method], "marker": marks[method], "linestyle": "none", "markersize": 5}
                chart.plot(*zip(*points, strict=True), label=method, **style)
        chart.set(xscale="log", title=f"{sparsity:.0%} zeros", xlabel="test error / tuned magnitude's")
        chart.set_yticks(range(len(names)), names)
        low, high = chart.get_xlim()
        chart.set_xlim(max(low, TICKS[0]) / 1.1, min(high, TICKS[-1]) * 1.1)
        chart.set_xticks(TICKS, map(str, TICKS))
        chart.xaxis.set_minor_locator(NullLocator())
        chart.grid(alpha=0.3, which="both")
    handles = {
        label: handle for chart in charts for handle, label in zip(*chart.get_legend_handles_labels(), strict=True)
    }
    drawn.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=len(handles))
    drawn.savefig(path)
