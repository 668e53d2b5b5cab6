"""Sources of variation of one method: labelled subsets, seeds, patients, and what is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Values = NDArray[np.float64]
NAN = float("nan")


@dataclass(frozen=True)
class Components:
    """Standard deviations in the unit of the scores, NaN where there is a single level.

    Attributes:
        subset: between labelled subsets (folds).
        seed: between seeds inside a subset.
        patient: between patients.
        rest: of a patient in a run.
    """

    subset: float
    seed: float
    patient: float
    rest: float


def variance_components(scores: pd.DataFrame) -> Components:
    """Sources of variation, by the method of moments (Searle, Casella and McCulloch 1992, 4.2).

    Inside a fold of S seeds and n patients V_rest = MS_rest, V_seed = (MS_seed - MS_rest) / n and
    V_patient = (MS_patient - MS_rest) / S, averaged over folds. Between folds, V_subset is the
    variance of the fold means without V_seed / S and without what patients add to it: V_patient / n
    + V_rest / (S n) only where every fold has patients of its own. Where all folds share their
    patients, these move all fold means alike and add nothing; what they add is how differently they
    respond to the subsets, the residual mean square of the folds x patients table over n.

    Args:
        scores: `fold`, `seed`, `patient`, `score` of one method in one cell, as `patient_runs`
            gives them. A patient without a score in every seed of a fold is left out of it.

    Returns:
        Roots of the estimates; negative ones are 0.
    """
    folds = [
        part.pivot_table(index="seed", columns="patient", values="score").dropna(axis=1)
        for _, part in scores.groupby("fold")
    ]
    parts = [_moments(fold.to_numpy(dtype=float)) for fold in folds]
    rest, seed, patient = (_mean([part[i] for part in parts]) for i in range(3))
    if len(folds) < 2:
        return Components(NAN, *(_root(v) for v in (seed, patient, rest)))
    names = set(folds[0].columns).intersection(*(fold.columns for fold in folds[1:]))
    fewer = float(np.mean([1 / len(fold) for fold in folds]))
    if names:
        means = np.stack([fold[sorted(names)].to_numpy(dtype=float).mean(0) for fold in folds])
        interaction, subset, patient = _moments(means)
        rest = interaction if np.isnan(rest) else rest
    else:
        n = float(np.mean([fold.shape[1] for fold in folds]))
        between = np.var([fold.to_numpy(dtype=float).mean() for fold in folds], ddof=1)
        subset = float(between) - (np.nan_to_num(patient) + np.nan_to_num(rest) * fewer) / n
    subset -= np.nan_to_num(seed) * fewer
    return Components(*(_root(v) for v in (subset, seed, patient, rest)))


def _moments(table: Values) -> tuple[float, float, float]:
    """Variances of rest, rows and columns of a (rows, columns) table; NaN where unknown."""
    rows, columns = table.shape
    if min(rows, columns) < 2:
        only = float(table.var(ddof=1)) if table.size > 1 else NAN
        return NAN, only if rows > 1 else NAN, only if columns > 1 else NAN
    by_row, by_column = table.mean(1), table.mean(0)
    left = table - by_row[:, None] - by_column + table.mean()
    rest = float((left**2).sum()) / ((rows - 1) * (columns - 1))
    row = float(by_row.var(ddof=1)) - rest / columns
    return rest, row, float(by_column.var(ddof=1)) - rest / rows


def _mean(values: list[float]) -> float:
    known = [v for v in values if not np.isnan(v)]
    return float(np.mean(known)) if known else NAN


def _root(variance: float) -> float:
    return float(np.sqrt(max(variance, 0.0))) if not np.isnan(variance) else variance
