"""The decision rule against analyses written out by hand and against SciPy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_1samp

from benchmarks.common.errors import ConfigError
from benchmarks.statistics.difference import phrase
from benchmarks.statistics.rule import against, compare
from tests.statistics.tables import AB, Values, contrast, disjoint, exact, shared, table, two_way


def test_crossed_design_written_out() -> None:
    g = np.random.default_rng(0)
    d = 0.03 + 0.02 * g.standard_normal((6, 1)) + 0.05 * g.standard_normal((6, 9))
    base = g.uniform(0.3, 0.6, (6, 9))
    (found,) = compare(table({"a": base + d, "b": base}, classes=3), AB)
    run, patient, rest = two_way(d)
    variance = (run + patient - rest) / 54
    assert variance > max(run, patient) / 54
    error = math.sqrt(variance)
    df = (run + patient - rest) ** 2 / (run**2 / 5 + patient**2 / 8 + rest**2 / 40)
    mean = d.mean()
    assert (found.runs, found.patients, found.design) == (6, 9, "crossed")
    assert found.mean == pytest.approx(mean)
    assert found.p == pytest.approx(2 * t.sf(abs(mean) / error, df))
    assert found.p_holm == found.p
    half = t.ppf(0.975, df) * error
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
    assert found.detectable == pytest.approx(exact(error, df))
    assert found.p_false == pytest.approx(t.cdf(-mean / error, df))
    by_patient = d.mean(0)
    assert found.p_false_patients == pytest.approx(t.cdf(-mean / (by_patient.std(ddof=1) / 3), 8))
    above = t.sf((mean + 0.01) / error, df)
    below = t.cdf((mean - 0.01) / error, df)
    assert found.p_equivalent == pytest.approx(max(above, below))


def test_run_variance_common_to_the_family() -> None:
    """By hand: three methods, two of whose runs agree by chance."""
    patients = np.array([0.01, 0.03, 0.02])
    lines = {"a": [0.0, 0.0], "b": [0.0, 0.0], "c": [0.3, -0.3]}
    scores = {
        name: 0.5 + np.array(runs)[:, None] + np.zeros((2, 3)) for name, runs in lines.items()
    }
    scores["a"] = scores["a"] + patients
    # Run means less method and run means: +-0.1, +-0.1, -+0.2; freedom (3 - 1) x (2 - 1).
    common = 2 * 3 * 2 * (0.1**2 + 0.1**2 + 0.2**2) / 2
    of_patients = 2 * float(np.var(patients, ddof=1))
    variance = (common + of_patients) / 6
    df = (common + of_patients) ** 2 / (common**2 / 2 + of_patients**2 / 2)
    (found,) = compare(table(scores), AB)
    assert found.p == pytest.approx(2 * t.sf(0.02 / math.sqrt(variance), df))
    (wide,) = compare(table(scores), [contrast("a", "c")])
    own = 3 * 0.18  # 3 patients x variance of (-0.3, 0.3)
    assert own > common
    df = (own + of_patients) ** 2 / (own**2 / 1 + of_patients**2 / 2)
    assert wide.p == pytest.approx(2 * t.sf(0.02 / math.sqrt((own + of_patients) / 6), df))


def test_cross_validation_is_the_t_test_over_folds() -> None:
    g = np.random.default_rng(2)
    d = 0.02 + 0.03 * g.standard_normal((7, 1, 4))
    base = g.uniform(0.3, 0.6, d.shape)
    (found,) = compare(disjoint({"a": base + d, "b": base}), AB)
    expected = ttest_1samp(d.mean((1, 2)), 0)
    ends = expected.confidence_interval()
    assert (found.design, found.runs, found.patients) == ("cross-validation", 7, 28)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    alone = ttest_1samp(d.ravel(), 0, alternative="greater")
    assert found.p_false_patients == pytest.approx(alone.pvalue)


def test_seeds_of_a_fold_are_averaged() -> None:
    g = np.random.default_rng(3)
    d = 0.02 + 0.03 * g.standard_normal((5, 3, 4))
    base = np.full(d.shape, 0.5)
    (folds,) = compare(disjoint({"a": base + d, "b": base}), AB)
    assert folds.runs == 5
    assert folds.p == pytest.approx(ttest_1samp(d.mean((1, 2)), 0).pvalue)
    (subsets,) = compare(shared({"a": base + d, "b": base}), AB)
    (averaged,) = compare(table({"a": (base + d).mean(1), "b": base.mean(1)}), AB)
    assert (subsets.design, subsets.runs, subsets.patients) == ("crossed", 5, 4)
    assert replace(subsets, reason="") == replace(averaged, reason="")


def test_folds_with_the_same_patients_are_subsets_not_more_patients() -> None:
    """Bound pairs of fold and seed are simply the runs, and 6 patients stay 6."""
    g = np.random.default_rng(4)
    a, b = g.uniform(0.4, 0.6, (2, 5, 6))
    (bound,) = compare(shared({"a": a[:, None], "b": b[:, None]}), AB)
    (seeds,) = compare(table({"a": a, "b": b}), AB)
    assert bound == seeds
    assert (bound.runs, bound.patients) == (5, 6)


def test_folds_that_share_some_patients() -> None:
    g = np.random.default_rng(5)
    parts = [
        table({k: g.uniform(0.4, 0.6, (1, 4)) for k in "ab"}, fold=f, first=f) for f in range(3)
    ]
    (found,) = compare(pd.concat(parts), AB)  # 0-3, 1-4, 2-5: patients 2 and 3 are in all
    assert (found.design, found.patients) == ("crossed", 2)
    assert found.left_out == "; ".join(
        f"patient p00{i}: not tested in every fold" for i in (0, 1, 4, 5)
    )
    parts = [
        table({k: g.uniform(0.4, 0.6, (1, 4)) for k in "ab"}, fold=f, first=2 * f) for f in range(3)
    ]
    (found,) = compare(pd.concat(parts), AB)  # 0-3, 2-5, 4-7: none is in all
    assert (found.design, found.outcome) == ("none", "not tested")
    assert "share some test patients" in found.reason


def test_missing_runs_and_patients_are_listed_and_left_out() -> None:
    cases = table({k: np.full((4, 3), v) for k, v in (("a", 0.5), ("b", 0.4))})
    gone = (cases["method"] == "b") & (cases["seed"] == 2)
    cases = cases[~gone]
    unscored = (cases["method"] == "a") & (cases["seed"] == 0) & (cases["patient"] == "p001")
    cases.loc[unscored, "dice"] = math.nan
    (found,) = compare(cases, AB)
    assert (found.runs, found.patients) == (3, 2)
    assert found.left_out == "fold 0 seed 2: only a; patient p001: not scored in every run"
    absent = compare(cases, [contrast("a", "nobody")])[0]
    assert (absent.design, absent.outcome, absent.reason) == (
        "none", "not tested", "no runs of 'nobody'",
    )  # fmt: skip


def test_a_contrast_that_waits_for_its_runs_counts_in_the_family() -> None:
    """Else p would grow, and a verdict be taken back, when the last row is trained."""
    g = np.random.default_rng(3)
    cases = table({k: 0.5 + 0.03 * g.standard_normal((5, 20)) for k in "abc"})
    declared = [contrast("a", "b"), contrast("c", "b"), contrast("nobody", "b")]
    found = compare(cases, declared)
    p = sorted(d.p for d in found[:2])
    assert sorted(d.p_holm for d in found[:2]) == pytest.approx(
        [min(1, 3 * p[0]), min(1, max(3 * p[0], 2 * p[1]))]
    )


def test_means_over_other_classes_are_not_compared() -> None:
    """An easy class alone scores higher than both: without the hard one a method would seem better.

    True scores are equal, 0.8 in the easy class and 0.5 in the hard one.
    """
    g = np.random.default_rng(0)
    scores = 0.65 + 0.02 * g.standard_normal((5, 20))
    cases = table({"a": scores, "b": scores}, classes=2)
    cases["dice"] += np.where(cases["class"] == 0, 0.15, -0.15)
    gone = (cases["method"] == "b") & (cases["class"] == 1) & (cases["patient"] < "p008")
    for holed in (cases.assign(dice=cases["dice"].mask(gone)), cases[~gone]):
        (found,) = compare(holed, AB)
        assert found.mean == pytest.approx(0)
        assert found.patients == 12
        assert found.left_out.count("frames or classes that not all methods have a value of") == 8
    # What no method has a value of is no difference between them.
    (found,) = compare(cases[cases["class"] == 0], AB)
    assert (found.patients, found.left_out) == (20, "")


def test_cells_with_one_method_are_left_out() -> None:
    assert compare(table({"a": np.full((5, 3), 0.5)}), AB) == []


def noisy(effects: dict[str, float], *, runs: int = 5, seed: int = 6) -> dict[str, Values]:
    g = np.random.default_rng(seed)
    base = g.uniform(0.4, 0.6, (1, 20))
    return {k: base + e + 0.002 * g.standard_normal((runs, 20)) for k, e in effects.items()}


def test_words_of_clear_absent_and_uncertain_effects() -> None:
    scores = noisy({"a": 0.05, "b": 0.0, "c": 0.0})
    scores["d"] = scores["b"] + 0.03 * np.random.default_rng(7).standard_normal((5, 1))
    pairs = [("a", "b"), ("b", "a"), ("c", "b")]
    found = compare(table({k: scores[k] for k in "abc"}), [contrast(*pair) for pair in pairs])
    assert [d.outcome for d in found] == ["better", "worse", "equivalent"]
    assert (found[0].wins, found[0].ties, found[0].losses) == (20, 0, 0)
    (wide,) = compare(table({k: scores[k] for k in "bd"}), [contrast("d", "b")])
    assert wide.outcome == "undecided"
    assert phrase(wide) == f"undecided (could have seen {100 * wide.detectable:.1f} points)"


def test_few_runs_are_a_pilot_however_clear() -> None:
    """One run used to be called superior; its interval is that of the patients alone."""
    for runs in (1, 4):
        scores = noisy({"a": 0.05, "b": 0.0}, runs=runs)
        (found,) = compare(table(scores), AB)
        assert found.p < 1e-6
        assert found.outcome == "pilot"
        assert phrase(found) == ("pilot, 1 run" if runs == 1 else "pilot, 4 runs")
    (one,) = compare(table({k: v[:1] for k, v in scores.items()}), AB)
    expected = ttest_1samp((scores["a"] - scores["b"])[0], 0)
    assert one.p == pytest.approx(expected.pvalue, rel=1e-6)
    nested = {k: v[:3, None] + np.zeros((3, 5, 1)) for k, v in scores.items()}
    (few,) = compare(shared(nested), AB)
    assert phrase(few) == "pilot, 3 runs, labelled subsets of 5 seeds each"


def test_chance_between_runs_is_no_effect() -> None:
    """Five runs that differ by chance fool the test over patients, not the rule."""
    base = np.random.default_rng(8).uniform(0.4, 0.9, (1, 20))
    runs = np.array([[0.08], [0.0], [0.03], [-0.01], [0.04]])
    (found,) = compare(table({"a": base + runs, "b": base + np.zeros((5, 1))}), AB)
    assert found.p_signed_rank < 0.001 and found.shift_low > 0
    assert found.p == pytest.approx(ttest_1samp(runs.ravel(), 0).pvalue)
    assert found.outcome == "undecided"
    assert found.p_false_patients < 1e-9 < 0.02 < found.p_false
    # What could have been seen knows the runs too: over 3 points here, none by patients alone.
    error = runs.std(ddof=1) / math.sqrt(5)
    assert found.detectable == pytest.approx(exact(error, 4))


def test_equivalence_knows_runs_and_the_family() -> None:
    """90 % interval within +-1 point, and Holm over the family of equivalence tests."""
    g = np.random.default_rng(9)
    d = 0.001 + 0.004 * g.standard_normal((5, 1)) + 1e-4 * g.standard_normal((5, 20))
    base = g.uniform(0.4, 0.6, (5, 20))
    scores = {"a": base + d, "b": base}
    (found,) = compare(table(scores), AB)
    error = (found.high - found.mean) / t.ppf(0.975, 4)
    inside = abs(found.mean) + t.ppf(0.95, 4) * error < 0.01
    assert inside and found.outcome == "equivalent"
    scores |= {"c": base + d}
    many = compare(table(scores), [*AB, *([contrast("c", "a")] * 1), *([contrast("c", "b")] * 9)])
    assert many[0].p_equivalent > 0.05
    assert many[0].outcome == "undecided"


def test_unconverged_and_inert_go_before_the_numbers() -> None:
    cases = table(noisy({"a": 0.05, "b": 0.0, "c-x": 0.0}))
    late, other = compare(cases, [*AB, contrast("c-x", "a")], unconverged=["b"])
    assert (late.outcome, late.reason) == ("unconverged", "b not converged")
    assert phrase(late) == "unconverged: no verdict"
    assert other.outcome == "worse"
    dead, left = compare(cases, [*AB, contrast("c-x", "a")], unconverged="a", inert={"b": "x"})
    assert (dead.outcome, phrase(dead)) == ("not tested", "not tested: term x of b inert")
    assert math.isnan(dead.p) and dead.mean == pytest.approx(0.05, abs=0.002)
    assert left.outcome == "unconverged"
    assert left.p_holm == left.p  # what is not tested is no part of the family


def test_a_method_that_predicts_nothing_is_not_tested() -> None:
    scores = noisy({"a": 0.05, "b": 0.0, "c": 0.01})
    cases = table(scores, classes=2)
    empty = cases["method"] == "b"
    # Nine of ten predictions are empty where the reference is not; the rest is fine.
    cases.loc[empty & (cases["patient"] > "p001"), "empty"] = "prediction"
    family = [*AB, contrast("a", "c")]
    found = compare(cases, family)
    assert found[0].outcome == "not tested"
    assert phrase(found[0]) == "not tested: b predicts nothing"
    assert found[1].outcome == "better" and found[1].p_holm == found[1].p
    some = cases.assign(empty=cases["empty"].where(cases["patient"] != "p019", "none"))
    assert compare(some, AB)[0].outcome == "better"
    # Where the reference is empty too there was nothing to predict: 17 of 18 are left.
    fewer = some.assign(empty=some["empty"].where(some["patient"] > "p001", "both"))
    assert compare(fewer, AB)[0].reason == "b predicts nothing"
    low = table({**scores, "b": np.full((5, 20), 0.009)}).drop(columns="empty")
    assert compare(low, AB)[0].reason == "b predicts nothing"


def test_distances_are_better_when_smaller() -> None:
    scores = noisy({"a": 0.05, "b": 0.0})
    cases = table({k: 100 * v for k, v in scores.items()}).rename(columns={"dice": "hd95_mm"})
    near, far = compare(cases, [contrast("b", "a"), *AB], metric="hd95_mm")
    assert near.mean == pytest.approx(-5, abs=0.2)
    assert (near.outcome, far.outcome) == ("better", "worse")
    assert near.p_false < 1e-6 < 1 - 1e-6 < far.p_false
    assert (near.wins, near.losses, far.wins) == (20, 0, 0)
    assert math.isnan(near.p_equivalent)
    assert "mm)" in phrase(replace(near, outcome="undecided"))


def test_worst_tenth_is_chosen_by_both_methods() -> None:
    """Chosen by the second method alone the difference was +0.4 here, with no effect at all."""
    a = np.array([[0.5, 0.9, 0.3] + [0.8] * 17])
    b = np.array([[0.1, 0.9, 0.2] + [0.8] * 17])
    (found,) = compare(table({"a": a, "b": b}), AB)
    assert found.worst_tenth == pytest.approx(((0.5 - 0.1) + (0.3 - 0.2)) / 2)
    g = np.random.default_rng(10)
    chance = []
    for _ in range(40):
        scores = {k: 0.5 + 0.1 * g.standard_normal((1, 50)) for k in "ab"}
        chance.append(compare(table(scores), AB)[0].worst_tenth)
    # By one score the bias is 0.1 x 1.75 = 0.175; of the mean of 40 the standard error is 0.01.
    assert abs(np.mean(chance)) < 0.04


def test_equal_scores_and_single_patients() -> None:
    equal = {k: np.full((5, 9), 0.5) for k in "ab"}
    (found,) = compare(table(equal), AB)
    assert (found.outcome, found.p, found.mean, found.ties) == ("equivalent", 1, 0, 9)
    (one,) = compare(table({"a": np.full((5, 1), 0.9), "b": np.full((5, 1), 0.5)}), AB)
    assert (one.outcome, one.reason) == ("not tested", "a single patient")
    apart = disjoint({k: np.full((5, 1, 3), v) for k, v in (("a", 0.9), ("b", 0.5))})
    apart.loc[apart["fold"] > 0, "dice"] = np.nan
    (fold,) = compare(apart, AB)
    assert (fold.outcome, fold.patients, fold.reason) == ("not tested", 3, "a single fold")


def test_against_takes_every_other_method_of_cells_with_the_baseline() -> None:
    cases = table(noisy({"a": 0.05, "b": 0.0, "c-x": 0.0}))
    other = table(noisy({"a": 0.05, "d": 0.0})).assign(labels=3)
    found = against(pd.concat([cases, other]), "b")
    assert [(d.labels, d.better, d.than) for d in found] == [(7, "a", "b"), (7, "c-x", "b")]
    assert found == compare(cases, [contrast("a", "b"), contrast("c-x", "b")])


def test_unknown_metric_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no column 'dise'"):
        compare(table({"a": np.zeros((1, 2))}), AB, metric="dise")
