"""What a case table could have seen, and what an effect would need.

The variance of the scores is split into method x run, method x patient and residual, pooled over
all methods of a cell. From these, designs of other sizes are drawn (normal effects, 2,000 draws)
and judged by `inference`: an effect is detected when the rule calls it better with a probability of
80 %. So the larger of both run variances, and the noise of estimating them, are in the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from benchmarks.statistics.inference import (
    ALPHA,
    MIN_RUNS,
    POWER,
    Estimate,
    Squares,
    between_folds,
    crossed,
    pooled,
    squares,
)
from benchmarks.statistics.pairs import Cell, Design, Values, cells, select, take

NAN = float("nan")
RUNS = (3, 5, 10, 15, 20)
PATIENTS = (20, 50, 100, 200)
_DRAWS = 2000
_MOST_RUNS = 50
_MOST_PATIENTS = 1000


@dataclass(frozen=True)
class Spread:
    """Variances of the scores of one method, in the squared unit of the metric.

    A difference of two methods varies twice as much.

    Attributes:
        run: method x run: how much a run differs from what method and run have in common.
        response: method x patient.
        residual: of a patient in a run.
    """

    run: float
    response: float
    residual: float


@dataclass(frozen=True)
class Detectable:
    """Smallest difference that a design detects with 80 % power.

    Attributes:
        runs: of each method.
        patients: tested in every run.
        difference: in the unit of the metric.
    """

    runs: int
    patients: int
    difference: float


@dataclass(frozen=True)
class Power:
    """What one data set, labelled count and checkpoint of a case table tells about power.

    Attributes:
        dataset: id.
        labels: labelled patients.
        checkpoint: last or best.
        design: of the table.
        methods: that are in all runs.
        runs: of each method, as the rule counts them.
        patients: tested.
        spread: measured variances; NaN where there are too few runs or patients.
        effect: difference that is asked about, in the unit of the metric.
        seen: difference that this file could have seen; of a pilot, were its runs enough for a
            verdict.
        runs_needed: of each method on these patients, all tested in every run; None if 50 are not
            enough or nothing is known.
        folds_needed: of a cross-validation with `fold_size` patients and one run in each; None if
            50 are not enough or nothing is known.
        patients_needed: tested in every run, with these runs (5 at least); None if 1,000 are not
            enough or nothing is known.
        fold_size: patients that are tested in a run of this table.
        table: detectable differences by runs and patients, tested in every run.
        note: what limits the answer, in words; empty if nothing does.
    """

    dataset: str
    labels: int
    checkpoint: str
    design: Design
    methods: int
    runs: int
    patients: int
    spread: Spread
    effect: float
    seen: float = NAN
    runs_needed: int | None = None
    folds_needed: int | None = None
    patients_needed: int | None = None
    fold_size: int = 0
    table: tuple[Detectable, ...] = ()
    note: str = ""


def power(
    cases: pd.DataFrame,
    *,
    effect: float,
    metric: str = "dice",
    comparisons: int = 1,
    runs: Sequence[int] = RUNS,
    patients: Sequence[int] = PATIENTS,
) -> list[Power]:
    """Detectable effects and needed sizes for every cell of a case table with two methods or more.

    Args:
        cases: rows of a case table.
        effect: difference of interest, above 0, in the unit of the metric (Dice: a fraction).
        metric: column of scores.
        comparisons: in the family; the smallest p of Holm's correction must pass alpha / this.
        runs: rows of the table.
        patients: columns of the table.

    Raises:
        ConfigError: no such column.
    """
    return [
        _power(cell, effect, comparisons, [(r, n) for r in runs for n in patients])
        for cell in cells(cases, metric=metric)
        if len(set(cell.methods) - cell.barren) > 1
    ]


def _power(cell: Cell, effect: float, comparisons: int, sizes: Sequence[tuple[int, int]]) -> Power:
    methods = [name for name in cell.methods if name not in cell.barren]
    selection = select(cell, methods)
    design, r, n = selection.design, len(selection.groups), selection.size
    if design == "none":
        spread = Spread(NAN, NAN, NAN)
        return Power(*cell.key, design, len(methods), 0, 0, spread, effect, note=selection.reason)
    spread = measure(take(cell, selection, methods))
    known = Power(*cell.key, design, len(methods), r, n, spread, effect)
    if np.isnan(spread.run):
        note = "a single run or patient: the variation between runs is unknown; train 5 seeds"
        return replace(known, note=note)
    m, c = len(methods), comparisons
    size = round(n / r) if design == "cross-validation" else n

    def fixed(runs: int, patients: int) -> float:
        return detectable(spread, runs, patients, methods=m, comparisons=c)

    def folds(count: int) -> float:
        return detectable_folds(spread, count, size * count, comparisons=c)

    counts = range(MIN_RUNS, _MOST_RUNS + 1)
    many = max(r, MIN_RUNS)
    return replace(
        known,
        seen=folds(r) if design == "cross-validation" else fixed(r, n),
        runs_needed=_least(lambda k: fixed(k, n), effect, counts),
        folds_needed=_least(folds, effect, counts),
        patients_needed=_least(lambda k: fixed(many, k), effect, _growing(_MOST_PATIENTS)),
        fold_size=size,
        table=tuple(Detectable(a, b, fixed(a, b)) for a, b in sizes),
        note=f"pilot, {r} runs: no verdict, and variances from few runs" * (r < MIN_RUNS),
    )


def _least(difference: Callable[[int], float], effect: float, sizes: Iterable[int]) -> int | None:
    return next((size for size in sizes if difference(size) <= effect), None)


def _growing(most: int) -> Iterator[int]:
    """Sizes from 5 on, in steps of a tenth."""
    size = 5
    while size <= most:
        yield size
        size += max(1, size // 10)


def measure(blocks: Sequence[Values]) -> Spread:
    """Variances of one method, by the method of moments, pooled over methods.

    What runs and patients have in common for all methods is taken out first. In a cross-validation
    each patient is tested in one run, so method x patient and residual cannot be told apart; all of
    it counts as method x patient, which more runs on the same patients do not reduce.

    Args:
        blocks: as `pairs.take` returns them, two methods or more.

    Returns:
        The variances, 0 where an estimate is negative; NaN where there is one run or patient.
    """
    free = len(blocks[0]) - 1
    alone = [block - block.mean(0) for block in blocks]
    if len(blocks) == 1:
        s = squares(alone[0])
        run, patient, rest = (float(v.sum()) / free for v in (s.run, s.patient, s.residual))
        if np.isnan(rest):
            return Spread(NAN, NAN, NAN)
        return Spread(max((run - rest) / s.patients, 0), max((patient - rest) / s.runs, 0), rest)
    means = np.stack([block.mean((1, 2)) for block in alone], axis=1)
    inside = [((b - b.mean(2, keepdims=True)) ** 2).sum() for b in alone]
    degrees = free * sum(block.shape[2] - 1 for block in blocks)
    if not degrees:
        return Spread(NAN, NAN, NAN)
    within = float(sum(inside)) / degrees
    fewer = float(np.mean([1 / block.shape[2] for block in blocks]))
    between = float(means.var(1, ddof=1).sum()) / free
    return Spread(max(between - within * fewer, 0), within, 0.0)


def detectable(
    spread: Spread,
    runs: int,
    patients: int,
    *,
    methods: int = 2,
    comparisons: int = 1,
    seed: int = 0,
) -> float:
    """Difference that is found with 80 % power when every run tests every patient.

    Mean squares of a balanced normal design are independent, so they are drawn instead of scores.

    Args:
        spread: variances of one method.
        runs: of each method, 2 at least.
        patients: 2 at least.
        methods: compared; more of them make the common run variance more certain.
        comparisons: in the family.
        seed: of the draws.

    Returns:
        The difference, in the unit of the metric.
    """
    g = np.random.default_rng(seed)
    s, r, n = spread, runs, patients
    means = np.sqrt(s.run + s.residual / n) * g.standard_normal((_DRAWS, max(methods, 2), r))
    pair = means[:, 0] - means[:, 1]
    answer = np.sqrt(2 * s.response / n) * g.standard_normal(_DRAWS)

    def square(expected: float, freedom: int) -> Values:
        return np.asarray(expected * g.chisquare(freedom, _DRAWS) / freedom)

    drawn = Squares(
        r,
        n,
        pair.mean(1) + answer,
        n * pair.var(1, ddof=1),
        square(2 * (r * s.response + s.residual), n - 1),
        square(2 * s.residual, (r - 1) * (n - 1)),
    )
    return _found(crossed(drawn, pooled(means, n)), comparisons)


def detectable_folds(
    spread: Spread, folds: int, patients: int, *, comparisons: int = 1, seed: int = 0
) -> float:
    """The same for a cross-validation of `patients` in all, each tested once.

    Args:
        spread: variances of one method.
        folds: 2 at least, one run each.
        patients: of all folds together.
        comparisons: in the family.
        seed: of the draws.
    """
    variance = 2 * (spread.run + (spread.response + spread.residual) * folds / patients)
    g = np.random.default_rng(seed)
    means = np.sqrt(variance) * g.standard_normal((_DRAWS, folds))
    return _found(between_folds(means, means), comparisons)


def _found(null: Estimate, comparisons: int) -> float:
    """Effect that 80 % of draws without any effect would call better once it were added.

    Neither error nor degrees of freedom depend on the effect.
    """
    bound = stdtrit(null.freedom, 1 - ALPHA / 2 / comparisons) * null.error
    return float(np.quantile(bound - null.mean, POWER))
