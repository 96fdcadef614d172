from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from aecompress.study.design import Claim, Group
from aecompress.study.results import Curves, Outcome, Result
from aecompress.study.stats import agreement, findings, holm, rank_test, summary

SAMPLES = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=8)


def outcome(name: str, losses: list[float], expected: float | None = None, within: float | None = None) -> Outcome:
    curves = Curves(np.zeros((1, 1)), np.zeros(1))
    results = tuple(
        Result(seed, Path("x"), "l1", loss, loss, 1.0, 1.0, 0.0, {}, {}, curves) for seed, loss in enumerate(losses)
    )
    return Outcome(Group(name, "default", {}, expected, within), results)


def test_a_summary_by_hand() -> None:
    got = summary(np.array([1.0, 2.0, 3.0, 10.0]))
    assert (got.count, got.mean, got.median, got.least, got.most) == (4, 4.0, 2.5, 1.0, 10.0)
    assert got.std == pytest.approx(math.sqrt((9 + 4 + 1 + 36) / 3))
    assert 1.0 < got.low < 4.0 < got.high < 10.0


def test_the_interval_is_the_percentile_bootstrap() -> None:
    values = np.random.default_rng(0).normal(size=30)
    got = summary(values)
    draws = np.random.default_rng(1).choice(values, (20_000, 30)).mean(1)
    assert (got.low, got.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.02)
    assert got == summary(values)


def test_one_value_is_its_own_interval() -> None:
    got = summary(np.array([0.25]))
    assert (got.low, got.mean, got.high, got.std) == (0.25, 0.25, 0.25, 0.0)


@given(SAMPLES, SAMPLES)
def test_the_effect_counts_pairs_and_the_p_value_is_scipys(first: list[float], second: list[float]) -> None:
    got = rank_test(np.array(first), np.array(second))
    wins = sum(1.0 if a < b else 0.5 if a == b else 0.0 for a, b in itertools.product(first, second))
    assert got.effect == pytest.approx(wins / (len(first) * len(second)))
    assert got.p == scipy_stats.mannwhitneyu(first, second, alternative="two-sided").pvalue
    assert got.difference == pytest.approx(np.mean(first) - np.mean(second))


def test_the_p_value_of_separated_samples_counts_arrangements() -> None:
    got = rank_test(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0, 7.0]))
    assert got.p == pytest.approx(2 / math.comb(7, 3))
    assert got.effect == 1.0 and got.low < got.difference < got.high < 0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_no_correction_and_bonferronis_and_keeps_the_order(p: list[float]) -> None:
    got = holm(p)
    assert all(one <= after <= min(1, one * len(p)) + 1e-12 for one, after in zip(p, got, strict=True))
    assert all(got[a] <= got[b] for a in range(len(p)) for b in range(len(p)) if p[a] < p[b])


LOW, HIGH = [float(i) / 100 for i in range(10)], [0.5 + float(i) / 100 for i in range(10)]


@pytest.mark.parametrize(
    ("first", "second", "within", "verdict"),
    [
        (LOW, HIGH, None, "holds"),
        (HIGH, LOW, None, "the opposite holds"),
        (LOW, LOW, None, "not shown"),
        (LOW, HIGH, 0.2, "they differ"),
        (LOW, HIGH, 0.7, "alike to 0.7"),
        (LOW, LOW, 0.05, "alike to 0.05"),
        (LOW, LOW, 0.01, "not decided"),
        (LOW, [0.5], None, "too few trials"),
        (LOW, [], 0.1, "too few trials"),
    ],
)
def test_a_verdict(first: list[float], second: list[float], within: float | None, verdict: str) -> None:
    groups = [outcome(name, values) for name, values in (("a", first), ("b", second)) if values]
    (found,) = findings([Claim("a is lower", "a", "b", within)], groups)
    assert found.verdict == verdict
    assert (found.test is None) == math.isnan(found.corrected)


def test_p_values_are_corrected_over_the_claims_that_could_be_tested() -> None:
    groups = [outcome("a", LOW), outcome("b", HIGH), outcome("c", [0.1])]
    claims = [Claim("1", "a", "b"), Claim("2", "a", "c"), Claim("3", "b", "a"), Claim("4", "a", "b", 0.1)]
    found = findings(claims, groups)
    plain = scipy_stats.mannwhitneyu(LOW, HIGH).pvalue
    assert [finding.corrected for finding in found if finding.test] == pytest.approx([2 * plain, 2 * plain, plain])


def test_losses_of_different_measures_are_not_compared() -> None:
    other = outcome("b", HIGH)
    other = dataclasses.replace(other, results=tuple(dataclasses.replace(r, metric="mse") for r in other.results))
    (found,) = findings([Claim("1", "a", "b")], [outcome("a", LOW), other])
    assert found.test is None and found.verdict == "l1 and mse cannot be compared"


def test_agreement_with_what_was_published() -> None:
    assert agreement(outcome("a", [0.1]), 0.1) == ""
    assert agreement(outcome("a", [0.1], 0.2), 0.1) == "-0.100"
    assert agreement(outcome("a", [0.1], 0.2, 0.1), 0.11) == "yes"
    assert agreement(outcome("a", [0.1], 0.2, 0.05), 0.3) == "no, +0.100"
