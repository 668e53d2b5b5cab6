"""What the tables say, cell by cell, independent of Markdown or LaTeX."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import DatasetFacts, Facts, MethodFacts
from benchmarks.report.load import rows_of
from benchmarks.report.results import Results, titled
from benchmarks.report.tables import NONE, Rows, number, p_value, points, ranges
from benchmarks.statistics.difference import Difference, phrase
from benchmarks.statistics.mechanisms import State
from benchmarks.statistics.ranks import RankInterval

# Behind the names of methods that the one with the best mean is not better than.
MARK = "†"
# Behind those that have an inert or a faint term.
IDLE: Mapping[State, str] = {"inert": "‡", "faint": "°"}
_WORDS = ("Method", "Contrast", "Outcome")
DIFFERENCE = "Difference, points [95 %]"
_DICE = "Dice, % [95 %]"
_COMPARED = (DIFFERENCE, "p (Holm)", "p (false claim)")
# Column of a table of which runs are missing, and what a row without any run says.
RUNS = "Runs"
MISSING = "missing"


@dataclass(frozen=True)
class Section:
    """Results of one data set at one labelled count.

    Attributes:
        title: of the section.
        header: names of the columns.
        rows: one per method, as long as `header`.
        sample: runs and patients, in a sentence.
    """

    title: str
    header: tuple[str, ...]
    rows: Rows
    sample: str

    def only(self, *names: str) -> Section:
        """The columns whose names begin with these words, in this order."""
        chosen = [i for name in names for i, h in enumerate(self.header) if h.startswith(name)]
        header = tuple(self.header[i] for i in chosen)
        rows = tuple(tuple(row[i] for i in chosen) for row in self.rows)
        return Section(self.title, header, rows, self.sample)

    def without(self, name: str) -> Section:
        """All columns but one, which need not be there."""
        return self.only(*(h for h in self.header if h != name))

    @property
    def words(self) -> tuple[int, ...]:
        """Columns that hold words."""
        return tuple(i for i, name in enumerate(self.header) if name in _WORDS)


def sections(config: BenchmarkConfig, facts: Facts, results: Results) -> list[Section]:
    """One section per data set and labelled count, in grid order.

    A method with all labels is shown in every section of its data set, with its own count. Where
    runs of the grid are missing, a column counts them, and a row without any says so.
    """
    return [
        _section(config, facts, results, dataset, labels)
        for dataset in facts.datasets
        for labels in config.data[dataset.id].labels
    ]


def select(frame: pd.DataFrame, facts: Facts, *, dataset: str, labels: int) -> pd.DataFrame:
    """Rows of a section: those with its labelled count, and those of methods with all labels."""
    inside = (frame["labels"] == labels) | rows_of(frame, facts.whole)
    return frame[(frame["dataset"] == dataset) & inside]


def cell_title(dataset: DatasetFacts, labels: int) -> str:
    """Such as "ACDC, 7 labelled patients", with "(10 %)" where that was asked for."""
    shares = [f"{percent:g} %" for count, percent in dataset.shares if count == labels]
    share = f" ({', '.join(shares)})" if shares else ""
    return f"{dataset.title}, {dataset.labelled(labels)}{share}"


def _section(
    config: BenchmarkConfig, facts: Facts, results: Results, dataset: DatasetFacts, labels: int
) -> Section:
    table = select(results.table, facts, dataset=dataset.id, labels=labels)
    last = table[table["checkpoint"] == "last"].set_index("key", drop=False)
    cell = (dataset.id, labels, "last")
    ranks = {r.method: r for r in results.ranks if (r.dataset, r.labels, r.checkpoint) == cell}
    family = (*results.baseline, *results.external)
    differences = {d.better: d for d in family if (d.dataset, d.labels, d.checkpoint) == cell}
    unit, planned = dataset.unit, len(config.grid.pairs)
    rows: list[dict[str, str]] = []
    for method in facts.rows:
        if method.key not in last.index:
            if not method.external:  # which need not be in every cell
                word = dict.fromkeys(("Outcome" if facts.baseline else _DICE,), MISSING)
                rows.append({"Method": method.title, RUNS: f"0 of {planned}", **word})
            continue
        record = last.loc[method.key].to_dict()
        rank, difference = ranks.get(method.key), differences.get(method.key)
        done = results.done[dataset.id, int(record["labels"]), method.key]
        rows.append(
            {
                "Method": titled_row(method, results, dataset.id)
                + _mark(rank)
                + _idle(results, dataset.id, record, method.key),
                RUNS: f"{done}" if method.external else f"{done} of {planned}",
                _DICE: points(record["dice"], record["dice_low"], record["dice_high"]),
                **_compared(method, difference, facts),
                "Rank [95 %]": _rank(rank),
                "NSD, %": number(100 * record["nsd"]),
                f"HD95, {unit} [quartiles]": _quartiles(record),
                f"ASSD, {unit}": number(record["assd_mm"]),
                "Failures": f"{record['failed']} / {record['values']}",
            }
        )
    header = _header(unit, compared=facts.baseline is not None, counted=bool(results.interim))
    text = tuple(tuple(row.get(name, "") for name in header) for row in rows)
    sample = _sample(config, facts, dataset, last, _slices(results.cases, dataset))
    return Section(cell_title(dataset, labels), header, text, sample)


def _header(unit: str, *, compared: bool, counted: bool) -> tuple[str, ...]:
    return (
        "Method",
        *([RUNS] if counted else []),
        _DICE,
        *(_COMPARED if compared else ()),
        "Rank [95 %]", "NSD, %", f"HD95, {unit} [quartiles]", f"ASSD, {unit}", "Failures",
        *(["Outcome"] if compared else []),
    )  # fmt: skip


def titled_row(method: MethodFacts, results: Results, dataset: str) -> str:
    """Name of a row; with the labelled patients of one that has all of them."""
    count = results.whole.get((dataset, method.key))
    return f"{method.title} ({count} labelled)" if method.all_labels and count else method.title


def _mark(rank: RankInterval | None) -> str:
    return f" {MARK}" if rank is not None and not rank.separable else ""


def _idle(results: Results, dataset: str, record: Mapping[Hashable, Any], key: str) -> str:
    """Marks of the states of a method's terms."""
    states = {state for _, state in results.idle.get((dataset, int(record["labels"]), key), ())}
    return "".join(f" {mark}" for state, mark in IDLE.items() if state in states)


