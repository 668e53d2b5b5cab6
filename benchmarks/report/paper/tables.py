"""Booktabs tables of chosen methods and columns: one per data set, with a note below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import pandas as pd

from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import DatasetFacts, Facts, MethodFacts
from benchmarks.report.latex import escape
from benchmarks.report.paper.columns import (
    Column,
    Number,
    Spread,
    cell_of,
    number,
    unit_of,
)
from benchmarks.report.paper.layout import SPACE, Cell, Form, Style, form_of
from benchmarks.report.results import Results, fewest_runs
from benchmarks.report.sections import MARK, select, titled_row
from benchmarks.report.tables import plural
from benchmarks.scoring.cases import EXTERNAL
from benchmarks.statistics.difference import looks_told
from benchmarks.statistics.rule import MIN_RUNS

Group = tuple[str, list[list[Cell]]]


@dataclass(frozen=True)
class Printed:
    """What is printed.

    Attributes:
        facts: of all rows of the benchmark.
        results: of all rows of the benchmark.
        rows: that are shown, in order.
        columns: that are shown, in order.
        spread: behind the numbers.
    """

    facts: Facts
    results: Results
    rows: tuple[MethodFacts, ...]
    columns: tuple[Column, ...]
    spread: Spread


def tables_text(config: BenchmarkConfig, printed: Printed, style: Style) -> str:
    """The file `table.tex`.

    Args:
        config: the benchmark.
        printed: rows and columns.
        style: a paper's tables float over both columns, those of slides do not.

    Raises:
        ConfigError: a table is wider than the text.
    """
    parts = ["% Needs \\usepackage{booktabs}. Made by `python -m benchmarks report --out DIR`."]
    for dataset in printed.facts.datasets:
        header = [("Method", ""), *((c.title, unit_of(c, dataset)) for c in printed.columns)]
        counts = config.data[dataset.id].labels
        groups = [_group(printed, dataset, labels) for labels in counts]
        form = form_of(header, [row for _, group in groups for row in group], style)
        label, note = f"tab:{config.name}-{dataset.id}".replace("_", "-"), _note(printed, dataset)
        # A slide has room for one labelled count.
        for shown in [groups] if style == "paper" else [[group] for group in groups]:
            tabular = tabular_text(header, shown, form)
            parts.append(framed(tabular, dataset.title, note, label, form, style))
    return "\n".join(parts)


def _group(printed: Printed, dataset: DatasetFacts, labels: int) -> Group:
    """Rows of one labelled count and their heading."""
    results = printed.results
    table = select(results.table, printed.facts, dataset=dataset.id, labels=labels)
    last = table[table["checkpoint"] == "last"]
    here = dict(zip(last["key"], last["labels"].astype(int), strict=True))
    cell = (dataset.id, labels, "last")
    family = (*results.baseline, *results.external)
    differences = {d.better: d for d in family if (d.dataset, d.labels, d.checkpoint) == cell}
    ranks = {r.method: r for r in results.ranks if (r.dataset, r.labels, r.checkpoint) == cell}
    made = []
    for method in (m for m in printed.rows if m.key in here):
        own = _cases(results, dataset.id, here[method.key], method)
        rank, difference = ranks.get(method.key), differences.get(method.key)
        mark = f" {MARK}" if rank is not None and not rank.separable else ""
        cells = (cell_of(own, c, printed.spread, difference, rank) for c in printed.columns)
        made.append([(titled_row(method, results, dataset.id) + mark, ""), *cells])
    own = last[(last["variant"] != EXTERNAL) & (last["labels"] == labels)]
    patients, runs = ("/".join(map(str, sorted(set(own[n])))) for n in ("patients", "runs"))
    return f"{dataset.labelled(labels)} ({patients} test {dataset.word}s, runs: {runs})", made


def _cases(results: Results, dataset: str, labels: int, method: MethodFacts) -> pd.DataFrame:
    c = results.cases
    own = (c["dataset"] == dataset) & (c["labels"] == labels) & (c["checkpoint"] == "last")
    return c[own & (c["method"] == method.id) & (c["variant"] == method.variant)]


def tabular_text(
    header: Sequence[Cell], groups: Sequence[Group], form: Form, *, words: int = 1
) -> str:
    """A tabular of natural width, with a heading above each group.

    Args:
        header: title and unit of each column.
        groups: rows with their heading, or "".
        form: of the cells.
        words: columns of words, which come first.
    """
    units = any(unit for _, unit in header)
    columns = "l" * words + "r" * (len(header) - words)
    lines = [rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", r"\toprule"]
    lines.append(_line([escape(title) for title, _ in header]))
    if units:
        lines.append(_line([escape(unit) for _, unit in header]))
    lines.append(r"\midrule")
    for place, (title, rows) in enumerate(groups):
        lines += [r"\addlinespace"] if place else []
        heading = rf"\multicolumn{{{len(header)}}}{{@{{}}l}}{{\emph{{{escape(title)}}}}}"
        lines += [heading + r" \\"] if title else []
        lines += [_line([_cell(cell, form) for cell in row]) for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cell(cell: Cell, form: Form) -> str:
    value, spread = (escape(text) for text in cell)
    value = value.replace("-", "$-$") if value[:1] == "-" else value
    spread = spread.replace("-", "$-$")
    if not spread:
        return value
    if form.stacked:
        # Braces, or a bracket behind the end of the line would be read as its option.
        return rf"\begin{{tabular}}[t]{{@{{}}r@{{}}}}{value}\\{{}}{spread}\end{{tabular}}"
    return f"{value} {spread}"


def framed(tabular: str, caption: str, note: str, label: str, form: Form, style: Style) -> str:
    """A tabular with caption and note."""
    size = rf"{form.size}\setlength{{\tabcolsep}}{{{SPACE:g}pt}}"
    if style == "slides":  # each on a slide of its own
        body = [r"\centering", size, tabular, r"\par\smallskip", rf"\tiny {note}\par"]
        return "\n".join(["{", *body, "}", r"\framebreak", ""])
    return "\n".join(
        [
            r"\begin{table*}[tb]",
            r"\centering",
            r"\setlength{\belowcaptionskip}{6pt}",
            rf"\caption{{{escape(caption)}}}",
            rf"\label{{{label}}}",
            size,
            tabular,
            r"\par\smallskip",
            rf"\begin{{minipage}}{{\textwidth}}\footnotesize {note}\end{{minipage}}",
            r"\end{table*}",
            "",
        ]
    )


def _note(printed: Printed, dataset: DatasetFacts) -> str:
    """How to read the table, in a few sentences of LaTeX."""
    kinds, facts = {c.kind for c in printed.columns}, printed.facts
    words = ["Mean ± standard deviation over patients, runs averaged."]
    if printed.spread == "interval":
        distances = " (distances: median over patients [quartiles])" if "distance" in kinds else ""
        words = [f"Mean [95 % interval over runs and patients]{distances}."]
    if kinds & {"difference", "p", "outcome"} and facts.baseline:
        family = plural(sum(not m.reference for m in facts.methods) - 1, "comparison")
        looks = max((d.looks for d in printed.results.baseline), default=1)
        words.append(
            f"Differences in Dice to {facts.baseline.title}, paired; Holm's correction over"
            f" {family}{looks_told(looks)}."
        )
    if "nsd" in {c.name for c in printed.columns}:
        words.append(f"NSD at {dataset.tolerance:g} {dataset.unit}.")
    fewest = fewest_runs(printed.results)
    if fewest < MIN_RUNS or printed.results.pilot:
        words.append(f"{plural(fewest, 'run')}: a pilot, without verdicts.")
    if any(r.dataset == dataset.id for r in printed.results.ranks):
        words.append(f"{MARK}: not separable from the best mean.")
    words += dict.fromkeys(m.footnote for m in printed.rows if m.footnote)
    if dataset.synthetic:
        words.append("Generated images, which say nothing about patients.")
    return escape(" ".join(words))


def numbers_frame(printed: Printed) -> pd.DataFrame:
    """Content of `table.csv`: the numbers behind the shares and distances of the tables."""
    table = printed.results.table
    last = table[table["checkpoint"] == "last"]
    made = []
    for dataset in printed.facts.datasets:
        for method in printed.rows:
            own = last[(last["dataset"] == dataset.id) & (last["key"] == method.key)]
            for labels in own["labels"].astype(int):
                cases = _cases(printed.results, dataset.id, labels, method)
                for column in (c for c in printed.columns if c.metric):
                    found = astuple(number(cases, column))
                    made.append((dataset.id, labels, method.key, column.name, *found))
    names = ["dataset", "labels", "method", "column", *(f.name for f in fields(Number))]
    return pd.DataFrame(made, columns=names)
