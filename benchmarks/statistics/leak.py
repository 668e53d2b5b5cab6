"""What it is worth to have trained on the patients that are tested.

A partition that ignores patients is compared with folds that keep each patient's cases together.
Other training patients change the scores of all cases; what changes those of leaking cases beyond
that is the leak. A few cases leak as a rule, so that this describes and tests nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.common.errors import DataError
from benchmarks.statistics.case_table import read_cases
from benchmarks.statistics.pairs import method_keys


class NoLeakError(DataError):
    """No case of the partition leaks."""


@dataclass(frozen=True)
class Part:
    """Test cases of the partition that leak, or those that do not, by one method.

    Attributes:
        method: key.
        leaking: whether other cases of their patients are outside the tested part.
        cases: number of them.
        there: mean Dice in the partition, over cases, classes and runs; a fraction.
        grouped: mean Dice of the same cases in the folds.
    """

    method: str
    leaking: bool
    cases: int
    there: float
    grouped: float

    @property
    def gain(self) -> float:
        """Dice that the partition adds."""
        return self.there - self.grouped


def leak_effect(partition: Path, grouped: Path, dataset: str | None = None) -> list[Part]:
    """Scores of a partition's test cases, beside those of the same cases in grouped folds.

    Args:
        partition: case table of a benchmark that counts every case as a patient.
        grouped: case table of a cross-validation in which all cases of a patient are tested
            together; its column `patient` says which cases these are.
        dataset: id, where the tables hold several.

    Returns:
        For every method of both tables the cases that leak, then the others; last checkpoint.

    Raises:
        NoLeakError: they share no case whose patient leaks.
        DataError: a table is damaged, or they share no method.
    """
    tables = [_last(path, dataset) for path in (partition, grouped)]
    patients = tables[1].drop_duplicates("case").set_index("case")["patient"]
    tested = set(tables[0]["case"]) & set(patients.index)
    outside = set(patients[~patients.index.isin(tested)])
    leaking = {case for case in tested if patients[case] in outside}
    methods = [m for m in dict.fromkeys(tables[0]["key"]) if m in set(tables[1]["key"])]
    if not leaking or not methods:
        lack = "share no method" if tested and not methods else "share no case whose patient leaks"
        raise (DataError if tested and not methods else NoLeakError)(
            f"'{partition}' and '{grouped}' {lack}: the first needs test cases of patients whose"
            " other cases are outside its tested part, the second all cases, with their patients"
        )
    return [part for m in methods for part in _parts(m, tables, (leaking, tested - leaking))]


def _last(path: Path, dataset: str | None) -> pd.DataFrame:
    cases = read_cases(path)
    if dataset is not None:
        cases = cases[cases["dataset"] == dataset]
    if "case" not in cases:
        raise DataError(f"'{path}' has no column 'case'; take the cases.csv of a report")
    return cases[cases["checkpoint"] == "last"].assign(key=method_keys)


def _parts(
    method: str, tables: list[pd.DataFrame], groups: tuple[set[str], set[str]]
) -> Iterator[Part]:
    scores = [
        frame[frame["key"] == method].groupby("case")["dice"].mean().rename(name)
        for frame, name in zip(tables, ("there", "grouped"), strict=True)
    ]
    both = pd.concat(scores, axis=1, join="inner")
    for leaking, group in zip((True, False), groups, strict=True):
        own = both[both.index.isin(group)]
        if len(own):
            means = own.mean()
            yield Part(method, leaking, len(own), float(means["there"]), float(means["grouped"]))
