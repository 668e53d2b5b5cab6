"""What it is worth to have trained on the patients that are tested.

A partition that ignores patients is compared with folds that keep each patient's cases together.
Other training patients change the scores of all cases; what changes those of leaking cases beyond
that is the leak. A few cases leak as a rule, so that this describes and tests nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from benchmarks.common.errors import DataError
from benchmarks.statistics.case_table import read_cases
from benchmarks.statistics.pairs import method_keys


class NoLeakError(DataError):
    """No case of the partition leaks."""


# Whether a test case's patient was trained on: in the run, in other runs of the partition, in none.
Kind = Literal["trained on", "not in these runs", "never"]


@dataclass(frozen=True)
class Part:
    """Scores of one method on test cases of the partition whose patients were trained on, or not.

    Attributes:
        method: key.
        kind: whether other cases of their patients were.
        cases: number of them.
        runs: of the partition, in which this is so of at least one of them.
        there: mean Dice in the partition, over cases, classes and runs; a fraction.
        grouped: mean Dice of the same cases in the folds.
    """

    method: str
    kind: Kind
    cases: int
    runs: int
    there: float
    grouped: float

    @property
    def gain(self) -> float:
        """Dice that the partition adds."""
        return self.there - self.grouped


def leak_effect(
    partition: Path,
    grouped: Path,
    dataset: str | None = None,
    read: Mapping[tuple[str, int, int], Collection[str]] | None = None,
) -> list[Part]:
    """Scores of a partition's test cases, beside those of the same cases in grouped folds.

    Args:
        partition: case table of a benchmark that counts every case as a patient.
        grouped: case table of a cross-validation in which all cases of a patient are tested
            together; its column `patient` says which cases these are.
        dataset: id, where the tables hold several.
        read: cases that training read, by method, labelled count and fold of the partition; None
            takes it that every method reads all cases outside the tested part, and so does a
            method, such as an external row, that is not in it.

    Returns:
        For every method of both tables the cases whose patients were trained on, those in other
        runs, and the rest, as far as there are any; last checkpoint.

    Raises:
        NoLeakError: they share no case whose patient leaks.
        DataError: a table is damaged, or they share no method.
    """
    there, folds = _alike(*(_last(path, dataset) for path in (partition, grouped)))
    patients = folds.drop_duplicates("case").set_index("case")["patient"]
    tested = set(there["case"]) & set(patients.index)
    outside = patients[~patients.index.isin(tested)]
    methods = [m for m in dict.fromkeys(there["key"]) if m in set(folds["key"])]
    leaking = {case for case in tested if patients[case] in set(outside)}
    if not leaking or not methods:
        lack = "share no method" if tested and not methods else "share no case whose patient leaks"
        raise (DataError if tested and not methods else NoLeakError)(
            f"'{partition}' and '{grouped}' {lack}: the first needs test cases of patients whose"
            " other cases are outside its tested part, the second all cases, with their patients"
        )

    def kind(row: Any) -> Kind:
        if row.case not in leaking:
            return "never"
        own = {str(case) for case in outside.index[outside == patients[row.case]]}
        seen = bool(own & set((read or {}).get((row.key, row.labels, row.fold), own)))
        return "trained on" if seen else "not in these runs"

    own = there[there["case"].isin(tested) & there["key"].isin(methods)]
    kinds = pd.Series([kind(row) for row in own.itertuples()], index=own.index, dtype=object)
    return [part for m in methods for part in _parts(m, own.assign(kind=kinds), folds)]


def _last(path: Path, dataset: str | None) -> pd.DataFrame:
    cases = read_cases(path)
    if dataset is not None:
        cases = cases[cases["dataset"] == dataset]
    if "case" not in cases:
        raise DataError(f"'{path}' has no column 'case'; take the cases.csv of a report")
    return cases[cases["checkpoint"] == "last"].assign(key=method_keys)


def _alike(there: pd.DataFrame, folds: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of labelled counts that both have; a row of one count in each has all labels there."""
    kept = []
    for frame, other in ((there, folds), (folds, there)):
        counts = {
            str(key): (set(own["labels"]), set(other.loc[other["key"] == key, "labels"]))
            for key, own in frame.groupby("key")
        }
        fits = [
            len(counts[key][0]) == len(counts[key][1]) == 1 or labels in counts[key][1]
            for key, labels in zip(frame["key"], frame["labels"], strict=True)
        ]
        kept.append(frame[fits])
    return kept[0], kept[1]


def _parts(method: str, there: pd.DataFrame, folds: pd.DataFrame) -> Iterator[Part]:
    grouped = folds[folds["key"] == method].groupby("case")["dice"].mean()
    for kind in get_args(Kind):
        own = there[(there["key"] == method) & (there["kind"] == kind)]
        own = own[own["case"].isin(grouped.index)]
        scores = own.groupby("case")["dice"].mean()
        if len(scores):
            runs = len(own[["fold", "seed"]].drop_duplicates())
            means = float(scores.mean()), float(grouped[scores.index].mean())
            yield Part(method, kind, len(scores), runs, *means)
