"""Ranks with the intervals that pairwise tests leave."""

from __future__ import annotations

import numpy as np

from benchmarks.statistics.ranks import rank_intervals
from tests.statistics.tables import table
from tests.statistics.test_rule import noisy


def test_rank_intervals_by_hand() -> None:
    """a beats all; b and c cannot be told apart and beat d."""
    cases = table(noisy({"d": -0.05, "b": 0.0, "a": 0.05, "c": 0.0}))
    found = rank_intervals(cases)
    places = {r.method: (r.low, r.high) for r in found}
    assert places == {"a": (1, 1), "b": (2, 3), "c": (2, 3), "d": (4, 4)}
    assert [r.rank for r in found] == [1, 2, 3, 4]
    assert {r.method: r.separable for r in found} == {"a": False, "b": True, "c": True, "d": True}


def test_pilots_rank_nothing() -> None:
    found = rank_intervals(table(noisy({"a": 0.05, "b": 0.0, "c": -0.05}, runs=4)))
    assert [r.method for r in found] == ["a", "b", "c"]
    assert {(r.low, r.high, r.separable) for r in found} == {(1, 3, False)}


def test_unconverged_inert_and_silent_methods() -> None:
    cases = table({**noisy({"a": 0.05, "b": 0.0, "c": -0.05}), "e": np.zeros((5, 20))})
    late = {r.method: (r.low, r.high) for r in rank_intervals(cases, unconverged={"b"})}
    assert late == {"a": (1, 2), "b": (1, 3), "c": (2, 3)}  # e predicts nothing
    dead = rank_intervals(cases, inert={"a": "contrast"})
    assert not any(r.separable for r in dead)


def test_distances_rank_from_the_smallest_and_ties_share_places() -> None:
    same = np.full((5, 20), 3.0)
    cases = table({"a": same, "b": same, "c": same - 1}).rename(columns={"dice": "hd95_mm"})
    found = {r.method: r.rank for r in rank_intervals(cases, metric="hd95_mm")}
    assert found == {"c": 1.0, "a": 2.5, "b": 2.5}


def test_holm_counts_all_pairs() -> None:
    """A difference that a pair alone shows is lost among the 45 pairs of ten alike methods."""
    base = np.linspace(0.4, 0.6, 20) + np.zeros((5, 1))
    runs = np.array([-2.0, -1, 0, 1, 2])[:, None] / 100
    scores = {"a": base + runs + 0.03, "b": base}  # t = 4.2 on 4 degrees of freedom, p = 0.013
    assert [r.separable for r in rank_intervals(table(scores))] == [False, True]
    scores |= {k: base + np.roll(runs, i) for i, k in enumerate("cdefghij", 1)}
    # Run variance common to all: t = 3 on 36 degrees of freedom, p = 0.005 before correction.
    assert {(r.low, r.high) for r in rank_intervals(table(scores))} == {(1, 10)}
