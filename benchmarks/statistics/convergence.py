"""Whether training is converged: what twice as many steps still gain on validation patients.

A row is converged at T steps if the 90 % interval of its gain from T to 2 T steps lies below
`MARGIN`. Each length is a training of its own with a whole schedule. The gain is taken inside each
run, a labelled subset with its seed, and the runs are the units: mean -+ t sd / sqrt(runs).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from benchmarks.statistics.inference import MARGIN, MIN_RUNS, between_folds, interval

LEVEL = 0.9
Convergence = Literal["converged", "unconverged", "pilot"]
_ROW = ["dataset", "labels", "method"]
_RUN = ["fold", "seed"]


@dataclass(frozen=True)
class Gain:
    """What a row gains from a doubling of its steps.

    Attributes:
        dataset: id.
        labels: labelled patients.
        method: key of the row.
        steps: before the doubling.
        runs: that were trained with both lengths.
        mean: gain in Dice on validation patients, a fraction.
        low: lower end of the 90 % interval over runs; NaN of a single run.
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

    @property
    def outcome(self) -> Convergence:
        """The rule; with fewer than `MIN_RUNS` runs nothing is said, as in all tables."""
        if self.runs < MIN_RUNS:
            return "pilot"
        return "converged" if self.high < MARGIN else "unconverged"


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
        low = high = float("nan")
        if len(gain) > 1:
            low, high = (float(end) for end in interval(between_folds(gain, gain), level=LEVEL))
        mean = float(np.mean(gain))
        yield Gain(str(dataset), int(labels), str(method), int(steps), len(gain), mean, low, high)
