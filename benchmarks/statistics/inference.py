"""The decision rule in numbers: arrays in, arrays out. Tables and simulation call the same code.

A difference of two methods is d_rp, of run r and patient p. In a crossed design of R runs and n
patients both are random and every run tests every patient, so (two-way analysis of variance, one
value per cell; Searle, Casella and McCulloch 1992, 4.5)

    SE^2 = (MS_run + MS_patient - MS_residual) / (R n),

with Satterthwaite's degrees of freedom (1946). With few runs MS_run is too small by chance too
often: the mean square of the pair or the one common to all compared methods counts, the larger. In
a cross-validation every patient is tested once, the folds are the units, and SE = sd / sqrt(F).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtrinc, stdtr, stdtrit

MIN_RUNS = 5
ALPHA = 0.05
MARGIN = 0.01  # of equivalence: 1 Dice point
POWER = 0.8

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Squares:
    """Mean squares of (..., runs, patients) tables; NaN with a single run or patient.

    Attributes:
        runs: R.
        patients: n.
        mean: of all values.
        run: n times the variance of the run means, R - 1 degrees of freedom.
        patient: R times the variance of the patient means, n - 1 degrees of freedom.
        residual: of what is left, (R - 1)(n - 1) degrees of freedom.
    """

    runs: int
    patients: int
    mean: Values
    run: Values
    patient: Values
    residual: Values


@dataclass(frozen=True)
class Pooled:
    """Mean square between runs that all compared methods have in common, for a difference.

    Attributes:
        square: in the unit of `Squares.run`.
        freedom: degrees of freedom.
    """

    square: Values
    freedom: int


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error, or arrays of them.

    Attributes:
        mean: over runs and patients.
        error: standard error; NaN where nothing varies that could be seen.
        freedom: degrees of freedom of the error.
        patients_error: of patients alone, as if the runs were fixed.
        patients_freedom: of that.
    """

    mean: Values
    error: Values
    freedom: Values
    patients_error: Values
    patients_freedom: Values


@dataclass(frozen=True)
class Decision:
    """What follows from estimates; the family is the last axis.

    Attributes:
        low: lower end of the 95 % interval.
        high: upper end.
        p: two-sided, of Student's test.
        p_holm: corrected over the family.
        p_false: probability that the first method is not the better one.
        p_false_patients: the same with patients alone.
        p_equivalent: of two one-sided tests, corrected over the family; NaN without margin.
        detectable: difference called better or worse with 80 % power, whatever the other tests of
            the family say: at the level of Holm's first step, by the noncentral t distribution.
        outcome: better, worse, equivalent, undecided, pilot or not tested.
    """

    low: Values
    high: Values
    p: Values
    p_holm: Values
    p_false: Values
    p_false_patients: Values
    p_equivalent: Values
    detectable: Values
    outcome: NDArray[np.str_]


def squares(d: Values) -> Squares:
    """Two-way analysis of variance of (..., runs, patients) values."""
    runs, patients = d.shape[-2:]
    mean = d.mean((-2, -1))
    by_run, by_patient = d.mean(-1), d.mean(-2)
    rest = d - by_run[..., None] - by_patient[..., None, :] + mean[..., None, None]
    return Squares(
        runs,
        patients,
        mean,
        patients * _variance(by_run),
        runs * _variance(by_patient),
        _ratio((rest**2).sum((-2, -1)), (runs - 1) * (patients - 1)),
    )


def pooled(run_means: Values, patients: int) -> Pooled:
    """Mean square between runs that the methods have in common.

    Args:
        run_means: (..., methods, runs) mean score of every method in every run.
        patients: behind every mean.
    """
    methods, runs = run_means.shape[-2:]
    rest = (
        run_means
        - run_means.mean(-1, keepdims=True)
        - run_means.mean(-2, keepdims=True)
        + run_means.mean((-2, -1), keepdims=True)
    )
    freedom = (methods - 1) * (runs - 1)
    # A difference of two methods varies twice as much as one.
    return Pooled(2 * patients * _ratio((rest**2).sum((-2, -1)), freedom), freedom)


def crossed(s: Squares, common: Pooled | None = None) -> Estimate:
    """Mean of random runs and random patients.

    A single run leaves the patients alone; it is a pilot and never a verdict.

    Args:
        s: mean squares.
        common: broadcasts against them; None knows no other methods.
    """
    n = s.patients
    size = s.runs * n
    alone, fewest = np.sqrt(s.patient / size), np.broadcast_to(float(max(n - 1, 1)), s.mean.shape)
    if s.runs < 2 or n < 2:
        return Estimate(s.mean, alone, fewest, alone, fewest)
    run, freedom = s.run, np.broadcast_to(float(s.runs - 1), s.mean.shape)
    if common is not None and common.freedom:
        larger = common.square > run
        run = np.where(larger, common.square, run)
        freedom = np.where(larger, common.freedom, freedom)
    parts = np.stack(np.broadcast_arrays(run, s.patient, -s.residual)) / size
    degrees = np.stack(np.broadcast_arrays(freedom, n - 1, (s.runs - 1) * (n - 1)))
    # The sum can fall below its largest part by chance.
    value = np.maximum(parts.sum(0), parts.max(0))
    spread = (parts**2 / degrees).sum(0)
    least = min(s.runs, n) - 1
    satterthwaite = np.divide(value**2, spread, out=np.full_like(value, least), where=spread > 0)
    return Estimate(s.mean, np.sqrt(value), np.maximum(satterthwaite, least), alone, fewest)


