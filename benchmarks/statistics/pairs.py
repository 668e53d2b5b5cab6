"""From a case table to the paired differences of two methods, with a list of what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.errors import ConfigError, nearest

Key = tuple[str, int, str]
CELL = ["dataset", "labels", "checkpoint"]


def method_keys(cases: pd.DataFrame) -> pd.Series[str]:
    """`<method>` or `<method>-<variant>` of every row."""
    variant = cases["variant"].fillna("").astype(str)
    return cases["method"].str.cat(np.where(variant == "", "", "-" + variant))


@dataclass(frozen=True)
class Paired:
    """Differences between two methods on one data set, labelled count and checkpoint.

    Attributes:
        key: data set, labelled count, checkpoint.
        better: method whose score counts positive.
        than: the other.
        folds: one (runs, patients) array of differences per fold; runs are seeds that both have.
        peers: per fold the (methods, runs) mean scores of the whole family in the same runs and
            patients, of those methods that have them all.
        left_out: runs and patients that one of the methods lacks, in words.
    """

    key: Key
    better: str
    than: str
    folds: tuple[NDArray[np.float64], ...]
    left_out: tuple[str, ...]
    peers: tuple[NDArray[np.float64] | None, ...] = ()

    @property
    def patients(self) -> NDArray[np.float64]:
        """(n,) differences per patient, averaged over seeds."""
        return np.concatenate([fold.mean(0) for fold in self.folds] or [np.empty(0)])

    @property
    def runs(self) -> int:
        """Number of paired runs."""
        return sum(len(fold) for fold in self.folds)


def patient_runs(cases: pd.DataFrame, *, metric: str = "dice") -> pd.DataFrame:
    """Score of every patient in every run, averaged over frames and classes.

    Args:
        cases: rows of a case table.
        metric: column; a value that is missing (a distance that does not exist) is left out of the
            mean.

    Returns:
        Columns `dataset`, `labels`, `checkpoint`, `key`, `fold`, `seed`, `patient`, `score`.

    Raises:
        ConfigError: no such column.
    """
    if metric not in cases.columns:
        hint = nearest(metric, [str(column) for column in cases.columns])
        raise ConfigError(f"no column '{metric}' in the case table: {hint}")
    keyed = cases.assign(key=method_keys(cases))
    columns = [*CELL, "key", "fold", "seed", "patient"]
    scores = keyed.groupby(columns, sort=False)[metric].mean().rename("score")
    return scores.reset_index()


def pair(
    scores: pd.DataFrame, key: Key, better: str, than: str, *, family: Sequence[str] = ()
) -> Paired:
    """Differences of two methods, paired by fold, seed and patient.

    A run that only one method has is left out; so is a patient that lacks a score in any of the
    remaining runs of its fold. Both are listed.

    Args:
        scores: from `patient_runs`.
        key: data set, labelled count, checkpoint.
        better: method key.
        than: method key.
        family: keys of all methods that are compared with one another, for `peers`.
    """
    own = scores[(scores[CELL] == list(key)).all(axis=1)]
    whole = {
        name: own[own["key"] == name].pivot_table(
            index=["fold", "seed"], columns="patient", values="score", sort=True, dropna=False
        )
        for name in dict.fromkeys((better, than, *family))
    }
    tables = whole[better], whole[than]
    runs = tables[0].index.union(tables[1].index)
    shared = tables[0].index.intersection(tables[1].index)
    left = [
        f"fold {fold} seed {seed}: only {better if (fold, seed) in tables[0].index else than}"
        for fold, seed in runs.difference(shared)
    ]
    folds, peers = [], []
    for fold in sorted(set(shared.get_level_values(0))):
        at = shared[shared.get_level_values(0) == fold]
        a, b = (table.loc[at].dropna(axis=1, how="all") for table in tables)
        difference = a - b  # aligned by patient; NaN where one has no score
        missing = difference.columns[difference.isna().any()]
        left += [f"fold {fold} patient {patient}: not scored in every run" for patient in missing]
        kept = difference.drop(columns=missing)
        if kept.size:
            folds.append(kept.to_numpy(dtype=float).round(12))
            peers.append(_run_means([whole[name] for name in family], kept))
    return Paired(key, better, than, tuple(folds), tuple(left), tuple(peers))


def _run_means(tables: Sequence[pd.DataFrame], like: pd.DataFrame) -> NDArray[np.float64] | None:
    """(methods, runs) means of those methods that have all runs and patients of `like`."""
    same = [table.reindex(index=like.index, columns=like.columns) for table in tables]
    means = [table.mean(axis=1).to_numpy() for table in same if table.notna().all(axis=None)]
    return np.stack(means) if means else None
