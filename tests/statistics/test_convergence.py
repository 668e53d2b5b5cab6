"""Converged: the 90 % interval of the gain from twice as many steps lies below one point."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.statistics.convergence import gains, leads


def scores(gain: list[float], *, first: int = 100, method: str = "a") -> pd.DataFrame:
    """Runs that end at .7 after `first` steps and gain so much from as many again."""
    rows = [
        ("heart", method, 3, run, run, steps, 0.7 + (steps > first) * value)
        for run, value in enumerate(gain)
        for steps in (first, 2 * first)
    ]
    columns = ["dataset", "method", "labels", "fold", "seed", "steps", "dice"]
    return pd.DataFrame(rows, columns=columns)


def test_the_interval_is_that_of_students_t_over_runs() -> None:
    """Mean .01, standard deviation .01, five runs; t is 2.131847 at 95 % with 4 degrees."""
    (found,) = gains(scores([0.0, 0.01, 0.02, 0.0, 0.02]))
    half = 2.131847 * 0.01 / np.sqrt(5)
    assert (found.steps, found.runs) == (100, 5)
    assert [found.low, found.mean, found.high] == pytest.approx(
        [0.01 - half, 0.01, 0.01 + half], abs=1e-8
    )


@pytest.mark.parametrize(
    ("gain", "outcome"),
    [
        ([0.004, 0.005, 0.006, 0.005, 0.005], "converged"),
        ([-0.05, -0.04, -0.06, -0.05, -0.05], "converged"),  # longer is worse: no gain is left
        ([0.011, 0.012, 0.011, 0.012, 0.011], "unconverged"),
        ([-0.03, 0.03, 0.0, -0.02, 0.02], "unconverged"),  # too noisy to tell
        ([0.0, 0.0, 0.0, 0.0], "pilot"),
    ],
)
def test_only_an_interval_below_a_point_is_converged(gain: list[float], outcome: str) -> None:
    (found,) = gains(scores(gain))
    assert found.outcome == outcome


@pytest.mark.parametrize(
    ("deviation", "runs"), [(0.0125, 12), (0.02, 27), (0.05, 156), (0.2, None)]
)
def test_the_runs_needed_are_those_of_a_t_test(deviation: float, runs: int | None) -> None:
    """Cohen's effect sizes .8, .5 and .2; G*Power 3.1: one sample, one tail, 5 %, 80 % power."""
    spread = deviation / np.sqrt(2.5) * np.array([-2, -1, 0, 1, 2])  # sums to 10 deviation^2 / 2.5
    (found,) = gains(scores(list(spread)))
    assert found.runs_needed == runs


def test_a_row_that_still_gains_needs_longer_training_not_more_runs() -> None:
    for gain, runs in (
        ([0.011, 0.012, 0.011, 0.012, 0.011], None),
        ([0.0] * 5, None),  # shown already
        ([0.0] * 2, 5),  # too few for a verdict
        ([0.0], None),
    ):
        (found,) = gains(scores(gain))
        assert found.runs_needed == runs


def test_every_doubling_is_judged_inside_the_runs_that_have_both_lengths() -> None:
    both = pd.concat([scores([0.1, 0.1, 0.1]), scores([0.1] * 2, first=200), scores([0.2])[:1]])
    both = pd.concat([both.drop_duplicates(), scores([0.0], method="b", first=50)[:1]])
    found = [(g.method, g.steps, g.runs) for g in gains(both)]
    assert found == [("a", 100, 3), ("a", 200, 2)]


def test_a_lead_is_that_over_the_other_row_in_the_same_run_at_the_same_length() -> None:
    """Both are at .7 at 100 steps; at 200 a leads by .03, .01, .02; t is 4.302653."""
    a, b = scores([0.04, 0.02, 0.05], method="a"), scores([0.01, 0.01, 0.03, 0.5], method="b")
    whole = scores([0.4, 0.4, 0.4], method="whole").assign(labels=63)
    alone = scores([0.1], method="alone").assign(fold=9, seed=9)
    found = leads(pd.concat([whole, a, b, alone]), "b")
    assert [(x.method, x.labels, x.steps, x.runs) for x in found] == [
        ("a", 3, 100, 3),
        ("a", 3, 200, 3),
    ]
    half = 4.302653 * 0.01 / np.sqrt(3)
    assert [found[1].low, found[1].mean, found[1].high] == pytest.approx(
        [0.02 - half, 0.02, 0.02 + half], abs=1e-8
    )
    wider = pd.concat([a, b, a.assign(labels=7), b.assign(labels=7)])
    assert [(x.labels, x.steps) for x in leads(wider, "b")] == [
        (3, 100), (3, 200), (7, 100), (7, 200),
    ], "row by row, so that a table can group them"  # fmt: skip
    (single,) = leads(pd.concat([a[:1], b[:1]]), "b")
    assert single.mean == 0 and np.isnan([single.low, single.high]).all()
