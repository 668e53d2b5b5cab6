"""Exact signed-rank tests and Hodges-Lehmann estimates by hand and against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wilcoxon

from benchmarks.statistics.signedrank import (
    hodges_lehmann,
    null_distribution,
    signed_rank_p,
)


def test_null_distribution_of_three_ranks() -> None:
    """Sums of subsets of {1, 2, 3}: 0, 1, 2, 3 (twice), 4, 5, 6, each of 8 equally likely."""
    at_whole = null_distribution(np.array([2, 4, 6]))[::2]
    assert (at_whole * 8).tolist() == [1, 1, 1, 2, 1, 1, 1]


def test_signed_rank_by_hand() -> None:
    """Differences 1, 2, 3, -4: sum of positive ranks 6 of 10; P(T >= 6) = 7/16, two-sided 7/8."""
    d = np.array([1.0, 2.0, 3.0, -4.0])
    assert signed_rank_p(d) == pytest.approx(14 / 16)
    # All positive: 2 / 2^n.
    assert signed_rank_p(np.arange(1.0, 7)) == pytest.approx(2 / 64)


def test_zeros_are_left_out_and_ties_are_exact() -> None:
    """Ties 1, 1 have rank 1.5 each: with 3 the sums are 0, 1.5, 1.5, 3, 3, 4.5, 4.5, 6."""
    d = np.array([0.0, 1.0, 1.0, 3.0])
    assert signed_rank_p(d) == pytest.approx(2 / 8)
    # 1, -1, 3: the positive ranks sum to 4.5, P(T >= 4.5) = 3/8.
    assert signed_rank_p(np.array([1.0, -1.0, 3.0])) == pytest.approx(6 / 8)


def test_degenerate_samples() -> None:
    assert signed_rank_p(np.zeros(5)) == 1.0
    assert np.isnan(signed_rank_p(np.ones(1)))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-40, 40), min_size=3, max_size=25, unique_by=abs))
def test_signed_rank_equals_scipy_without_ties(values: list[int]) -> None:
    d = np.array(values, dtype=float)
    d = d[d != 0]
    if len(d) < 2:
        return
    assert signed_rank_p(d) == pytest.approx(float(wilcoxon(d, method="exact").pvalue))


def test_many_patients_are_judged_by_the_normal_approximation() -> None:
    """Beyond `_EXACT`; SciPy's approximation, with ties, and the exact interval of just as many."""
    g = np.random.default_rng(0)
    d = g.normal(0.06, 1, 400).round(1)
    assert signed_rank_p(d) == pytest.approx(wilcoxon(d, method="approx").pvalue, rel=1e-9)
    smooth = g.normal(0.06, 1, 400)
    tail = np.cumsum(null_distribution(2 * np.arange(1, 401))[::2])
    k = int(np.searchsorted(tail, 0.025, side="right"))
    walsh = np.sort([(a + b) / 2 for i, a in enumerate(smooth) for b in smooth[i:]])
    shift = hodges_lehmann(smooth)
    assert (shift.low, shift.high) == pytest.approx((walsh[k - 1], walsh[-k]), abs=1e-3)


def test_hodges_lehmann_by_hand() -> None:
    """Walsh averages of 1, 2, 6: 1, 1.5, 2, 3.5, 4, 6; median 2.75. With 3 there is no interval."""
    shift = hodges_lehmann(np.array([1.0, 2.0, 6.0]))
    assert shift.estimate == pytest.approx(2.75)
    assert (shift.low, shift.high) == (-np.inf, np.inf)
    # n = 6: P(T = 0) = 1/64 <= .025, P(T <= 1) = 2/64 > .025: the interval is the whole range.
    shift = hodges_lehmann(np.array([3.0, 1.0, 4.0, 1.5, 9.0, 2.6]))
    assert (shift.low, shift.high) == (1.0, 9.0)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-1, 1), min_size=6, max_size=20),
    st.floats(-2, 2),
)
def test_interval_inverts_the_test(values: list[float], move: float) -> None:
    """Shifts inside the interval are not rejected, those well outside are; both move together."""
    d = np.array(values).round(6)
    shift = hodges_lehmann(d)
    assert shift.low <= shift.estimate <= shift.high
    moved = hodges_lehmann(d + move)
    assert moved.estimate == pytest.approx(shift.estimate + move, abs=1e-9)
    assert moved.low == pytest.approx(shift.low + move, abs=1e-9)
    distinct = d + np.arange(len(d)) * 1e-4  # no ties, as the interval supposes
    exact = hodges_lehmann(distinct)
    assert signed_rank_p(distinct - exact.low + 1e-7) <= 0.05
    assert signed_rank_p(distinct - exact.low - 1e-7) > 0.05
