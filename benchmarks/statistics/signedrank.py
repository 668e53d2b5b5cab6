"""Wilcoxon's signed-rank test and the Hodges-Lehmann estimate, exact for up to `_EXACT` patients.

They describe how the patients of these very runs differ and decide nothing: they do not know the
variation between training runs, and take it for an effect of the method.

Zeros are left out of the test (Wilcoxon 1945); ties share their mean rank, and the null
distribution is that of the ranks at hand, so p is exact with ties too (Hollander, Wolfe and Chicken
2014, Nonparametric Statistical Methods, 3.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

Values = NDArray[np.float64]
# Beyond so many patients the normal approximation says the same; the exact one takes seconds.
_EXACT = 300


@dataclass(frozen=True)
class Shift:
    """Location of paired differences, in the unit of the differences.

    Attributes:
        estimate: Hodges-Lehmann estimate, the median of the Walsh averages.
        low: lower end of the interval; -inf where no interval of the level exists.
        high: upper end; inf where none exists.
    """

    estimate: float
    low: float
    high: float


def null_distribution(doubled: NDArray[np.int64]) -> Values:
    """Probabilities of the rank sum 0, 1/2, 1, ... when every sign is a fair coin.

    Args:
        doubled: (n,) twice the ranks, so that mean ranks are integers.

    Returns:
        (sum of `doubled` + 1,) float64, summing to 1.
    """
    counts = np.ones(1)
    for rank in doubled:
        longer = np.zeros(len(counts) + rank)
        longer[: len(counts)] += counts / 2
        longer[rank:] += counts / 2
        counts = longer
    return counts


def signed_rank_p(differences: Values) -> float:
    """Two-sided p of the signed-rank test that the differences are symmetric about 0.

    Args:
        differences: (n,) finite, one per patient.

    Returns:
        p in (0, 1]; 1 where all differences are 0; NaN for fewer than 2 patients.
    """
    if len(differences) < 2:
        return float("nan")
    d = differences[differences != 0]
    if not len(d):
        return 1.0
    doubled = np.rint(2 * rankdata(np.abs(d))).astype(np.int64)
    seen = int(doubled[d > 0].sum())
    if len(d) > _EXACT:
        sd = math.sqrt(float((doubled.astype(float) ** 2).sum())) / 2
        return float(2 * ndtr(-abs(seen - doubled.sum() / 2) / sd))
    distribution = null_distribution(doubled)
    tail = min(distribution[seen:].sum(), distribution[: seen + 1].sum())
    return min(2 * float(tail), 1.0)


def hodges_lehmann(differences: Values, *, level: float = 0.95) -> Shift:
    """Median of the Walsh averages and the interval that inverts the signed-rank test.

    Args:
        differences: (n,) finite, n at least 1.
        level: of the interval; it covers with at least this probability.
    """
    n = len(differences)
    first, second = np.triu_indices(n)
    walsh = np.sort((differences[first] + differences[second]) / 2)
    # The largest k with P(T <= k - 1) <= (1 - level) / 2 gives the k-th smallest and largest.
    if n > _EXACT:
        sd = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        k = int(n * (n + 1) / 4 + ndtri((1 - level) / 2) * sd)
    else:
        tail = np.cumsum(null_distribution(2 * np.arange(1, n + 1))[::2])
        k = int(np.searchsorted(tail, (1 - level) / 2, side="right"))
    low, high = (walsh[k - 1], walsh[-k]) if k else (-np.inf, np.inf)
    return Shift(float(np.median(walsh)), float(low), float(high))
