"""From a case table to arrays of paired scores, with a list of what was left out.

A run is a (fold, seed) pair. Folds that share their test patients are labelled subsets of one
design; folds with disjoint test patients are those of a cross-validation. The table itself tells
them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.common.errors import ConfigError, nearest

Design = Literal["crossed", "cross-validation", "none"]
Key = tuple[str, int, str]
Values = NDArray[np.float64]
Indices = NDArray[np.intp]
CELL = ["dataset", "labels", "checkpoint"]

# A method of which this share of predictions is empty although the reference is not, or of which
# the mean Dice is below the second number, predicts nothing.
_EMPTY_SHARE = 0.9
_LEAST_DICE = 0.01
_UNLIKE = "frames or classes that not all methods have a value of"


@dataclass(frozen=True)
class Cell:
    """Scores of all methods on one data set, labelled count and checkpoint.

    Attributes:
        key: data set, labelled count, checkpoint.
        methods: keys, in order of appearance.
        runs: (fold, seed) pairs, sorted.
        patients: names, sorted.
        scores: (methods, runs, patients) averages over frames and classes; NaN where there is none.
        parts: (methods, runs, patients) a number for the frames and classes behind each of them.
        tested: (methods, runs, patients) whether the table has rows.
        barren: methods that predict nothing.
    """

    key: Key
    methods: tuple[str, ...]
    runs: tuple[tuple[int, int], ...]
    patients: tuple[str, ...]
    scores: Values
    parts: NDArray[np.uint64]
    tested: NDArray[np.bool_]
    barren: frozenset[str]


@dataclass(frozen=True)
class Selection:
    """Runs and patients that some methods share.

    Attributes:
        design: how runs and patients meet.
        groups: indices into `Cell.runs`; the runs of a group are averaged into one: seeds of a
            labelled subset or of a fold.
        patients: indices into `Cell.patients`; one array for all groups of a crossed design, one
            for each group of a cross-validation.
        left_out: runs and patients that are not shared, in words.
        reason: why there is no design, in words.
    """

    design: Design
    groups: tuple[tuple[int, ...], ...] = ()
    patients: tuple[Indices, ...] = ()
    left_out: tuple[str, ...] = ()
    reason: str = ""

    @property
    def size(self) -> int:
        """Number of patients."""
        return sum(len(part) for part in self.patients)


def method_keys(cases: pd.DataFrame) -> pd.Series[str]:
    """`<method>` or `<method>-<variant>` of every row."""
    variant = cases["variant"].fillna("").astype(str)
    return cases["method"].str.cat(np.where(variant == "", "", "-" + variant))


def patient_runs(cases: pd.DataFrame, *, metric: str = "dice") -> pd.DataFrame:
    """Score of every patient in every run, averaged over frames and classes.

    Args:
        cases: rows of a case table.
        metric: column; a value that is missing (a distance that does not exist) is left out of the
            mean.

    Returns:
        Columns `dataset`, `labels`, `checkpoint`, `key`, `fold`, `seed`, `patient`, `score`, and
        `parts`, a number for the set of frames and classes that have a value (their count where the
        table names neither).

    Raises:
        ConfigError: no such column.
    """
    if metric not in cases.columns:
        hint = nearest(metric, [str(column) for column in cases.columns])
        raise ConfigError(f"no column '{metric}' in the case table: {hint}")
    named = [name for name in ("case", "class") if name in cases.columns]
    part: Any = np.uint64(1)
    if named:
        part = pd.util.hash_pandas_object(cases[named].astype(str), index=False)
    valued = np.where(cases[metric].notna(), part, np.uint64(0))
    keyed = cases.assign(key=method_keys(cases), parts=valued)
    columns = [*CELL, "key", "fold", "seed", "patient"]
    groups = keyed.groupby(columns, sort=False)
    return groups.agg(score=(metric, "mean"), parts=("parts", "sum")).reset_index()


def cells(cases: pd.DataFrame, *, metric: str = "dice") -> Iterator[Cell]:
    """The cells of a case table, in order of appearance.

    Args:
        cases: rows of a case table.
        metric: column of scores.

    Raises:
        ConfigError: no such column.
    """
    scores = patient_runs(cases, metric=metric)
    nothing = _predict_nothing(cases)
    key: Any
    for key, own in scores.groupby(CELL, sort=False):
        methods, method = _numbered(own["key"], ordered=False)
        runs, run = _numbered(list(zip(own["fold"], own["seed"], strict=True)))
        patients, patient = _numbered(own["patient"])
        at = method, run, patient
        table = np.full((len(methods), len(runs), len(patients)), np.nan)
        table[at] = own["score"]
        parts = np.zeros(table.shape, np.uint64)
        parts[at] = own["parts"]
        tested = np.zeros(table.shape, bool)
        tested[at] = True
        dataset, labels, checkpoint = key
        name = (str(dataset), int(labels), str(checkpoint))
        barren = frozenset(m for m in methods if (*name, m) in nothing)
        yield Cell(name, methods, runs, patients, table, parts, tested, barren)


def _numbered(values: Iterable[Any], *, ordered: bool = True) -> tuple[tuple[Any, ...], Indices]:
    """Distinct values, sorted or in order of appearance, and the number of each row's."""
    values = list(values)
    found = dict.fromkeys(values)
    names = tuple(sorted(found) if ordered else found)
    number = {name: i for i, name in enumerate(names)}
    return names, np.array([number[value] for value in values], dtype=np.intp)