def between_folds(fold_means: Values, by_patient: Values) -> Estimate:
    """Mean of the folds of a cross-validation.

    Args:
        fold_means: (..., folds).
        by_patient: (..., patients) values of all folds together, for the error of patients alone.
    """
    folds, patients = fold_means.shape[-1], by_patient.shape[-1]
    mean = fold_means.mean(-1)
    return Estimate(
        mean,
        np.sqrt(_variance(fold_means) / folds),
        np.broadcast_to(float(max(folds - 1, 1)), mean.shape),
        np.sqrt(_variance(by_patient) / patients),
        np.broadcast_to(float(max(patients - 1, 1)), mean.shape),
    )


def interval(e: Estimate, *, level: float = 1 - ALPHA) -> tuple[Values, Values]:
    """Lower and upper end: estimate -+ t SE."""
    half = stdtrit(e.freedom, (1 + level) / 2) * e.error
    return e.mean - half, e.mean + half


def decide(
    e: Estimate,
    *,
    runs: int | NDArray[np.int_],
    margin: float = MARGIN,
    less: bool = False,
    awaited: int = 0,
    looks: int = 1,
) -> Decision:
    """Tests, intervals and words for families of differences.

    Args:
        e: (..., comparisons) estimates; an error of NaN is no test and does not count in the
            family.
        runs: behind each of them.
        margin: of equivalence, in the unit of the estimates; NaN asks nothing about it.
        less: whether less is better, as for distances.
        awaited: further tests of the family, which have no data yet.
        looks: tables made of growing data, this one included; see `look_factor`.
    """
    low, high = interval(e)
    often = look_factor(looks)
    p = 2 * _below(-np.abs(e.mean), e.error, e.freedom)
    p_holm = np.minimum(1.0, often * holm(p, awaited))
    p_same = _below(np.abs(e.mean) - margin, e.error, e.freedom)
    p_equivalent = np.minimum(1.0, often * holm(p_same, awaited))
    good = -e.mean if less else e.mean
    family = (~np.isnan(p)).sum(-1, keepdims=True) + awaited
    level = ALPHA / (often * np.maximum(family, 1))
    shift = nctdtrinc(e.freedom, 1 - POWER, stdtrit(e.freedom, 1 - level / 2))
    outcome = np.select(
        [
            np.isnan(p),
            np.broadcast_to(np.asarray(runs) < MIN_RUNS, p.shape),
            (p_holm < ALPHA) & (good > 0),
            (p_holm < ALPHA) & (good < 0),
            p_equivalent < ALPHA,
        ],
        ["not tested", "pilot", "better", "worse", "equivalent"],
        "undecided",
    )
    return Decision(
        low,
        high,
        p,
        p_holm,
        _below(-good, e.error, e.freedom),
        _below(-good, e.patients_error, e.patients_freedom),
        p_equivalent,
        shift * e.error,
        outcome,
    )


def look_factor(looks: int) -> int:
    """By what every p of the k-th table of growing data is multiplied: 1, then k (k + 1).

    Where the last table will be is chosen after reading those before, so there is no number of
    tables for Bonferroni. The k-th gets alpha / (k (k + 1)) instead, which adds up to alpha / 2
    over all after the first, however many there are.
    """
    return 1 if looks == 1 else looks * (looks + 1)


def holm(p: Values, awaited: int = 0) -> Values:
    """Holm's step-down correction (1979): running maximum of (m - i) p_(i), at most 1.

    Args:
        p: (..., m) p-values; NaN is no test and does not count.
        awaited: tests of the family that are still to come, each as if its p were the largest.

    Returns:
        (..., m) adjusted p-values in the order given, NaN where given.
    """
    order = np.argsort(p, axis=-1, kind="stable")  # NaN last
    tested = (~np.isnan(p)).sum(-1, keepdims=True) + awaited
    steps = np.take_along_axis(p, order, -1) * (tested - np.arange(p.shape[-1]))
    adjusted = np.empty_like(p)
    highest = np.minimum(np.maximum.accumulate(steps, axis=-1), 1.0)
    np.put_along_axis(adjusted, order, highest, -1)
    return adjusted


def _below(value: Values, error: Values, freedom: Values) -> Values:
    """Student's probability below value / error; without any error 0, 1/2 or 1."""
    certain = np.where(value > 0, np.inf, np.where(value < 0, -np.inf, 0.0))
    safe = np.where(error == 0, 1.0, error)
    return np.asarray(stdtr(freedom, np.where(error == 0, certain, value / safe)))


def _variance(values: Values) -> Values:
    """Sample variance over the last axis; NaN for a single value."""
    centred = values - values.mean(-1, keepdims=True)
    return _ratio((centred**2).sum(-1), values.shape[-1] - 1)


def _ratio(total: Values, freedom: int) -> Values:
    return total / freedom if freedom else np.full_like(total, np.nan)
