"""Published figures as a table of their own, with their sources."""

from __future__ import annotations

import csv
from pathlib import Path

from benchmarks.common.workspace import report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import Facts
from benchmarks.report.latex import escape
from benchmarks.report.paper.layout import Cell, Style, form_of
from benchmarks.report.paper.tables import Group, framed, tabular_text

PUBLISHED = "published_results.csv"
_HEADER = (
    ("Method", ""), ("Network", ""), ("Dice", "%"), ("Jaccard", "%"), ("HD95", ""), ("ASD", ""),
    ("Source", ""),
)  # fmt: skip
_VALUES = ("dice", "jaccard", "hd95", "asd")
_WORDS = 2  # columns of words
_NOTE = (
    "Other splits, checkpoints and evaluations than ours, and than each other's: not comparable"
    " with our tables. Distances in the units of their sources."
)
_SLIDE = 10  # rows that a slide has room for, with their sources


def read_published(root: Path) -> list[dict[str, str]]:
    """All figures from the literature that the checkout holds, with their sources."""
    path = report_folder(root, "") / PUBLISHED
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def published_rows(
    config: BenchmarkConfig, facts: Facts, root: Path
) -> dict[str, list[dict[str, str]]]:
    """Published figures by id of a data set, with the benchmark's labelled counts.

    Args:
        config: the benchmark.
        facts: its data sets.
        root: the checkout.
    """
    rows, found = read_published(root), {}
    for dataset in facts.datasets:
        counts = {str(n) for n in config.data[dataset.id].labels}
        title = dataset.title.replace(" ", "")
        own = [r for r in rows if r["dataset"] == title and r["labelled"] in counts]
        if own:
            found[dataset.id] = own
    return found


def literature_table(config: BenchmarkConfig, facts: Facts, root: Path, style: Style) -> str:
    """The file `literature.tex`, one table per data set and labelled count; "" without figures."""
    parts = []
    for dataset, rows in published_rows(config, facts, root).items():
        for labels in config.data[dataset].labels:
            own = [row for row in rows if row["labelled"] == str(labels)]
            if own:
                title = f"{facts.titles[dataset]}, {facts.dataset(dataset).labelled(labels)}"
                label = f"tab:literature-{dataset}-{labels}".replace("_", "-")
                caption = f"{title}: figures from the literature"
                size = len(own) if style == "paper" else _SLIDE
                parts += [
                    _table(own[first : first + size], caption, label, style)
                    for first in range(0, len(own), size)
                ]
    return "\n".join(parts)


def _table(rows: list[dict[str, str]], caption: str, label: str, style: Style) -> str:
    sources = list(dict.fromkeys(row["source"] for row in rows))
    groups: list[Group] = [("", [_line(row, sources) for row in rows])]
    form = form_of(_HEADER, groups[0][1], style)
    listed = "; ".join(f"[{i}] {source}" for i, source in enumerate(sources, 1))
    note = escape(f"{_NOTE} Sources: {listed}.")
    tabular = tabular_text(_HEADER, groups, form, words=_WORDS)
    return framed(tabular, caption, note, label, form, style)


def _line(row: dict[str, str], sources: list[str]) -> list[Cell]:
    texts = (row["method"], row["backbone"], *(row[name] for name in _VALUES))
    return [*((text, "") for text in texts), (f"[{sources.index(row['source']) + 1}]", "")]
