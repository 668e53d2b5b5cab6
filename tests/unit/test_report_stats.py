"""Statistics of the report against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmarks.report.facts import Facts, MethodFacts
from benchmarks.report.load import with_cell_labels
from benchmarks.report.stats import (
    bootstrap_interval,
    holm,
    outcome,
    paired_differences,
    patient_scores,
    signed_rank_p,
    summarize,
)


def cases(rows: list[tuple[str, int, str, str, float, float]]) -> pd.DataFrame:
    columns = ["method", "seed", "patient", "class", "dice", "hd95_mm"]
    frame = pd.DataFrame(rows, columns=columns)
    fixed: Any = {"dataset": "heart", "variant": "", "labels": 2, "checkpoint": "last"}
    return frame.assign(**fixed, jaccard=frame["dice"], asd_mm=frame["hd95_mm"])


def test_patients_weigh_equally_however_many_cases_they_have() -> None:
    frame = cases(
        [
            ("a", 0, "p1", "LV", 0.5, 2.0),
            ("a", 0, "p1", "RV", 0.7, math.nan),
            ("a", 1, "p1", "LV", 0.7, 4.0),
            ("a", 1, "p1", "RV", 0.9, math.nan),
            ("a", 0, "p2", "LV", 0.1, 9.0),
            ("a", 1, "p2", "LV", 0.3, 9.0),
        ]
    )
    row = summarize(frame).iloc[0]
    assert row["dice"] == pytest.approx((0.7 + 0.2) / 2)
    assert row["hd95_mm"] == pytest.approx((3 + 9) / 2)
    assert (row["seeds"], row["patients"]) == (2, 2)
    assert (row["dice_low"], row["dice_high"]) == pytest.approx((0.2, 0.7))
    by_class = summarize(frame, by=["class"]).set_index("class")["dice"]
    assert by_class["LV"] == pytest.approx((0.6 + 0.2) / 2)
    assert by_class["RV"] == pytest.approx(0.8)


def test_distances_that_nobody_has_are_nan() -> None:
    row = summarize(cases([("a", 0, "p1", "LV", 1.0, math.nan)])).iloc[0]
    assert math.isnan(row["hd95_mm"])


def test_interval_is_the_normal_one_where_theory_holds() -> None:
    values = np.random.default_rng(1).normal(0.8, 0.05, 400)
    half = 1.96 * values.std() / np.sqrt(len(values))
    expected = (values.mean() - half, values.mean() + half)
    assert bootstrap_interval(values) == pytest.approx(expected, abs=0.1 * half)


def test_interval_of_coins_has_binomial_quantiles() -> None:
    # the mean of a resample of 10 zeros and 10 ones is Binomial(20, 1/2) / 20: quantiles 6 and 14
    assert bootstrap_interval(np.repeat([0.0, 1.0], 10)) == pytest.approx((0.3, 0.7))


def test_interval_of_one_patient_is_the_point() -> None:
    assert bootstrap_interval(np.array([0.4])) == (0.4, 0.4)


def test_signed_rank_by_hand() -> None:
    assert signed_rank_p(np.array([1.0, 2, 3, 4, 5])) == pytest.approx(2 / 32)
    assert signed_rank_p(np.array([-1.0, 2, 3, 4, 5])) == pytest.approx(4 / 32)
    assert signed_rank_p(np.array([1.0, 1, 1, 1])) == pytest.approx(2 / 16)
    assert signed_rank_p(np.zeros(6)) == 1.0
    assert math.isnan(signed_rank_p(np.array([0.3])))


def test_holm_by_hand() -> None:
    given = np.array([0.04, 0.01, math.nan, 0.03, 0.9])
    assert holm(given) == pytest.approx([0.09, 0.04, math.nan, 0.09, 0.9], nan_ok=True)
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1.0, 1.0])
    assert len(holm(np.array([]))) == 0


@pytest.mark.parametrize(
    ("low", "high", "p", "word"),
    [
        (0.01, 0.1, 0.01, "superior"),
        (-0.1, -0.01, 0.01, "inferior"),
        (0.01, 0.1, 0.05, "inconclusive"),
        (-0.01, 0.1, 0.01, "inconclusive"),
        (0.01, 0.1, math.nan, "inconclusive"),
    ],
)
def test_outcome_needs_test_and_interval(low: float, high: float, p: float, word: str) -> None:
    assert outcome(low=low, high=high, p=p) == word


def test_differences_are_paired_by_patient() -> None:
    base = np.linspace(0.2, 0.9, 8)
    rows = [("supervised", 0, f"p{i}", "LV", d, 1.0) for i, d in enumerate(base)]
    rows += [("worse", 0, f"p{i}", "LV", d - 0.1, 1.0) for i, d in enumerate(base)]
    rows += [("same", 0, f"p{i}", "LV", d, 1.0) for i, d in reversed(list(enumerate(base)))]
    scores = patient_scores(cases(rows))
    table = paired_differences(scores, baseline=("supervised", "")).set_index("method")
    assert list(table.index) == ["worse", "same"]
    worse, same = table.loc["worse"], table.loc["same"]
    assert worse["difference"] == pytest.approx(-0.1)
    assert worse["p"] == pytest.approx(2 / 256)
    assert worse["p_holm"] == pytest.approx(4 / 256)
    assert worse["outcome"] == "inferior"
    assert (same["difference"], same["p"], same["outcome"]) == (0.0, 1.0, "inconclusive")


def test_differences_without_baseline_are_an_empty_table() -> None:
    table = paired_differences(
        patient_scores(cases([("a", 0, "p", "LV", 1.0, 1.0)])), baseline=("supervised", "")
    )
    assert table.empty
    assert table.columns[-1] == "outcome"


def test_folds_of_unequal_size_share_the_cell_of_a_method_with_all_labels() -> None:
    frame = cases([("full", 0, "p1", "LV", 0.5, 1.0), ("full", 0, "p2", "LV", 0.5, 1.0)])
    frame["labels"] = [16, 15]
    full = MethodFacts("full", "full", "", "Full", "", all_labels=True)
    assert with_cell_labels(frame, Facts((), (full,)))["labels"].tolist() == [16, 16]
