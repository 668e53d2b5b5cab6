"""All numbers and words of a report, computed once by the one rule."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import pandas as pd

from benchmarks.config import BenchmarkConfig, ContrastConfig
from benchmarks.report.facts import Facts
from benchmarks.report.load import all_labels_counts, rows_of, with_cell_labels
from benchmarks.report.tables import plural
from benchmarks.scoring.cases import EXTERNAL
from benchmarks.statistics.difference import (
    EXPLORATORY,
    UNSTUDIED,
    Difference,
    limited,
    pilot_of_patients,
)
from benchmarks.statistics.mechanisms import SUMMARY, State, inert_terms
from benchmarks.statistics.pairs import cells, method_keys
from benchmarks.statistics.ranks import RankInterval, rank_intervals
from benchmarks.statistics.rule import against, compare
from benchmarks.statistics.summary import CELL, summarize

_NONE_LATE: Mapping[tuple[str, int], Collection[str]] = MappingProxyType({})

J = TypeVar("J")


@dataclass(frozen=True)
class Results:
    """Everything the tables and figures are made of.

    Attributes:
        cases: rows of the case tables, one labelled count per cell.
        table: one row per data set, method, labelled count and checkpoint, from `summarize`, with
            `key` and `values` (all scored values, of which `failed` count the failures).
        baseline: every method against the baseline.
        declared: the declared contrasts.
        controls: every method against every control that trains on labels alone, in the same way
            as it but without its loss terms; a family of its own.
        external: every external row against the baseline, a family of its own in each cell, so that
            such a row changes no outcome of the benchmark.
        ranks: of the grid's methods in each cell.
        barren: (data set, labelled count, key) of methods that predict nothing, last checkpoint.
        idle: by data set, labelled count and key, the inert and faint terms of a method.
        done: by data set, labelled count and key, the runs that have scores.
        interim: of a grid of which runs are missing, how many there are, in a sentence; "" of a
            complete one.
        unfit: scores that were left out of such a table, and why.
        mixed: of rows that were trained in different precisions, a warning.
        pilot: whether no verdict is possible, whatever the runs.
        late: rows not shown to be converged, by data set and labelled count.
        unstudied: keys of rows without a study of longer training.
        references: keys of rows with all labels not shown to be converged, by data set.
        lengths: of a study of training lengths, how many rows are converged, in words.
        whole: by data set and key, the labelled counts of a method with all labels, in words.
    """

    cases: pd.DataFrame
    table: pd.DataFrame
    baseline: tuple[Difference, ...]
    declared: tuple[Difference, ...]
    controls: tuple[Difference, ...]
    external: tuple[Difference, ...]
    ranks: tuple[RankInterval, ...]
    barren: tuple[tuple[str, int, str], ...]
    idle: Mapping[tuple[str, int, str], tuple[tuple[str, State], ...]]
    done: Mapping[tuple[str, int, str], int]
    interim: str = ""
    unfit: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()
    pilot: bool = False
    late: Mapping[tuple[str, int], Collection[str]] = field(default_factory=dict)
    unstudied: Collection[str] = ()
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)
    lengths: str = ""
    whole: Mapping[tuple[str, str], str] = field(default_factory=dict)


def collect_results(
    config: BenchmarkConfig,
    facts: Facts,
    merged: pd.DataFrame,
    mechanisms: pd.DataFrame | None = None,
    unfit: Sequence[str] = (),
    late: Mapping[tuple[str, int], Collection[str]] = _NONE_LATE,
    *,
    unstudied: Collection[str] = (),
) -> Results:
    """Means, differences, ranks; references with more labels are not compared.

    Args:
        config: the benchmark.
        facts: its methods, data sets and external rows.
        merged: rows of all case tables.
        mechanisms: judged terms of all runs, where there are ledgers; what has an inert one is not
            tested.
        unfit: scores that a partial report leaves out, and why.
        late: rows not shown to be converged, by data set and labelled count.
        unstudied: keys of rows without a study of longer training.
    """
    cases = with_cell_labels(merged, facts)
    whole = cases[~rows_of(cases, (m for m in facts.rows if m.reference))]
    compared = whole[whole["variant"] != EXTERNAL]
    baseline = config.grid.baseline
    table = summarize(cases)
    terms = pd.DataFrame(columns=SUMMARY) if mechanisms is None else mechanisms
    by_cell = partial(_by_cell, compared, inert_terms(terms), late, config.grid.looks)
    counts = cases.groupby(CELL, sort=False).size().rename("values").reset_index()
    table = table.merge(counts, on=CELL).assign(key=method_keys)
    done = _done(cases)
    judged = partial(_judged, config, frozenset(unstudied))
    late_family = (EXPLORATORY,) if config.grid.controls == EXPLORATORY else ()
    return Results(
        cases=cases,
        table=table,
        baseline=judged(by_cell(partial(against, baseline=baseline))) if baseline else (),
        declared=judged(by_cell(partial(compare, contrasts=config.contrasts))),
        controls=judged(
            by_cell(partial(compare, contrasts=_against_controls(facts))), *late_family
        ),
        external=judged(_against_external(whole, facts, baseline)) if baseline else (),
        ranks=_placed(by_cell(rank_intervals), pilot=config.grid.pilot),
        barren=tuple(
            (cell.key[0], cell.key[1], name)
            for cell in cells(cases)
            for name in cell.methods
            if cell.key[2] == "last" and name in cell.barren
        ),
        idle=_marked(terms),
        done=done,
        interim=_interim(config, facts, done),
        unfit=tuple(f"Left out: {words}." for words in unfit),
        pilot=config.grid.pilot,
        late=late,
        unstudied=unstudied,
        whole=all_labels_counts(merged, facts),
    )


def _judged(
    config: BenchmarkConfig,
    unstudied: frozenset[str],
    found: Sequence[Difference],
    *limits: str,
) -> tuple[Difference, ...]:
    """The comparisons with their limits; of a pilot of patients none is a verdict."""
    if config.grid.pilot:
        return tuple(pilot_of_patients(d, config.data[d.dataset].word) for d in found)
    unknown = [(UNSTUDIED,) * bool(unstudied & {d.better, d.than}) for d in found]
    return tuple(limited(d, *limits, *words) for d, words in zip(found, unknown, strict=True))


def _placed(ranks: Sequence[RankInterval], *, pilot: bool) -> tuple[RankInterval, ...]:
    """The ranks; where patients are too few, no row is told from another."""
    count = Counter((r.dataset, r.labels, r.checkpoint) for r in ranks)
    return tuple(
        replace(r, low=1, high=count[r.dataset, r.labels, r.checkpoint], separable=False, beats=())
        if pilot
        else r
        for r in ranks
    )


def _done(cases: pd.DataFrame) -> dict[tuple[str, int, str], int]:
    runs = cases[["dataset", "labels", "fold", "seed"]].assign(key=method_keys(cases))
    groups = runs.drop_duplicates().groupby(["dataset", "labels", "key"])
    counts: dict[Any, int] = groups.size().to_dict()
    return {(str(d), int(n), str(k)): int(c) for (d, n, k), c in counts.items()}


def _interim(
    config: BenchmarkConfig, facts: Facts, done: Mapping[tuple[str, int, str], int]
) -> str:
    """How much of a grid is there; rows are counted once for every labelled count."""
    planned, rows = len(config.grid.pairs), []
    for dataset in config.grid.datasets:
        for m in facts.methods:
            counts = {n: c for (d, n, key), c in done.items() if (d, key) == (dataset, m.key)}
            if m.all_labels:
                rows.append(sum(counts.values()))
            else:
                rows += [counts.get(n, 0) for n in config.data[dataset].labels]
    some, none = sum(0 < n < planned for n in rows), rows.count(0)
    if not some + none:
        return ""
    return (
        f"Interim: {sum(rows)} of {planned * len(rows)} runs are scored; {plural(some, 'row')} of"
        f" {len(rows)} incomplete, {none} missing. Outcomes are of the runs that are there and"
        " shared with the row compared with, corrected over the rows that are there; they may"
        " change, and are no reason to stop."
    )


def _by_cell(
    cases: pd.DataFrame,
    inert: Mapping[tuple[str, int], Mapping[str, str]],
    late: Mapping[tuple[str, int], Collection[str]],
    looks: int,
    judge: Callable[..., list[J]],
) -> tuple[J, ...]:
    """What a rule says of every data set and labelled count; each has inert and late rows."""
    found: list[J] = []
    key: Any
    for key, own in cases.groupby(["dataset", "labels"], sort=False):
        cell = (str(key[0]), int(key[1]))
        unconverged = late.get(cell, ())
        found += judge(own, inert=inert.get(cell, {}), unconverged=unconverged, looks=looks)
    return tuple(found)


def _marked(terms: pd.DataFrame) -> dict[tuple[str, int, str], tuple[tuple[str, State], ...]]:
    found: dict[tuple[str, int, str], tuple[tuple[str, State], ...]] = {}
    for row in terms[terms["state"] != ""].to_dict("records"):
        key = (row["dataset"], int(row["labels"]), row["method"])
        found[key] = (*found.get(key, ()), (row["name"], row["state"]))
    return found


def _against_controls(facts: Facts) -> list[ContrastConfig]:
    """Methods against the rows on labels alone that are not compared with all rows anyway."""
    return [
        ContrastConfig(name=f"{m.key} - {control.key}", better=m.key, than=control.key)
        for m in facts.compared
        for control in facts.controls
        if not m.baseline
    ]


def _against_external(cases: pd.DataFrame, facts: Facts, baseline: str) -> tuple[Difference, ...]:
    """External rows against the baseline, in the cells that hold both."""
    found: list[Difference] = []
    for _, own in cases.groupby(["dataset", "labels"], sort=False):
        here = set(method_keys(own))
        family = [
            ContrastConfig(name=f"{m.key} - {baseline}", better=m.key, than=baseline)
            for m in facts.external
            if {m.key, baseline} <= here
        ]
        found += compare(own[own["checkpoint"] == "last"], family)
    return tuple(found)


def titled(differences: Sequence[Difference], titles: Mapping[str, str]) -> list[Difference]:
    """Comparisons with the names that tables and figures show in place of keys."""
    return [_titled(d, titles) for d in differences]


def _titled(d: Difference, titles: Mapping[str, str]) -> Difference:
    reason = d.reason
    for key in sorted({d.better, d.than}, key=len, reverse=True):
        reason = re.sub(rf"(?<![\w-]){re.escape(key)}(?![\w-])", titles[key], reason)
    dataset = titles.get(d.dataset, d.dataset)
    better, than = titles[d.better], titles[d.than]
    return replace(d, dataset=dataset, better=better, than=than, reason=reason)


def fewest_runs(results: Results) -> int:
    """Runs of the grid's cell that has the fewest, among those that have any."""
    return int(results.table.loc[results.table["variant"] != EXTERNAL, "runs"].min())
