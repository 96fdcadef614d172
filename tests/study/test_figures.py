from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aecompress.events import LayerSparsity
from aecompress.runs.ended import read_run
from aecompress.runs.figures import FORMATS, rendered
from aecompress.study import figures
from aecompress.study.design import Group, copied
from aecompress.study.results import Curves, Outcome, Result, read_outcomes


@pytest.fixture(scope="module")
def found(finished: Path) -> tuple[Outcome, ...]:
    return read_outcomes(copied(finished), finished)


@pytest.mark.slow
def test_every_figure_of_a_study_is_drawn_in_both_formats_the_same_every_time(found: tuple[Outcome, ...]) -> None:
    drawn = figures.study_figures(found)
    assert list(drawn) == [
        "trials", "loss-canonical", "loss-ring-synchronous", "best-canonical", "best-ring-synchronous", "capacity",
        "size-canonical", "size-ring-synchronous",
    ]  # fmt: skip
    for name, (caption, figure) in drawn.items():
        svg, png = (rendered(figure, kind) for kind in FORMATS)
        assert b"<svg" in svg and png[:4] == b"\x89PNG" and caption, name
    again = figures.study_figures(found)
    for name, (_, figure) in figures.study_figures(found).items():
        assert rendered(again[name][1], "svg") == rendered(figure, "svg"), name


def test_a_line_is_the_median_over_trials_and_its_band_the_middle_half(found: tuple[Outcome, ...]) -> None:
    charts = figures.charts_of(found)
    assert list(charts) == ["canonical", "ring, synchronous"]
    for (title, groups), of in zip(charts.items(), (found[:1], found[1:]), strict=True):
        (chart,) = figures.by_generation(title, groups, "loss", "loss").axes
        assert chart.get_title() == title
        for line, outcome in zip(chart.get_lines(), of, strict=True):
            curves = np.stack([result.curves.loss.mean(1) for result in outcome.results])
            assert line.get_label() == outcome.group.name
            np.testing.assert_allclose(line.get_ydata(), np.median(curves, axis=0))


def called(name: str, operator: str, schedule: str, seeds: int = 1) -> Outcome:
    spec = {"mode": "canonical", "prune": {"operator": operator, "schedule": schedule}}
    curves = Curves(np.array([[0.5, np.nan], [0.3, 0.1]]), np.array([9.0, 8.0]))
    results = [Result(seed, Path("x"), "l1", 0.2, 0.2, 1.0, 1.0, 0.0, {}, spec, curves) for seed in range(seeds)]
    return Outcome(Group(name, "default", {}, None, None), tuple(results))


def test_every_group_is_drawn_and_none_pooled_with_another() -> None:
    grid = [called(f"{o}, {s}", o, s) for o in ("random", "variance", "wanda") for s in ("fixed", "increase", "cubic")]
    groups = [
        called("plain", "none", "cubic"),
        called("slow", "none", "cubic"),
        *grid,
        called("twin", "random", "fixed"),
    ]
    every = figures.charts_of(groups)
    assert [len(chart) for chart in every.values()] == [8, 4] and "canonical (1 of 2)" in every
    assert [outcome for chart in every.values() for outcome in chart.values()] == groups
    by_operator = figures.charts_of(groups, "prune.schedule", "prune.operator")
    assert list(by_operator) == ["canonical, fixed", "canonical, increase", "canonical, cubic"]
    assert list(by_operator["canonical, fixed"]) == ["plain", "slow", "random, fixed", "variance", "wanda", "twin"]
    assert list(by_operator["canonical, cubic"]) == ["plain", "slow", "random", "variance", "wanda"]
    by_schedule = figures.charts_of(groups, "prune.operator", "prune.schedule")
    assert list(by_schedule["canonical, wanda"]) == ["plain", "slow", "fixed", "increase", "cubic"]
    drawn = figures.study_figures(groups)
    assert [name for name in drawn if "loss-by" in name] == [
        "loss-by-operator-canonical-fixed", "loss-by-operator-canonical-increase", "loss-by-operator-canonical-cubic",
        "loss-by-schedule-canonical-random", "loss-by-schedule-canonical-variance", "loss-by-schedule-canonical-wanda",
    ]  # fmt: skip
    lines = drawn["loss-canonical-1-of-2"][1].axes[0].get_lines()
    np.testing.assert_allclose(lines[0].get_ydata(), [0.5, 0.2])  # the mean of the cells that are not lost


def test_every_trial_is_a_dot_and_what_was_published_a_diamond(found: tuple[Outcome, ...]) -> None:
    (chart,) = figures.trials(found).axes
    dots = np.concatenate([line.get_xdata() for line in chart.get_lines() if line.get_marker() == "."])
    assert sorted(dots) == sorted(loss for outcome in found for loss in outcome.losses)
    (published,) = [line for line in chart.get_lines() if line.get_marker() == "D"]
    assert published.get_xdata() == [0.5]


def test_every_figure_of_a_run_is_drawn(finished: Path) -> None:
    log = read_run(finished / "ring-random-seed-1")
    drawn = figures.run_figures(log, {"encoder.0": np.eye(3), "decoder.0": np.zeros((3, 2))})
    assert list(drawn) == ["loss", "sparsity", "layers", "before_after", "activations", "coverage"]
    for _, figure in drawn.values():
        assert rendered(figure, "png")[:4] == b"\x89PNG"
    assert "activations" not in figures.run_figures(log, {})
    layers = [event for event in log if isinstance(event, LayerSparsity)]
    shade = figures.layer_map(layers).axes[0].get_images()[0].get_array()
    np.testing.assert_allclose(shade[:, -1], np.mean(layers[-1].sparsity, axis=0))


def test_coverage_by_hand() -> None:
    values = np.array([[1.0, 0.0, 0.05], [0.0, -0.5, 0.0]])
    assert figures.coverage(values) == (2 / 3, 2 / 6)
    assert figures.coverage(np.zeros((2, 3))) == (0.0, 0.0)
