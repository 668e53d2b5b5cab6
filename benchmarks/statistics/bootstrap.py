"""Interval of a mean difference over two levels: training runs and patients.

Draws resample folds (labelled subsets), runs inside a fold and patients (Davison and Hinkley 1997,
3.8). Their plain percentiles do not cover as promised: few runs make them too narrow, and the noise
of a patient in a run is drawn at both levels. So the draws give the shape, and are scaled to the
variance of the two-way analysis, (MS_runs + MS_patients - MS_noise) / (runs x patients), and to
Student's quantile with Satterthwaite's degrees of freedom (1946). The coverage is measured by
`benchmarks/statistics/simulate.py`.

With few runs MS_runs is too small by chance too often. Where more than two methods are compared, it
is that of the two methods or the one common to all of them, the larger: the latter has more degrees
of freedom, but must not hide that these two vary more than the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

DRAWS = 10_000
LEVEL = 0.95

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Mean and interval, in the unit of the differences.

    Attributes:
        mean: over folds, runs and patients.
        low: lower end.
        high: upper end.
        p: two-sided, of Student's test with the same variance that the mean is 0; NaN where there
            is no variance to see.
        covers_runs: whether the variation between training runs is in it; not with a single run.
    """

    mean: float
    low: float
    high: float
    p: float
    covers_runs: bool


@dataclass(frozen=True)
class _Variance:
    """Variance of a mean, and its degrees of freedom; infinite where there is nothing to see."""

    value: float
    freedom: float


def _between_runs(by_run: Values, peers: Values | None) -> tuple[float, int]:
    """Mean square between runs of a difference of two methods, and its degrees of freedom.

    Args:
        by_run: (runs,) mean difference of every run, centred.
        peers: (methods, runs) mean score of every compared method, or None.
    """
    freedom = len(by_run) - 1
    own = float((by_run**2).sum()) / freedom, freedom
    if peers is None or len(peers) < 3:
        return own
    rest = peers - peers.mean(0) - peers.mean(1, keepdims=True) + peers.mean()
    freedom *= len(peers) - 1
    # A difference of two methods varies twice as much as one.
    return max(own, (2 * float((rest**2).sum()) / freedom, freedom))


def _of_fold(fold: Values, peers: Values | None) -> _Variance:
    """Variance of the mean of a (runs, patients) table of random runs and random patients."""
    runs, patients = fold.shape
    if max(runs, patients) < 2:
        return _Variance(np.inf, 1.0)
    mean = fold.mean()
    by_run, by_patient = fold.mean(1) - mean, fold.mean(0) - mean
    if min(runs, patients) < 2:
        n, effect = (patients, by_patient) if patients > 1 else (runs, by_run)
        return _Variance(float((effect**2).sum()) / (n - 1) / n, n - 1)
    noise = fold - mean - by_run[:, None] - by_patient
    between, freedom = _between_runs(by_run, peers)
    squares = [
        (runs * (by_patient**2).sum(), patients - 1),
        (-(noise**2).sum(), (runs - 1) * (patients - 1)),
    ]
    parts = [(between / runs, freedom)]
    parts += [(float(total) / df / fold.size, df) for total, df in squares]
    # The sum can fall below its largest part by chance.
    value = max(sum(part for part, _ in parts), *(part for part, _ in parts))
    spread = sum(part**2 / df for part, df in parts)
    least = min(runs, patients) - 1
    return _Variance(value, max(value**2 / spread, least) if spread else np.inf)


def _variance(folds: tuple[Values, ...], peers: tuple[Values | None, ...]) -> _Variance:
    """Variance of the mean over folds: from inside the folds or between them, the larger."""
    inside = [_of_fold(fold, own) for fold, own in zip(folds, peers, strict=True)]
    value = sum(v.value for v in inside) / len(folds) ** 2
    spread = sum((v.value / len(folds) ** 2) ** 2 / v.freedom for v in inside)
    within = _Variance(value, value**2 / spread if 0 < spread < np.inf else np.inf)
    if len(folds) < 2:
        return within
    between = float(np.var([fold.mean() for fold in folds], ddof=1)) / len(folds)
    return within if within.value >= between else _Variance(between, len(folds) - 1)


def _drawn_means(folds: tuple[Values, ...], draws: int, seed: int) -> Values:
    """(draws,) means of resampled folds, runs and patients."""
    generator = np.random.default_rng(seed)

    def weights(n: int) -> Values:
        return np.asarray(generator.multinomial(n, np.full(n, 1 / n), size=draws) / n)

    moved = np.stack(
        [
            np.einsum("bs,sp,bp->b", weights(len(f)), f, weights(f.shape[1]), optimize=True)
            for f in folds
        ]
    )
    return np.asarray((weights(len(folds)) * moved.T).sum(1))


def hierarchical_interval(
    folds: tuple[Values, ...],
    *,
    peers: tuple[Values | None, ...] | None = None,
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Interval of the mean over folds, runs and patients.

    Args:
        folds: one (runs, patients) array of differences per fold, at least one.
        peers: per fold the (methods, runs) mean scores of all compared methods in the same runs and
            patients, or None where they are not complete.
        level: of the interval.
        draws: number of resamples.
        seed: of the draws; equal shapes share them.

    Returns:
        The interval; infinite for a single patient in a single run.
    """
    mean = float(np.mean([fold.mean() for fold in folds]))
    covers = any(len(fold) > 1 for fold in folds)
    variance = _variance(folds, peers or (None,) * len(folds))
    if np.isinf(variance.value):
        return Interval(mean, -np.inf, np.inf, np.nan, covers)
    drawn = _drawn_means(folds, draws, seed)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]) - mean
    spread = drawn.std()
    error = np.sqrt(variance.value)
    scale = error / spread * t.ppf(1 - tail, variance.freedom) / norm.ppf(1 - tail) if spread else 0
    p = 2 * t.sf(abs(mean) / error, variance.freedom) if error else float(mean == 0)
    ends = (mean + float(scale * low), mean + float(scale * high))
    return Interval(mean, *ends, float(p), covers)


def detectable_effect(differences: Values, *, power: float = 0.8, level: float = LEVEL) -> float:
    """Smallest mean difference that a two-sided paired test finds with this power.

    `(t_{1 - alpha/2} + t_{power}) s / sqrt(n)` with n - 1 degrees of freedom (Julious 2010, 3.2),
    s the standard deviation of the differences; NaN for fewer than 2 patients.
    """
    n = len(differences)
    if n < 2:
        return float("nan")
    quantiles = t.ppf(1 - (1 - level) / 2, n - 1) + t.ppf(power, n - 1)
    return float(quantiles * differences.std(ddof=1) / np.sqrt(n))
