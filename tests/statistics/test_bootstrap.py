"""The interval over runs and patients: closed forms, edges, and its rates in simulation."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from benchmarks.statistics.bootstrap import detectable_effect, hierarchical_interval
from benchmarks.statistics.simulate import SCENARIOS, Scenario, rates


def test_single_run_is_the_t_test_over_patients() -> None:
    d = np.random.default_rng(0).normal(0.2, 1, 40)
    found = hierarchical_interval((d[None],))
    expected = ttest_1samp(d, 0)
    ends = expected.confidence_interval()
    assert found.p == pytest.approx(expected.pvalue)
    assert found.low == pytest.approx(ends.low, abs=0.03)
    assert found.high == pytest.approx(ends.high, abs=0.03)
    assert not found.covers_runs


def test_identical_patients_leave_the_t_test_over_runs() -> None:
    """With 3 runs the interval is 4.30 standard errors wide on each side."""
    runs = np.array([0.0, 1.0, 2.0])
    found = hierarchical_interval((np.repeat(runs[:, None], 10, axis=1),))
    assert found.mean == 1.0
    assert found.high - found.mean == pytest.approx(t.ppf(0.975, 2) / np.sqrt(3), rel=0.3)
    assert found.p == pytest.approx(ttest_1samp(runs, 0).pvalue)
    assert found.covers_runs


def test_noise_is_counted_once() -> None:
    """Pure noise: the variance of the mean is that of all runs x patients values."""
    widths = []
    generator = np.random.default_rng(1)
    for _ in range(40):
        noise = generator.standard_normal((8, 30))
        found = hierarchical_interval((noise,), draws=500)
        widths.append(found.high - found.low)
    assert np.median(widths) == pytest.approx(2 * 1.96 / np.sqrt(240), rel=0.25)


def test_edges() -> None:
    alone = hierarchical_interval((np.array([[0.3]]),))
    assert (alone.low, alone.high) == (-np.inf, np.inf) and np.isnan(alone.p)
    equal = hierarchical_interval((np.full((3, 5), 0.2),))
    assert (equal.low, equal.high) == pytest.approx((0.2, 0.2)) and equal.p < 1e-9
    nothing = hierarchical_interval((np.zeros((3, 5)),))
    assert (nothing.low, nothing.high, nothing.p) == (0, 0, 1)


def test_folds_that_disagree_widen_the_interval() -> None:
    generator = np.random.default_rng(2)
    folds = tuple(generator.normal(shift, 0.01, (3, 8)) for shift in (-1.0, 0.0, 1.0))
    found = hierarchical_interval(folds)
    assert found.mean == pytest.approx(0, abs=0.05)
    assert found.low < -1 and found.high > 1


def test_equal_shapes_share_their_draws() -> None:
    d = np.random.default_rng(3).normal(size=(3, 9))
    first, second = hierarchical_interval((d,)), hierarchical_interval((d + 1,))
    assert second.low == pytest.approx(first.low + 1)
    assert second.high == pytest.approx(first.high + 1)


def test_detectable_effect() -> None:
    """Standard deviation 1, n = 16: (2.131 + 0.866) / 4."""
    d = np.array([1.0, -1.0] * 8)
    assert detectable_effect(d) == pytest.approx((2.1314 + 0.8662) / 4 * d.std(ddof=1), rel=1e-3)
    assert np.isnan(detectable_effect(d[:1]))


@pytest.mark.parametrize("scenario", [SCENARIOS[1], SCENARIOS[3]], ids=lambda s: s.name)
def test_rates_in_simulation(scenario: Scenario) -> None:
    """Bounds are four standard errors from the nominal rates; the script runs far more."""
    few = replace(scenario, patients=12)
    found = rates(few, benchmarks=80, seed=7)
    assert found.false_positive <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / 80)
    assert found.coverage >= 0.95 - 4 * np.sqrt(0.05 * 0.95 / 80)
    assert found.coverage >= found.coverage_patients


def test_twenty_methods_in_thirty_seconds() -> None:
    folds = tuple(np.random.default_rng(4).normal(size=(5, 60)) for _ in range(1))
    start = time.perf_counter()
    for _ in range(19):
        hierarchical_interval(folds, draws=10_000)
    assert time.perf_counter() - start < 30


def test_peers_widen_an_interval_whose_two_runs_agree_by_chance() -> None:
    """The run variance common to the family counts, by hand; a larger one of the pair stays."""
    fold = np.array([[0.01, 0.03, 0.02], [0.01, 0.03, 0.02]])  # no variance between runs
    peers = np.array([[0.0, 0.2], [0.1, 0.1], [0.2, 0.0]])
    alone = hierarchical_interval((fold,))
    joint = hierarchical_interval((fold,), peers=(peers,))
    # Centred over methods and runs: +-0.1, 0, -+0.1, so MS = 2 * 4 * 0.01 / ((3 - 1) * (2 - 1)).
    between = 2 * 0.04 / 2
    patients = np.var([0.01, 0.03, 0.02], ddof=1)
    value = between / 2 + patients / 3
    freedom = value**2 / ((between / 2) ** 2 / 2 + (patients / 3) ** 2 / 2)
    assert joint.p == pytest.approx(2 * t.sf(0.02 / np.sqrt(value), freedom))
    assert joint.high - joint.low > alone.high - alone.low
    wild = fold + np.array([[-1.0], [1.0]])
    assert hierarchical_interval((wild,), peers=(peers,)) == hierarchical_interval((wild,))
