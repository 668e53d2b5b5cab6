"""Statistics of the report. The patient is the unit: everything else is averaged inside it first.

Intervals are percentile bootstraps over patients (Efron and Tibshirani 1993, chapter 13), tests are
Wilcoxon signed-rank tests on paired patients with Holm's correction (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import wilcoxon

CELL = ["dataset", "method", "variant", "labels", "checkpoint"]
METRICS = ["dice", "jaccard", "hd95_mm", "asd_mm"]
DRAWS = 10_000
LEVEL = 0.95
ALPHA = 0.05

Outcome = Literal["superior", "inferior", "inconclusive"]


def patient_scores(cases: pd.DataFrame, *, by: Sequence[str] = ()) -> pd.DataFrame:
    """Mean of each patient over seeds, folds, cases and classes.

    Args:
        cases: rows of the case table.
        by: further columns that are not averaged, such as `class`.

    Returns:
        Columns `CELL`, `by`, `patient`, `METRICS`, in the order of first appearance. Distances are
        means over the counted values, NaN where a patient has none.
    """
    keys = [*CELL, *by, "patient"]
    return cases.groupby(keys, sort=False)[METRICS].mean().reset_index()


def summarize(cases: pd.DataFrame, *, by: Sequence[str] = ()) -> pd.DataFrame:
    """Means over patients with the interval of Dice.

    Args:
        cases: rows of the case table.
        by: further columns that are not averaged, such as `class`.

    Returns:
        Columns `CELL`, `by`, `seeds`, `patients`, `dice`, `dice_low`, `dice_high`, `jaccard`,
        `hd95_mm`, `asd_mm`; Dice and Jaccard in [0, 1]. A distance is NaN where no patient has one.
    """
    keys = [*CELL, *by]
    seeds = cases.groupby(keys, sort=False)["seed"].nunique()
    rows = []
    key: Any
    for key, scores in patient_scores(cases, by=by).groupby(keys, sort=False):
        low, high = bootstrap_interval(scores["dice"].to_numpy(dtype=float))
        dice, *others = scores[METRICS].mean()
        rows.append((*key, int(seeds[key]), len(scores), dice, low, high, *others))
    columns = ["seeds", "patients", "dice", "dice_low", "dice_high", *METRICS[1:]]
    return pd.DataFrame(rows, columns=[*keys, *columns])


def bootstrap_interval(values: NDArray[np.float64], *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean, from `DRAWS` draws.

    Args:
        values: (n,) finite, one per patient. With n = 1 the interval is the point.
        seed: of the draws; equal sizes share their draws.

    Returns:
        Lower and upper end, in the unit of the values.
    """
    n = len(values)
    drawn = np.random.default_rng(seed).integers(n, size=(DRAWS, n))
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values[drawn].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def signed_rank_p(differences: NDArray[np.float64]) -> float:
    """Two-sided p of the Wilcoxon signed-rank test.

    Exact up to 50 patients without ties or zeros and up to 13 with them; normal approximation
    beyond (`scipy.stats.wilcoxon`, method "auto").

    Args:
        differences: (n,) one per patient.

    Returns:
        p in (0, 1]; 1 if all differences are 0; NaN for a single patient, where no test exists.
    """
    if len(differences) < 2:
        return float("nan")
    if not differences.any():
        return 1.0
    return float(wilcoxon(differences, method="auto").pvalue)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down correction: running maximum of (m - i) p_(i), at most 1.

    Args:
        p: (m,) p-values; NaN is no test and does not count.

    Returns:
        (m,) adjusted p-values in the order given, NaN where given.
    """
    adjusted = np.full(len(p), np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def outcome(*, low: float, high: float, p: float) -> Outcome:
    """The word for a difference: corrected p and interval must agree, else "inconclusive".

    Args:
        low: lower end of the interval of the difference.
        high: upper end.
        p: corrected for the family; NaN gives "inconclusive".
    """
    if p < ALPHA and low > 0:
        return "superior"
    if p < ALPHA and high < 0:
        return "inferior"
    return "inconclusive"


def paired_differences(scores: pd.DataFrame, *, baseline: tuple[str, str] | None) -> pd.DataFrame:
    """Dice of each method minus that of the baseline, patient by patient.

    A family of tests is the methods of one data set, labelled count and checkpoint. Cells without
    the baseline, such as those of a method with all labels, are not compared.

    Args:
        scores: from `patient_scores`.
        baseline: id and variant of the method that is subtracted; None compares nothing.

    Returns:
        Columns `CELL`, `baseline`, `patients`, `difference`, `difference_low`, `difference_high`,
        `p`, `p_holm`, `outcome`; differences in [-1, 1].
    """
    columns = [*CELL, "baseline", "patients", "difference", "difference_low", "difference_high"]
    families = []
    key: Any
    other: Any
    for key, family in scores.groupby(["dataset", "labels", "checkpoint"], sort=False):
        wide = family.pivot_table(
            index="patient", columns=["method", "variant"], values="dice", sort=False
        )
        if baseline is None or baseline not in wide.columns:
            continue
        rows = []
        for other in wide.columns.drop([baseline]):
            d = (wide[other] - wide[baseline]).to_numpy(dtype=float)
            d = d.round(12)  # means of equal values may differ in the last bit: such pairs are ties
            cell = (key[0], *other, *key[1:], "-".join(filter(None, baseline)), len(d))
            rows.append((*cell, d.mean(), *bootstrap_interval(d), signed_rank_p(d)))
        frame = pd.DataFrame(rows, columns=[*columns, "p"])
        families.append(frame.assign(p_holm=holm(frame["p"].to_numpy(dtype=float))))
    empty = pd.DataFrame(columns=[*columns, "p", "p_holm"])
    table = pd.concat([f for f in families if len(f)] or [empty], ignore_index=True)
    words = [
        outcome(low=row["difference_low"], high=row["difference_high"], p=row["p_holm"])
        for row in table.to_dict("records")
    ]
    return table.assign(outcome=words)
