"""Mean squares, estimates and corrections, and what must not change the rule's answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.statistics.difference import Difference
from benchmarks.statistics.inference import (
    Estimate,
    crossed,
    decide,
    holm,
    look_factor,
    pooled,
    squares,
)
from benchmarks.statistics.rule import compare
from tests.statistics.tables import AB, Values, contrast, exact, table, two_way


def test_mean_squares_of_a_textbook_example() -> None:
    """Penicillin yields of Box, Hunter and Hunter (1978, 7.1): 5 blends x 4 treatments."""
    yields = np.array(
        [[89, 88, 97, 94], [84, 77, 92, 79], [81, 87, 87, 85], [87, 92, 89, 84], [79, 81, 80, 88]],
        dtype=float,
    )
    found = squares(yields)
    assert found.mean == 86
    assert (found.run, found.patient) == pytest.approx((264 / 4, 70 / 3))
    assert found.residual == pytest.approx(226 / 12)


def test_variance_is_not_below_its_largest_part_nor_freedom_below_the_smaller_size() -> None:
    """Residuals that cancel in every run and patient leave nothing for the sum."""
    d = np.array([[1.0, -1, 0, 0], [-1, 1, 0, 0], [0, 0, 1, -1], [0, 0, -1, 1]]) + 0.5
    d += 0.01 * np.arange(4)[:, None]
    run, patient, rest = two_way(d)
    assert run + patient - rest < 0 < run
    e = crossed(squares(d))
    assert e.error == pytest.approx(math.sqrt(run / 16))
    assert e.freedom == 3


def test_pooled_square_of_two_methods_is_that_of_the_pair() -> None:
    g = np.random.default_rng(1)
    means = g.normal(size=(2, 5))
    assert pooled(means, 7).square == pytest.approx(7 * (means[0] - means[1]).var(ddof=1))
    assert pooled(means, 7).freedom == 4


def test_every_p_that_decides_is_corrected_for_the_looks() -> None:
    """Of the fourth table by 4 x 5, beside Holm over the comparisons of each."""
    error, freedom = np.array([0.01, 0.01]), np.array([9.0, 9.0])
    family = Estimate(np.array([0.06, 0.001]), error, freedom, error, freedom)
    once, often = (decide(family, runs=10, margin=0.03, looks=looks) for looks in (1, 4))
    for name in ("p_holm", "p_equivalent"):
        expected = np.minimum(1, 20 * getattr(once, name))
        assert getattr(often, name) == pytest.approx(expected)
    for name in ("p", "low"):
        assert np.array_equal(getattr(often, name), getattr(once, name))
    # Two comparisons, four looks and three that are to come: the first step of Holm's correction.
    waiting = decide(family, runs=10, margin=0.03, looks=4, awaited=3)
    for found, level in ((once, 0.05 / 2), (often, 0.05 / 40), (waiting, 0.05 / 100)):
        assert found.detectable == pytest.approx([exact(0.01, 9, level=level)] * 2)
    assert list(once.outcome) == ["better", "equivalent"]
    assert list(often.outcome) == ["better", "undecided"]
    many = decide(family, runs=10, margin=0.03, looks=100)
    assert list(many.outcome) == ["undecided", "undecided"]


def test_what_all_later_tables_may_err_adds_up_to_half_of_the_first() -> None:
    assert [look_factor(k) for k in (1, 2, 3)] == [1, 6, 12]
    assert sum(1 / look_factor(k) for k in range(2, 10_000)) == pytest.approx(0.5, abs=2e-4)


@pytest.mark.parametrize(("pairs", "size"), [(34, 0.5), (15, 0.8)])
def test_detectable_needs_the_pairs_that_gpower_names(pairs: int, size: float) -> None:
    """Its sizes of samples for a medium and a large effect, two-sided 0.05, power 0.8."""

    def found(n: int) -> float:
        error, freedom = np.array([n**-0.5]), np.array([n - 1.0])
        return float(
            decide(Estimate(np.zeros(1), error, freedom, error, freedom), runs=n).detectable[0]
        )

    assert found(pairs) <= size < found(pairs - 1)


def test_holm_by_hand() -> None:
    given_p = np.array([0.04, 0.01, math.nan, 0.03, 0.9])
    assert holm(given_p) == pytest.approx([0.09, 0.04, math.nan, 0.09, 0.9], nan_ok=True)
    # With one test to come, as if it had the largest p of five.
    assert holm(given_p, 1) == pytest.approx([0.12, 0.05, math.nan, 0.12, 1.0], nan_ok=True)
    both = np.array([[0.6, 0.7], [math.nan, 0.02]])
    assert holm(both).ravel() == pytest.approx([1.0, 1.0, math.nan, 0.02], nan_ok=True)


numbers = st.integers(0, 2**32 - 1)


def drawn(seed: int) -> dict[str, Values]:
    g = np.random.default_rng(seed)
    base = 0.5 + 0.1 * g.standard_normal((1, 6))
    return {
        k: base + 0.02 * g.standard_normal((5, 1)) + 0.02 * g.standard_normal((5, 6)) for k in "abc"
    }


def figures(d: Difference) -> list[float]:
    return [d.mean, d.low, d.high, d.p, d.p_false, d.p_equivalent, d.detectable, d.worst_tenth]


@settings(max_examples=25, deadline=None)
@given(numbers)
def test_swapping_the_methods_mirrors_everything(seed: int) -> None:
    cases = table(drawn(seed))
    one, other = compare(cases, AB)[0], compare(cases, [contrast("b", "a")])[0]
    mirrored = [
        -other.mean, -other.high, -other.low, other.p, 1 - other.p_false, other.p_equivalent,
        other.detectable, -other.worst_tenth,
    ]  # fmt: skip
    assert figures(one) == pytest.approx(mirrored, abs=1e-9)
    word = {"better": "worse", "worse": "better"}
    assert one.outcome == word.get(other.outcome, other.outcome)
    assert (one.wins, one.losses) == (other.losses, other.wins)


@settings(max_examples=25, deadline=None)
@given(numbers)
def test_order_of_runs_and_patients_changes_nothing(seed: int) -> None:
    scores, g = drawn(seed), np.random.default_rng(seed)
    runs, patients = g.permutation(5), g.permutation(6)
    moved = {k: v[runs][:, patients] for k, v in scores.items()}
    one, other = compare(table(scores), AB)[0], compare(table(moved), AB)[0]
    assert figures(one) == pytest.approx(figures(other), abs=1e-9)
    rows = table(scores).sample(frac=1, random_state=seed % 1000)
    assert figures(compare(rows, AB)[0]) == pytest.approx(figures(one), abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(numbers, st.floats(0.1, 50))
def test_another_unit_scales_the_differences_and_keeps_the_probabilities(
    seed: int, factor: float
) -> None:
    d = np.random.default_rng(seed).normal(0.01, 0.03, (3, 5, 8))
    estimates = [crossed(squares(x)) for x in (d, factor * d)]
    small, large = (
        decide(e, runs=5, margin=m) for e, m in zip(estimates, (0.01, 0.01 * factor), strict=True)
    )
    np.testing.assert_allclose(large.low, factor * small.low, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(large.detectable, factor * small.detectable)
    for name in ("p", "p_holm", "p_false", "p_equivalent"):
        np.testing.assert_allclose(getattr(large, name), getattr(small, name), atol=1e-12)
    assert (large.outcome == small.outcome).all()
