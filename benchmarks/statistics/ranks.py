"""Average ranks of several methods, with Nemenyi's critical differences (Demsar 2006)."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from scikit_posthocs import posthoc_nemenyi_friedman
from scipy.stats import friedmanchisquare

from benchmarks.statistics.pairs import CELL, Key


@dataclass(frozen=True)
class Ranks:
    """Ranks of the methods that all have a score for every patient; 1 is best.

    Attributes:
        key: data set, labelled count, checkpoint.
        patients: that all methods share.
        mean: average rank by method key, best first.
        p: of Friedman's test that all are alike; NaN for fewer than 3 methods.
        pairwise: Nemenyi p of every pair of methods.
        left_out: patients without a score of every method.
    """

    key: Key
    patients: int
    mean: pd.Series[float]
    p: float
    pairwise: pd.DataFrame
    left_out: tuple[str, ...]


def rank_methods(scores: pd.DataFrame, key: Key) -> Ranks | None:
    """Ranks over the patients of one data set, labelled count and checkpoint; ties share ranks.

    Args:
        scores: from `patient_runs`.
        key: data set, labelled count, checkpoint.

    Returns:
        None for fewer than 3 methods or 2 patients, where there is nothing to rank.
    """
    chosen = (scores[CELL] == list(key)).all(axis=1)
    wide = scores[chosen].pivot_table(index="patient", columns="key", values="score", sort=False)
    whole = wide.dropna()
    if whole.shape[1] < 3 or len(whole) < 2:
        return None
    mean = whole.rank(axis=1, ascending=False).mean().sort_values()
    alike = bool(whole.eq(whole.iloc[:, 0], axis=0).all(axis=None))
    p = 1.0 if alike else float(friedmanchisquare(*whole.to_numpy().T).pvalue)
    pairwise = posthoc_nemenyi_friedman(whole)
    return Ranks(key, len(whole), mean, p, pairwise, tuple(wide.index.difference(whole.index)))
