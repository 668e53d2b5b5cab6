"""What a partition that tests patients of its training part adds, for the page of findings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmarks.common.errors import DataError
from benchmarks.common.workspace import CASES, report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import collect_facts
from benchmarks.report.tables import pipe_table
from benchmarks.statistics.leak import Part, leak_effect

NOTE = "the leak is the gain of leaking cases beyond that of the others; few cases, no test"
HEADER = ("Test cases", "Dice there, %", "In grouped folds, %", "Gain, points")


def leak_cells(part: Part) -> tuple[str, ...]:
    """One line of the comparison, below `HEADER`."""
    return (
        f"{part.cases} {'that leak' if part.leaking else 'others'}",
        f"{100 * part.there:.1f}",
        f"{100 * part.grouped:.1f}",
        f"{100 * part.gain:+.1f}",
    )


def leak_section(configs: Iterable[BenchmarkConfig], root: Path) -> str:
    """Published partitions beside the folds of the same data that keep patients together.

    Args:
        configs: of benchmarks with a report.
        root: the checkout.

    Returns:
        A table as Markdown; "" where no two benchmarks show a leak.
    """
    known = list(configs)
    rows = []
    for one, other in ((a, b) for a in known for b in known):
        for dataset in set(one.grid.datasets) & set(other.grid.datasets):
            schemes = (one.data[dataset].split.scheme, other.data[dataset].split.scheme)
            if schemes != ("official", "cv"):
                continue
            link = f"[`{one.name}`]({one.name}/README.md), [`{other.name}`]({other.name}/README.md)"
            rows += [(link, *line) for line in _lines(one, other, root)]
    if not rows:
        return ""
    table = pipe_table(
        ("Partition, grouped folds", "Method", *HEADER), tuple(rows), words=(0, 1, 2)
    )
    return f"{table}\n\nThe same cases in both: {NOTE}."


def _lines(one: BenchmarkConfig, other: BenchmarkConfig, root: Path) -> list[tuple[str, ...]]:
    tables = (report_folder(root, config.name) / CASES for config in (one, other))
    try:
        found = leak_effect(*tables)
    except DataError:  # no case of the partition leaks
        return []
    titles = collect_facts(one).titles
    return [(titles[part.method], *leak_cells(part)) for part in found]