def _compared(method: MethodFacts, d: Difference | None, facts: Facts) -> dict[str, str]:
    if d is None:
        # Where the baseline has no runs yet, nothing can be compared.
        word = "reference" if method.reference else f"baseline {MISSING}"
        return {"Outcome": "baseline" if method.baseline else word}
    values = (points(d.mean, d.low, d.high, sign="+"), p_value(d.p_holm), p_value(d.p_false))
    outcome = phrase(titled([d], facts.titles)[0])
    return {**dict(zip(_COMPARED, values, strict=True)), "Outcome": outcome}


def _rank(rank: RankInterval | None) -> str:
    return "" if rank is None else f"{rank.rank:g} [{rank.low}, {rank.high}]"


def _quartiles(record: Mapping[Hashable, Any]) -> str:
    median, low, high = (record[f"hd95_{name}"] for name in ("mm", "low", "high"))
    return NONE if math.isnan(median) else f"{median:.1f} [{low:.1f}, {high:.1f}]"


def in_folds(config: BenchmarkConfig) -> bool:
    """Whether all data sets are divided for a cross-validation."""
    return {config.data[d].split.scheme for d in config.grid.datasets} == {"cv"}


def _slices(cases: pd.DataFrame, dataset: DatasetFacts) -> int | None:
    """How many images stand for patients where a data set names none; None where it does."""
    if dataset.word == DatasetFacts.word:
        return None
    return int(cases.loc[cases["dataset"] == dataset.id, "case"].nunique())


def _sample(
    config: BenchmarkConfig,
    facts: Facts,
    dataset: DatasetFacts,
    last: pd.DataFrame,
    images: int | None,
) -> str:
    """Runs and patients of a section in words."""
    scored = [m for m in facts.methods if m.key in last.index]
    if not scored:
        return "No run is scored yet."
    grid_rows = last.loc[[m.key for m in scored]]
    compared = grid_rows[[not m.all_labels for m in scored]]
    own = compared if len(compared) else grid_rows
    runs, patients = (sorted(set(own[name])) for name in ("runs", "patients"))
    grid = config.grid
    folds, seeds = ranges(grid.folds), ranges(grid.seeds)
    pairs = "one seed per fold" if grid.bound else "each with each"
    how = "" if len(grid.pairs) == 1 or min(len(grid.folds), len(grid.seeds)) == 1 else f", {pairs}"
    once = ", each tested in one fold" if config.data[dataset.id].split.scheme == "cv" else ""
    count = " or ".join(map(str, patients))
    if images not in (None, *patients):  # those that are known to be of one patient
        count, once = f"{images}", f" that count as {count}{once}"
    return (
        f"{count} test {dataset.word}s{once};"
        f" {' or '.join(map(str, runs))} run{'s' * (runs != [1])} per method"
        f" (fold{'s' * (len(grid.folds) > 1)} {folds};"
        f" seed{'s' * (len(grid.seeds) > 1)} {seeds}{how})."
    )