def _predict_nothing(cases: pd.DataFrame) -> set[tuple[str, int, str, str]]:
    """Cells and methods that predict (almost) nothing where there is something to predict."""
    keyed = cases.assign(key=method_keys(cases))
    if "empty" in cases.columns:
        keyed = keyed[keyed["empty"].isin(["none", "prediction"])]
        keyed = keyed.assign(missed=keyed["empty"] == "prediction")
    else:
        keyed = keyed.assign(missed=False)
    if "dice" not in cases.columns:
        keyed = keyed.assign(dice=1.0)
    means = keyed.groupby([*CELL, "key"])[["missed", "dice"]].mean()
    chosen = means[(means["missed"] >= _EMPTY_SHARE) | (means["dice"] < _LEAST_DICE)]
    return {(str(d), int(n), str(c), str(k)) for d, n, c, k in chosen.index}


def select(cell: Cell, methods: Sequence[str]) -> Selection:
    """Runs and patients that all of some methods share.

    A run that one of them lacks is left out; so is a patient without a score in any remaining run
    (of the fold, in a cross-validation), or with values of other frames and classes than with
    another method: means of an easy and of all classes do not compare. Both are listed.

    Args:
        cell: scores.
        methods: keys.
    """
    absent = [f"'{name}'" for name in methods if name not in cell.methods]
    if absent:
        return Selection("none", reason=f"no runs of {' and '.join(absent)}")
    own = [cell.methods.index(name) for name in methods]
    has = _any(cell.tested[own], 2)
    some, every = _any(has, 0), ~_any(~has, 0)
    shared = np.flatnonzero(every)
    left = tuple(
        f"fold {cell.runs[r][0]} seed {cell.runs[r][1]}: only "
        + ", ".join(name for name, there in zip(methods, has[:, r], strict=True) if there)
        for r in np.flatnonzero(some & ~every)
    )
    if not len(shared):
        return Selection("none", left_out=left, reason="no runs in common")
    folds = sorted({cell.runs[r][0] for r in shared})
    groups = [tuple(int(r) for r in shared if cell.runs[r][0] == fold) for fold in folds]
    # Patients of a fold as any method was tested on them.
    fold_of = np.array([run[0] for run in cell.runs])
    tested = _any(cell.tested, 0)
    everybody = np.stack([_any(tested[fold_of == fold], 0) for fold in folds])
    counts = np.asarray(everybody.sum(axis=0))
    if len(folds) == 1:
        return _crossed(cell, own, [(r,) for r in groups[0]], counts == 1, left)
    if counts.max() == 1:
        return _cross_validated(cell, own, groups, everybody, left)
    common = counts == len(folds)
    if int(np.sum(common)) < min(2, int(np.sum(counts > 0))):
        why = "the folds share some test patients, but no two patients are tested in all of them"
        return Selection("none", left_out=left, reason=why)
    left += tuple(
        f"patient {cell.patients[p]}: not tested in every fold"
        for p in np.flatnonzero((counts > 0) & ~common)
    )
    return _crossed(cell, own, groups, common, left)


def _any(values: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    return np.asarray(np.logical_or.reduce(values, axis=axis))


def _crossed(
    cell: Cell,
    own: list[int],
    groups: list[tuple[int, ...]],
    patients: NDArray[np.bool_],
    left: tuple[str, ...],
) -> Selection:
    at = np.ix_(own, [r for group in groups for r in group])
    scored = ~np.isnan(cell.scores[at]).any(axis=(0, 1))
    lacking = set(np.flatnonzero(~scored))
    unlike = np.not_equal(cell.parts[at], cell.parts[at][:1])
    alike = ~np.asarray(unlike).any(axis=(0, 1))
    left += tuple(
        f"patient {cell.patients[p]}: {'not scored in every run' if p in lacking else _UNLIKE}"
        for p in np.flatnonzero(patients & ~(scored & alike))
    )
    kept = np.flatnonzero(patients & scored & alike)
    if not len(kept):
        return Selection("none", left_out=left, reason="no patient is scored in every run")
    return Selection("crossed", tuple(groups), (kept,), left)


def _cross_validated(
    cell: Cell,
    own: list[int],
    groups: list[tuple[int, ...]],
    everybody: NDArray[np.bool_],
    left: tuple[str, ...],
) -> Selection:
    kept: list[tuple[tuple[int, ...], Indices]] = []
    for group, patients in zip(groups, everybody, strict=True):
        one = _crossed(cell, own, [group], patients, ())
        fold = cell.runs[group[0]][0]
        left += tuple(f"fold {fold} {words}" for words in one.left_out)
        kept += [(group, part) for part in one.patients]
    if not kept:
        return Selection("none", left_out=left, reason="no patient is scored in every run")
    chosen = tuple(group for group, _ in kept)
    return Selection("cross-validation", chosen, tuple(part for _, part in kept), left)


def take(cell: Cell, selection: Selection, methods: Sequence[str]) -> tuple[Values, ...]:
    """Scores of methods in selected runs and patients, seeds of a group averaged.

    Args:
        cell: scores.
        selection: of runs and patients.
        methods: keys.

    Returns:
        Crossed: one (methods, runs, patients) array; cross-validation: one (methods, 1, patients)
        array per fold. NaN where a method lacks a score.
    """
    own = cell.scores[[cell.methods.index(name) for name in methods]]
    runs = [own[:, list(group)].mean(axis=1) for group in selection.groups]
    if selection.design == "crossed":
        return (np.stack(runs, axis=1)[:, :, selection.patients[0]],)
    return tuple(run[:, None, p] for run, p in zip(runs, selection.patients, strict=True))
