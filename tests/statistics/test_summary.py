"""Means, quartiles and failures of a case table, by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_1samp

from benchmarks.statistics.summary import COLUMNS, summarize
from tests.statistics.tables import disjoint, table, two_way


def cases(rows: list[tuple[str, int, str, str, float, float, str]]) -> pd.DataFrame:
    columns = ["method", "seed", "patient", "class", "dice", "hd95_mm", "empty"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(
        dataset="heart", variant="", labels=2, checkpoint="last", fold=0, jaccard=frame["dice"]
    )


ROWS = [
    ("a", 0, "p1", "LV", 0.5, 2.0, "none"),
    ("a", 0, "p1", "RV", 0.7, math.nan, "both"),
    ("a", 1, "p1", "LV", 0.7, 4.0, "none"),
    ("a", 1, "p1", "RV", 0.9, math.nan, "both"),
    ("a", 0, "p2", "LV", 0.1, 9.0, "prediction"),
    ("a", 1, "p2", "LV", 0.3, 9.0, "reference"),
]


def test_patients_weigh_equally_however_many_cases_they_have() -> None:
    found = summarize(cases(ROWS))
    row = found.iloc[0]
    assert list(found.columns)[5:] == COLUMNS
    assert row["dice"] == pytest.approx((0.7 + 0.2) / 2)
    assert row["jaccard"] == pytest.approx((0.7 + 0.2) / 2)
    assert (row["runs"], row["patients"]) == (2, 2)
    assert (row["failed"], row["failed_share"]) == (2, pytest.approx(2 / 6))
    by_class = summarize(cases(ROWS), by=["class"]).set_index("class")
    assert by_class["dice"].to_dict() == pytest.approx({"LV": (0.6 + 0.2) / 2, "RV": 0.8})
    assert by_class["failed"].to_dict() == {"LV": 2, "RV": 0}


def test_distances_are_medians_with_quartiles_over_patients() -> None:
    """Patient means 3 and 9; linear quartiles 4.5 and 7.5. Older tables lack ASSD and NSD."""
    row = summarize(cases(ROWS)).iloc[0]
    assert (row["hd95_mm"], row["hd95_low"], row["hd95_high"]) == (6.0, 4.5, 7.5)
    assert math.isnan(row["assd_mm"]) and math.isnan(row["nsd"])
    by_class = summarize(cases(ROWS), by=["class"]).set_index("class")
    assert by_class["hd95_mm"].isna().to_dict() == {"LV": False, "RV": True}
    newer = cases(ROWS).assign(assd_mm=[1.0, math.nan, 1, math.nan, 5, 5], nsd=0.5)
    found = summarize(newer).iloc[0]
    assert (found["assd_mm"], found["assd_low"], found["nsd"]) == (3.0, 2.0, 0.5)


def test_interval_covers_runs_and_patients() -> None:
    g = np.random.default_rng(0)
    scores = 0.5 + 0.03 * g.standard_normal((5, 1)) + 0.02 * g.standard_normal((5, 8))
    scores += np.linspace(0, 0.2, 8)
    row = summarize(with_jaccard(table({"a": scores}, classes=2))).iloc[0]
    run, patient, rest = two_way(scores)
    assert min(run, patient) > rest
    total = run + patient - rest
    df = total**2 / (run**2 / 4 + patient**2 / 7 + rest**2 / 28)
    half = t.ppf(0.975, df) * math.sqrt(total / 40)
    assert (row["dice_low"], row["dice_high"]) == pytest.approx(
        (scores.mean() - half, scores.mean() + half)
    )
    assert (row["runs"], row["patients"]) == (5, 8)


def test_folds_and_single_runs() -> None:
    scores = np.random.default_rng(1).uniform(0.4, 0.9, (6, 1, 3))
    row = summarize(with_jaccard(disjoint({"a": scores}))).iloc[0]
    ends = ttest_1samp(scores.mean((1, 2)), 0).confidence_interval()
    assert (row["dice_low"], row["dice_high"]) == pytest.approx((ends.low, ends.high))
    assert (row["runs"], row["patients"]) == (6, 18)
    one = summarize(with_jaccard(table({"a": scores[:, 0, 0][None]}))).iloc[0]
    ends = ttest_1samp(scores[:, 0, 0], 0).confidence_interval()
    assert (one["dice_low"], one["dice_high"]) == pytest.approx((ends.low, ends.high))
    wide = summarize(with_jaccard(table({"a": np.array([[0.1, 0.95]])}))).iloc[0]
    assert (wide["dice_low"], wide["dice_high"]) == (0, 1)


def test_methods_and_variants_are_rows_of_their_own() -> None:
    scores = {"a": np.full((2, 3), 0.5), "a-x": np.full((2, 3), 0.6), "b": np.full((2, 3), 0.7)}
    found = summarize(with_jaccard(table(scores)))
    rows = list(found[["method", "variant", "dice"]].itertuples(index=False, name=None))
    assert rows == [("a", "", 0.5), ("a", "x", pytest.approx(0.6)), ("b", "", pytest.approx(0.7))]


def with_jaccard(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(jaccard=frame["dice"], hd95_mm=1.0)
