"""Whether training is converged: what twice as many steps still gain on validation patients.

A row is converged at T steps if the 90 % interval of its gain from T to 2 T steps lies below
`MARGIN`. Each length is a training of its own with a whole schedule. The gain is taken inside each
run, a labelled subset with its seed, and the runs are the units: mean -+ t sd / sqrt(runs).
Where runs differ much, few of them can show it of no row: `Gain.runs_needed` tells how many could.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit
from scipy.stats import nct

from benchmarks.statistics.inference import (
    ALPHA,
    MARGIN,
    MIN_RUNS,
    POWER,
    between_folds,
    interval,
)

LEVEL = 0.9
MOST_RUNS = 1000  # that are asked about
Convergence = Literal["converged", "unconverged", "pilot"]
_ROW = ["dataset", "labels", "method"]
_RUN = ["fold", "seed"]


@dataclass(frozen=True)
class Lead:
    """How far a row is above another one that was trained as long.

    Attributes:
        dataset: id.
        labels: labelled patients.
        method: key of the row.
        steps: of both.
        runs: that both have.
        mean: difference in Dice on validation patients, a fraction.
        low: lower end of its interval over runs, of 95 %; NaN of a single run.
        high: upper end.
    """

    dataset: str
    labels: int
    method: str
    steps: int
    runs: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Gain(Lead):
    """What a row gains from a doubling of its steps: the longer training's lead, by 90 %.

    `steps` are those before the doubling.
    """

    @property
    def outcome(self) -> Convergence:
        """The rule; with fewer than `MIN_RUNS` runs nothing is said, as in all tables."""
        if self.runs < MIN_RUNS:
            return "pilot"
        return "converged" if self.high < MARGIN else "unconverged"

    @property
    def open(self) -> bool:
        """Whether more runs may show what these leave open.

        Not of a single run, nor of a row that is converged, or whose interval lies above 0: that
        needs longer training.
        """
        return self.outcome != "converged" and self.low <= 0

    @property
    def runs_needed(self) -> int | None:
        """Runs that show a row converged with 80 % power, if it gains nothing more.

        By the noncentral t distribution, with the standard deviation of these runs as if it were
        the true one. None of a row that is not `open`, and beyond `MOST_RUNS`.
        """
        if not self.open:
            return None
        half = (self.high - self.low) / 2
        deviation = half * math.sqrt(self.runs) / stdtrit(self.runs - 1, (1 + LEVEL) / 2)
        if deviation == 0:
            return MIN_RUNS
        counts = np.arange(MIN_RUNS, MOST_RUNS + 1)
        bound = stdtrit(counts - 1, (1 + LEVEL) / 2)
        shown = nct.cdf(-bound, counts - 1, -MARGIN * np.sqrt(counts) / deviation)
        return next((int(n) for n in counts[np.asarray(shown) >= POWER]), None)


def leads(scores: pd.DataFrame, baseline: str) -> list[Lead]:
    """What every row gains over another with as many labels, at every length: no verdict.

    Args:
        scores: as for `gains`.
        baseline: key of the other row.

    Returns:
        Row by row in their order, short trainings first; pairs without a common run are left out.
    """
    cell = ["dataset", "labels", *_RUN, "steps"]
    other = scores.loc[scores["method"] == baseline, [*cell, "dice"]]
    rows = scores[scores["method"] != baseline].merge(other, on=cell, suffixes=("", " of other"))
    rows["difference"] = rows["dice"] - rows["dice of other"]
    return [
        _lead(key, steps, difference.to_numpy(dtype=float))
        for key, own in rows.groupby(_ROW, sort=False)
        for steps, difference in own.groupby("steps")["difference"]
    ]


def _lead(key: Any, steps: Any, difference: NDArray[np.float64]) -> Lead:
    dataset, labels, method = key
    ends = over_runs(difference, level=1 - ALPHA)
    return Lead(str(dataset), int(labels), str(method), int(steps), len(difference), *ends)


def over_runs(values: NDArray[np.float64], *, level: float) -> tuple[float, float, float]:
    """Mean over runs and the ends of its interval, NaN for a single run.

    Args:
        values: one per run.
        level: of the interval, in (0, 1).
    """
    if len(values) < 2:
        return float(np.mean(values)), float("nan"), float("nan")
    low, high = (float(end) for end in interval(between_folds(values, values), level=level))
    return float(np.mean(values)), low, high


def gains(scores: pd.DataFrame) -> list[Gain]:
    """The gain of every row from every doubling that was trained.

    Args:
        scores: one row per training with `dataset`, `method`, `labels`, `fold`, `seed`, `steps` and
            `dice`, the validation Dice in [0, 1] after its last step.

    Returns:
        In the order of the rows, short trainings first; pairs without a common run are left out.
    """
    return [
        gain
        for key, own in scores.groupby(_ROW, sort=False)
        for gain in _of_row(key, own.pivot_table(index=_RUN, columns="steps", values="dice"))
    ]


def _of_row(key: Any, dice: pd.DataFrame) -> Iterator[Gain]:
    """Gains of one row from its Dice by run and steps."""
    dataset, labels, method = key
    for steps in dice.columns:
        if 2 * steps not in dice:
            continue
        gain = (dice[2 * steps] - dice[steps]).dropna().to_numpy(dtype=float)
        if not len(gain):
            continue
        mean, low, high = over_runs(gain, level=LEVEL)
        yield Gain(str(dataset), int(labels), str(method), int(steps), len(gain), mean, low, high)
