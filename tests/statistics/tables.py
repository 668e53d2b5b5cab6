"""Small case tables for the tests of the statistics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import nct, t

from benchmarks.config import ContrastConfig

Values = NDArray[np.float64]


def table(
    scores: Mapping[str, Values], *, fold: int = 0, first: int = 0, classes: int = 1
) -> pd.DataFrame:
    """A case table of one fold from (seeds, patients) scores; classes lie around the score."""
    rows = [
        {
            "dataset": "acdc", "labels": 7, "checkpoint": "last", "fold": fold,
            "method": name.split("-")[0], "variant": name.partition("-")[2],
            "seed": seed, "patient": f"p{first + patient:03d}", "class": c,
            "case": f"p{first + patient:03d}_frame", "empty": "none",
            "dice": value + 0.01 * (c - (classes - 1) / 2),
        }
        for name, values in scores.items()
        for seed, row in enumerate(values)
        for patient, value in enumerate(row)
        for c in range(classes)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def shared(scores: Mapping[str, Values]) -> pd.DataFrame:
    """From (folds, seeds, patients) scores: all folds test the same patients."""
    folds = len(next(iter(scores.values())))
    parts = [table({k: v[f] for k, v in scores.items()}, fold=f) for f in range(folds)]
    return pd.concat(parts, ignore_index=True)


def disjoint(scores: Mapping[str, Values]) -> pd.DataFrame:
    """From (folds, seeds, patients) scores: every fold tests patients of its own."""
    folds, _, n = next(iter(scores.values())).shape
    parts = [table({k: v[f] for k, v in scores.items()}, fold=f, first=n * f) for f in range(folds)]
    return pd.concat(parts, ignore_index=True)


def contrast(better: str, than: str) -> ContrastConfig:
    return ContrastConfig(name=f"{better} - {than}", better=better, than=than)


AB = [contrast("a", "b")]


def two_way(d: Values) -> tuple[float, float, float]:
    """Mean squares of runs, patients and residual of a (runs, patients) table.

    The textbook's computing formulas, from totals and sums of squares.
    """
    runs, patients = d.shape
    correction = d.sum() ** 2 / d.size
    total = sum(float(x) ** 2 for x in d.ravel()) - correction
    of_runs = sum(float(row.sum()) ** 2 for row in d) / patients - correction
    of_patients = sum(float(column.sum()) ** 2 for column in d.T) / runs - correction
    rest = total - of_runs - of_patients
    return (
        of_runs / (runs - 1),
        of_patients / (patients - 1),
        rest / ((runs - 1) * (patients - 1)),
    )


def exact(error: float, df: float, *, level: float = 0.05) -> float:
    """Effect that a t test finds with 80 % power, from the noncentral t distribution."""
    bound = t.ppf(1 - level / 2, df)
    return float(brentq(lambda d: nct.sf(bound, df, d / error) - 0.8, 0, 50 * error))
