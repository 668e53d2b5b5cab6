"""Power against the noncentral t distribution, simulation and known variances."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.statistics.power import (
    detectable,
    detectable_folds,
    power,
)
from benchmarks.statistics.scenarios import MEASURED, Scenario, draw
from benchmarks.statistics.simulate import rates
from benchmarks.statistics.spread import Spread, measure
from tests.statistics.tables import disjoint, exact, shared, table


@pytest.mark.parametrize("runs", [3, 5, 10])
def test_runs_alone_are_the_noncentral_t(runs: int) -> None:
    spread = Spread(run=2e-4, response=0.0, residual=0.0)
    expected = exact(math.sqrt(2 * 2e-4 / runs), runs - 1)
    assert detectable(spread, runs, 20) == pytest.approx(expected, rel=0.06)


def test_folds_are_the_noncentral_t() -> None:
    spread = Spread(run=1e-4, response=5e-4, residual=10e-4)
    error = math.sqrt(2 * (1e-4 + 15e-4 / 10) / 10)
    assert detectable_folds(spread, 10, 100) == pytest.approx(exact(error, 9), rel=0.05)
    three = detectable_folds(spread, 10, 100, comparisons=3)
    assert three == pytest.approx(exact(error, 9, level=0.05 / 3), rel=0.05)


@pytest.mark.parametrize(
    ("labels", "runs", "patients", "points"),
    [(3, 5, 20, 5.5), (3, 10, 20, 4.0), (3, 10, 100, 3.0), (7, 5, 20, 3.4), (7, 10, 20, 2.8)],
)
def test_figures_of_the_review(labels: int, runs: int, patients: int, points: float) -> None:
    """Simulated independently from the same variances; the number of methods was not recorded."""
    found = detectable(MEASURED[labels], runs, patients, methods=5)
    assert 100 * found == pytest.approx(points, rel=0.12)


def test_an_effect_of_the_detectable_size_is_found_in_80_of_100() -> None:
    effect = detectable(MEASURED[7], 6, 30, methods=5)
    found = rates(
        Scenario("", 7, runs=6, patients=30, methods=5, effect=effect), benchmarks=1500, seed=1
    )
    assert found.power_test == pytest.approx(0.8, abs=0.03)


def test_measured_variances_are_those_drawn() -> None:
    g = np.random.default_rng(2)
    crossed = draw(Scenario("", 3, runs=30, patients=60, methods=8), 1, g)[0, :, :, 0]
    found, true = measure((crossed,)), MEASURED[3]
    assert found.residual == pytest.approx(true.residual, rel=0.05)
    assert found.response == pytest.approx(true.response, rel=0.15)
    assert found.run == pytest.approx(true.run, rel=0.25)
    folds = draw(Scenario("", 3, "cross-validation", 40, 800, methods=8), 1, g)[0]
    found = measure(tuple(folds[:, f] for f in range(40)))
    assert found.response == pytest.approx(true.response + true.residual, rel=0.05)
    assert found.run == pytest.approx(true.run, rel=0.35)
    assert found.residual == 0


def simulated(runs: int, *, patients: int = 20) -> pd.DataFrame:
    scores = draw(Scenario("", 7, runs=runs, patients=patients), 1, np.random.default_rng(3))[0]
    return table({f"m{i}": scores[i, :, 0] for i in range(5)})


def test_needs_shrink_with_the_effect_and_agree_with_the_table() -> None:
    (small,), (large,) = (power(simulated(6), effect=e) for e in (0.025, 0.05))
    assert (small.design, small.methods, small.runs, small.patients) == ("crossed", 5, 6, 20)
    assert small.note == "" and small.fold_size == 20
    assert large.runs_needed == 5
    assert small.folds_needed is not None and large.folds_needed is not None
    assert small.folds_needed > large.folds_needed
    assert small.patients_needed is not None and large.patients_needed is not None
    assert small.patients_needed > large.patients_needed
    sizes = {(d.runs, d.patients): d.difference for d in small.table}
    assert sizes[5, 20] > sizes[20, 20] > sizes[20, 200]
    assert small.seen == pytest.approx(detectable(small.spread, 6, 20, methods=5))
    at_least = detectable(small.spread, 6, small.patients_needed, methods=5)
    assert at_least <= 0.025 < detectable(small.spread, 6, small.patients_needed - 2, methods=5)


def test_what_cannot_be_reached_is_none() -> None:
    (found,) = power(simulated(6), effect=0.0001)
    assert (found.runs_needed, found.folds_needed, found.patients_needed) == (None, None, None)


def test_a_method_that_decides_what_could_be_seen_is_named() -> None:
    g = np.random.default_rng(4)
    scores = {f"m{i}": 0.7 + 0.02 * g.standard_normal((6, 20)) for i in range(4)}
    (calm,) = power(table(scores), effect=0.02)
    scores["m2"] = scores["m2"] + 0.2 * g.standard_normal((6, 1))
    (found,) = power(table(scores), effect=0.02)
    del scores["m2"]
    (rest,) = power(table(scores), effect=0.02)
    factor = rest.seen / found.seen
    assert calm.note == rest.note == "" and factor < 0.3
    assert found.note == (
        f"without m2, whose scores differ most, {factor:.2f} times as much could have been seen"
    )


def test_single_runs_and_pilots_say_so() -> None:
    (one,) = power(simulated(1), effect=0.02)
    assert "variation between runs is unknown" in one.note and math.isnan(one.seen)
    assert one.runs_needed is None and one.table == ()
    (three,) = power(simulated(3), effect=0.02)
    assert three.note.startswith("pilot, 3 runs") and three.seen > 0.02
    assert power(table({"m0": np.full((5, 3), 0.5)}), effect=0.02) == []


def test_designs_are_told_apart() -> None:
    g = np.random.default_rng(4)
    scores = {k: g.uniform(0.4, 0.6, (6, 2, 10)) for k in "abc"}
    (folds,) = power(disjoint(scores), effect=0.02)
    assert (folds.design, folds.runs, folds.patients, folds.fold_size) == (
        "cross-validation", 6, 60, 10,
    )  # fmt: skip
    assert folds.seen == pytest.approx(detectable_folds(folds.spread, 6, 60))
    (subsets,) = power(shared(scores), effect=0.02)
    assert (subsets.design, subsets.runs, subsets.patients) == ("crossed", 6, 10)
