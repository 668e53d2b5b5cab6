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
    look_factor,
    pooled,
)
from benchmarks.statistics.pairs import Cell, Design, Selection, Values, cells
from benchmarks.statistics.spread import NAN, Spread, measured

RUNS = (3, 5, 10, 15, 20)
PATIENTS = (20, 50, 100, 200)
_DRAWS = 2000
_MOST_RUNS = 50
_MOST_PATIENTS = 1000
_WILD = 0.75  # of what could have been seen: a method without which it were less is named


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
        comparisons: of the family, by which alpha is divided.
        looks: tables made of growing data; what is needed is of a table that is read once.
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
    comparisons: int = 1
    looks: int = 1
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
    comparisons: int | Callable[[str, int], int] = 1,
    looks: int = 1,
    runs: Sequence[int] = RUNS,
    patients: Sequence[int] = PATIENTS,
) -> list[Power]:
    """Detectable effects and needed sizes for every cell of a case table with two methods or more.

    Args:
        cases: rows of a case table.
        effect: difference of interest, above 0, in the unit of the metric (Dice: a fraction).
        metric: column of scores.
        comparisons: in the family; the smallest p of Holm's correction must pass alpha / this. Or
            what tells them of a data set and its labelled count.
        looks: tables made of growing data, for which p of this one is corrected.
        runs: rows of the table.
        patients: columns of the table.

    Raises:
        ConfigError: no such column.
    """
    tests = comparisons if callable(comparisons) else lambda *_: comparisons
    sizes = [(r, n) for r in runs for n in patients]
    found = []
    for cell in cells(cases, metric=metric):
        methods = [name for name in cell.methods if name not in cell.barren]
        if len(methods) > 1:
            own = _power(cell, methods, effect, tests(*cell.key[:2]), looks, sizes)
            found.append(replace(own, note=own.note or _wildest(cell, methods, own)))
    return found


def _wildest(cell: Cell, methods: Sequence[str], known: Power) -> str:
    """That one method's scores vary so much that it decides what could have been seen."""
    if len(methods) < 3 or np.isnan(known.seen):
        return ""

    others = {name: [method for method in methods if method != name] for name in methods}
    left = {name: measured(cell, rest) for name, rest in others.items()}
    name = min(methods, key=lambda name: left[name][1].total)
    factor = _seen(*left[name], len(others[name]), known.comparisons, known.looks) / known.seen
    if not factor < _WILD:
        return ""
    return (
        f"without {name}, whose scores differ most, {factor:.2f} times as much could have been seen"
    )


def _power(
    cell: Cell,
    methods: Sequence[str],
    effect: float,
    comparisons: int,
    looks: int,
    sizes: Sequence[tuple[int, int]],
) -> Power:
    selection, spread = measured(cell, methods)
    design, r, n = selection.design, len(selection.groups), selection.size
    if design == "none":
        none = Power(*cell.key, design, len(methods), 0, 0, spread, effect, comparisons, looks)
        return replace(none, note=selection.reason)
    known = Power(*cell.key, design, len(methods), r, n, spread, effect, comparisons, looks)
    if np.isnan(spread.run):
        return replace(known, note=_unknown(design, r))
    m, c = len(methods), comparisons
    size = _fold_size(selection) if design == "cross-validation" else n

    def fixed(runs: int, patients: int) -> float:
        return detectable(spread, runs, patients, methods=m, comparisons=c)

    def folds(count: int) -> float:
        return detectable_folds(spread, count, size * count, comparisons=c)

    counts = range(MIN_RUNS, _MOST_RUNS + 1)
    many = max(r, MIN_RUNS)
    return replace(
        known,
        seen=_seen(selection, spread, m, c, looks),
        runs_needed=_least(lambda k: fixed(k, n), effect, counts),
        folds_needed=_least(folds, effect, counts),
        patients_needed=_least(lambda k: fixed(many, k), effect, _growing(_MOST_PATIENTS)),
        fold_size=size,
        table=tuple(Detectable(a, b, fixed(a, b)) for a, b in sizes),
        note=f"pilot, {r} runs: no verdict, and variances from few runs" * (r < MIN_RUNS),
    )


def _fold_size(selection: Selection) -> int:
    return round(selection.size / len(selection.groups))


def _seen(
    selection: Selection, spread: Spread, methods: int, comparisons: int, looks: int
) -> float:
    """Difference that these runs and patients could have shown; NaN where nothing is known."""
    runs, tests = len(selection.groups), comparisons * look_factor(looks)
    if np.isnan(spread.run):
        return NAN
    if selection.design == "cross-validation":
        return detectable_folds(spread, runs, _fold_size(selection) * runs, comparisons=tests)
    return detectable(spread, runs, selection.size, methods=methods, comparisons=tests)


def _unknown(design: Design, runs: int) -> str:
    """Why the variances are not known and what would tell them, in a line of 80 columns."""
    if runs == 1:
        return "a single run: the variation between runs is unknown; train 5 seeds"
    if design == "cross-validation":
        return "1 test patient in each fold: take folds of 2 or more to tell runs from patients"
    return "a single patient: test 2 or more to tell runs from patients"


def _least(difference: Callable[[int], float], effect: float, sizes: Iterable[int]) -> int | None:
    return next((size for size in sizes if difference(size) <= effect), None)


def _growing(most: int) -> Iterator[int]:
    """Sizes from 5 on, in steps of a tenth."""
    size = 5
    while size <= most:
        yield size
        size += max(1, size // 10)


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
