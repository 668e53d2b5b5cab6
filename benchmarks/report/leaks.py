"""What a partition that tests patients of its training part adds, for the page of findings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from benchmarks.common.workspace import CASES, report_folder
from benchmarks.report.tables import pipe_table
from benchmarks.report.told import Told
from benchmarks.statistics.leak import NoLeakError, Part, leak_effect

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


def leak_section(told: Sequence[Told], root: Path) -> str:
    """Published partitions beside the folds of the same data that keep patients together.

    Args:
        told: benchmarks with a report.
        root: the checkout.

    Returns:
        A table as Markdown; "" where no two benchmarks show a leak.

    Raises:
        DataError: a case table is damaged, or two share no method.
    """
    rows: list[tuple[str, ...]] = []
    for one, other in product(told, told):
        for dataset in one.config.grid.datasets:
            if _scheme(one, dataset) == "official" and _scheme(other, dataset) == "cv":
                rows += [
                    (f"{one.link}, {other.link}", *c) for c in _cells(one, other, dataset, root)
                ]
    if not rows:
        return ""
    header = ("Partition, grouped folds", "Method", *HEADER)
    table = pipe_table(header, tuple(rows), words=(0, 1, 2))
    return f"{table}\n\nThe same cases in both: {NOTE}."


def _scheme(one: Told, dataset: str) -> str:
    known = dataset in one.config.grid.datasets
    return one.config.data[dataset].split.scheme if known else ""


def _cells(one: Told, other: Told, dataset: str, root: Path) -> list[tuple[str, ...]]:
    there, grouped = (report_folder(root, told.config.name) / CASES for told in (one, other))
    try:
        found = leak_effect(there, grouped, dataset)
    except NoLeakError:
        return []
    return [(one.title(part.method), *leak_cells(part)) for part in found]
