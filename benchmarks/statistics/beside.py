"""What the report beside a case table took for given, so that its pairs get its outcomes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.common.errors import DataError
from benchmarks.common.workspace import CASES, DIFFERENCES
from benchmarks.config import ContrastConfig
from benchmarks.statistics.difference import (
    DECIDED,
    EXPLORATORY,
    UNSTUDIED,
    Difference,
    limited,
    pilot_of_patients,
)
from benchmarks.statistics.pairs import method_keys
from benchmarks.statistics.rule import INERT, against, compare

Place = tuple[str, int]
Pair = tuple[str, str]
# How `rule.py` and `difference.pilot_of_patients` put the reasons of an outcome.
_TERM = re.compile(rf"term (?P<term>.+) of (?P<row>\S+) {INERT}")
_LATE = re.compile(r"(?P<rows>.+) not converged")
_FEW = re.compile(r"\d+ (?!runs?\b).+")  # patients, or what stands for them, in one word or more
_COLUMNS = ["family", "dataset", "labels", "better", "than", "outcome", "reason"]


@dataclass(frozen=True)
class Told:
    """What a report knew besides scores; rows by data set and labelled count.

    Attributes:
        rows: that were compared with the baseline, which is one of them; of other rows, some have
            more labels.
        external: that were predicted outside the suite.
        inert: terms that did nothing, by row.
        late: that are not shown to be converged.
        pilot: whether there were too few patients for a verdict, whatever the runs.
        looks: tables made of growing data, for which every p is corrected.
        controls: methods with the controls that they were compared with.
        limits: what limits a verdict on a pair that was compared, by the rule of that report.
        tested: rows that were tested against the baseline.
    """

    rows: Mapping[Place, Set[str]] = field(default_factory=dict)
    external: Set[str] = frozenset()
    inert: Mapping[Place, Mapping[str, str]] = field(default_factory=dict)
    late: Mapping[Place, Set[str]] = field(default_factory=dict)
    pilot: bool = False
    looks: int = 1
    controls: Mapping[Place, Sequence[Pair]] = field(default_factory=dict)
    limits: Mapping[Place, Mapping[Pair, str]] = field(default_factory=dict)
    tested: Mapping[Place, Set[str]] = field(default_factory=dict)

    def against(
        self, cases: pd.DataFrame, better: str, than: str, *, metric: str
    ) -> list[Difference]:
        """The family of comparisons that a report tests a pair in, or that it would with that row.

        Args:
            cases: all rows of the case table.
            better: method key; it counts, whether the report compares it or not.
            than: method key, as `better`.
            metric: column of scores.
        """
        found: list[Difference] = []
        key: Any
        for key, own in cases.groupby(["dataset", "labels"], sort=False):
            place, keys = (str(key[0]), int(key[1])), method_keys(own)
            rows = {*self.rows.get(place, {*keys} - self.external), better, than}
            given: dict[str, Any] = {
                "metric": metric, "inert": self.inert.get(place, {}), "looks": self.looks,
                "unconverged": self.late.get(place, ()),
            }  # fmt: skip
            if better in self.external:
                others = [e for e in dict.fromkeys(keys) if e in self.external and e != than]
                family = _contrasts((e, than) for e in others)
                found += compare(own[keys.isin(rows | self.external)], family, metric=metric)
            elif (better, than) in self.controls.get(place, ()):
                family = _contrasts(self.controls[place])
                found += compare(own[keys.isin(rows)], family, **given)
            else:
                found += against(own[keys.isin(rows)], than, **given)
        if self.pilot:
            return [pilot_of_patients(d) for d in found]
        return [limited(d, *self._limits(d)) for d in found]

    def tests(self, dataset: str, labels: int) -> int:
        """Comparisons with the baseline, 1 where none is known."""
        return max(len(self.tested.get((dataset, labels), ())), 1)

    def _limits(self, d: Difference) -> tuple[str, ...]:
        """Those of the report; a pair that it does not compare was picked after seeing it."""
        listed = self.limits.get((d.dataset, d.labels), {})
        if not listed:
            return ()
        pair = d.better, d.than
        told = listed.get(pair, listed.get(pair[::-1]))
        if told is not None:
            return (told,) * bool(told)
        of_rows = ([words for known, words in listed.items() if row in known] for row in pair)
        unknown = any(own and all(UNSTUDIED in words for words in own) for own in of_rows)
        return (EXPLORATORY, *(UNSTUDIED,) * unknown)


def _contrasts(pairs: Iterable[Pair]) -> list[ContrastConfig]:
    return [ContrastConfig(name=f"{a} - {b}", better=a, than=b) for a, b in pairs]


def told_beside(path: Path) -> Told:
    """What the report of a case table says in its list of comparisons; nothing without one.

    Args:
        path: the case table.

    Raises:
        DataError: the list of comparisons is damaged.
    """
    file = path.with_name(DIFFERENCES)
    if path.name != CASES or not file.is_file():
        return Told()
    try:
        listed = pd.read_csv(file, keep_default_na=False, dtype={"dataset": str})[_COLUMNS]
        numbers = pd.read_csv(file, usecols=lambda name: name == "looks")
        looks = int(numbers["looks"].max()) if len(numbers) and "looks" in numbers else 1
        places = list(zip(listed["dataset"], listed["labels"].astype(int), strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"'{file}' is no list of comparisons ({error}); make the report anew with `python -m"
            f" benchmarks report --kept`, or compare a copy of '{path}' in another folder"
        ) from None
    rows, late = defaultdict[Place, set[str]](set), defaultdict[Place, set[str]](set)
    inert = defaultdict[Place, dict[str, str]](dict)
    controls = defaultdict[Place, dict[Pair, None]](dict)
    limits = defaultdict[Place, dict[Pair, str]](dict)
    tested = defaultdict[Place, set[str]](set)
    for place, row in zip(places, listed.to_dict("records"), strict=True):
        pair = row["better"], row["than"]
        if row["family"] == "baseline":
            rows[place] |= set(pair)
            tested[place] |= {row["better"]} if row["outcome"] != "not tested" else set()
        if row["family"] == "controls":
            controls[place][pair] = None
        if row["outcome"] in {*DECIDED, "undecided"}:
            limits[place][pair] = row["reason"]
        if term := _TERM.fullmatch(row["reason"]):
            inert[place][term["row"]] = term["term"]
        elif row["outcome"] == "unconverged" and (names := _LATE.fullmatch(row["reason"])):
            late[place] |= set(names["rows"].split(", "))
    external = frozenset(listed.loc[listed["family"] == "external", "better"])
    pilot = any(
        row["outcome"] == "pilot" and _FEW.fullmatch(row["reason"])
        for row in listed.to_dict("records")
    )
    pairs = {place: tuple(own) for place, own in controls.items()}
    return Told(rows, external, inert, late, pilot, looks, pairs, limits, tested)
