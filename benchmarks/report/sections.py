"""What the tables say, cell by cell, independent of Markdown or LaTeX."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import DatasetFacts, Facts
from benchmarks.report.load import all_labels_rows
from benchmarks.report.stats import DRAWS

Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """Results of one data set at one labelled count.

    Attributes:
        title: of the section.
        header: of the scores.
        rows: one per method, as long as `header`.
        difference_header: of the differences.
        differences: one row per method that is compared with the baseline; may be empty.
        notes: what a reader must know, one sentence or two each.
    """

    title: str
    header: tuple[str, ...]
    rows: Rows
    difference_header: tuple[str, ...]
    differences: Rows
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Results:
    """Everything the tables and figures are made of.

    Attributes:
        cases: rows of the case tables, one labelled count per cell.
        table: from `stats.summarize`.
        differences: from `stats.paired_differences`.
    """

    cases: pd.DataFrame
    table: pd.DataFrame
    differences: pd.DataFrame


def sections(config: BenchmarkConfig, facts: Facts, results: Results) -> list[Section]:
    """One section per data set and labelled count, in grid order.

    A method with all labels is shown in every section of its data set, with its own count.
    """
    return [
        _section(config, facts, results, dataset=dataset, labels=labels)
        for dataset in facts.datasets
        for labels in config.data[dataset.id].labels
    ]


def select(frame: pd.DataFrame, facts: Facts, *, dataset: str, labels: int) -> pd.DataFrame:
    """Rows of a section: those with its labelled count, and those of methods with all labels."""
    inside = (frame["labels"] == labels) | all_labels_rows(frame, facts)
    return frame[(frame["dataset"] == dataset) & inside]


def _section(
    config: BenchmarkConfig, facts: Facts, results: Results, *, dataset: DatasetFacts, labels: int
) -> Section:
    table = select(results.table, facts, dataset=dataset.id, labels=labels)
    cases = select(results.cases, facts, dataset=dataset.id, labels=labels)
    differences = results.differences
    differences = differences[
        (differences["dataset"] == dataset.id)
        & (differences["labels"] == labels)
        & (differences["checkpoint"] == "last")
    ]
    unit = dataset.unit
    return Section(
        title=f"{dataset.title}, {labels} labelled patient{'s' if labels != 1 else ''}",
        header=(
            "Method",
            "Dice, % [95 % CI]",
            "Jaccard, %",
            f"HD95, {unit}",
            f"ASD, {unit}",
            "Dice of best checkpoint, %",
        ),
        rows=_score_rows(facts, table),
        difference_header=(
            "Method",
            "Dice difference, points [95 % CI]",
            "p",
            "p (Holm)",
            "Outcome",
        ),
        differences=_difference_rows(facts, differences),
        notes=_notes(config, facts, dataset, table, cases[cases["checkpoint"] == "last"]),
    )


def _score_rows(facts: Facts, table: pd.DataFrame) -> Rows:
    rows = []
    for method in facts.methods:
        own = table[(table["method"] == method.id) & (table["variant"] == method.variant)]
        last = own[own["checkpoint"] == "last"].iloc[0]
        best = own[own["checkpoint"] == "best"].iloc[0]
        title = f"{method.title} ({last['labels']} labelled)" if method.all_labels else method.title
        rows.append(
            (
                title,
                _interval(last["dice"], last["dice_low"], last["dice_high"]),
                _number(100 * last["jaccard"]),
                _number(last["hd95_mm"]),
                _number(last["asd_mm"]),
                _number(100 * best["dice"]),
            )
        )
    return tuple(rows)


def _difference_rows(facts: Facts, differences: pd.DataFrame) -> Rows:
    titles = {(m.id, m.variant): m.title for m in facts.methods}
    return tuple(
        (
            titles[row["method"], row["variant"]],
            _interval(row["difference"], row["difference_low"], row["difference_high"], sign="+"),
            _p_value(row["p"]),
            _p_value(row["p_holm"]),
            row["outcome"],
        )
        for row in differences.to_dict("records")
    )


def _notes(
    config: BenchmarkConfig,
    facts: Facts,
    dataset: DatasetFacts,
    table: pd.DataFrame,
    cases: pd.DataFrame,
) -> tuple[str, ...]:
    patients = " or ".join(str(n) for n in sorted(set(table["patients"])))
    seeds = ", ".join(str(s) for s in config.grid.seeds)
    synthetic = "Synthetic phantom: generated images, which say nothing about patients."
    notes = [
        synthetic if dataset.synthetic else "",
        "Selection rule: the last checkpoint of every run; the rightmost column is the checkpoint "
        "with the best validation score instead.",
        f"Unit: test patient (n = {patients}). Seeds ({seeds}), folds "
        f"({', '.join(str(f) for f in config.grid.folds)}), cases and classes are averaged within "
        f"a patient first. Intervals: 95 % percentile bootstrap over patients, {DRAWS:,} draws; "
        "they do not cover the variation between training runs.",
        _empty_note(facts, cases),
        _difference_note(facts),
        *(m.footnote for m in facts.methods),
    ]
    return tuple(dict.fromkeys(note for note in notes if note))


def _empty_note(facts: Facts, cases: pd.DataFrame) -> str:
    counts = cases.groupby(["method", "variant", "empty"]).size()
    one = {
        m.title: sum(int(counts.get((m.id, m.variant, e), 0)) for e in ("reference", "prediction"))
        for m in facts.methods
    }
    named = ", ".join(f"{title} {count}" for title, count in one.items() if count)
    both = int((cases["empty"] == "both").sum())
    return (
        "Empty masks: both empty is Dice 1 and leaves the distances out; exactly one empty is Dice "
        "0, with the image diagonal as both distances. "
        f"Of {len(cases)} values (runs x cases x classes), {both} had both empty and "
        f"{sum(one.values())} exactly one{f' ({named})' if named else ''}."
    )


def _difference_note(facts: Facts) -> str:
    if facts.baseline is None:
        return "No differences: `grid.baseline` names no method."
    return (
        f"Differences: method minus {facts.baseline.title}, paired by patient, last checkpoint; "
        "Wilcoxon signed-rank test, Holm-corrected over the methods listed. Superior or inferior: "
        "corrected p < 0.05 and an interval that excludes 0; anything else is inconclusive, which "
        "is not evidence of equality. Methods with all labels are references and not tested."
    )


def _interval(value: float, low: float, high: float, *, sign: str = "") -> str:
    """Fractions as percent, one decimal, with their interval."""
    return " ".join(
        (f"{100 * value:{sign}.1f}", f"[{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]")
    )


def _number(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.1f}"


def _p_value(value: float) -> str:
    if math.isnan(value):
        return "n/a"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
