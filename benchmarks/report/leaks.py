"""What a partition that tests patients of its training part adds, for the page of findings."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from benchmarks.common.workspace import CASES, report_folder, split_file
from benchmarks.plan.resolve import dimension, method_params
from benchmarks.report.tables import pipe_table
from benchmarks.report.told import Told
from benchmarks.statistics.leak import Kind, NoLeakError, Part, leak_effect
from datasets.preparing.split import load_split
from methods import load_method

NOTE = (
    "a leak would be the gain of cases whose patient was trained on beyond that of the others, and"
    " beyond theirs in runs that did not; few cases, no test"
)
HEADER = ("Test cases", "Runs", "Dice there, %", "In grouped folds, %", "Gain, points")
_WORDS: dict[Kind, str] = {
    "trained on": "whose patient was trained on",
    "not in these runs": "the same, not in these runs",
    "never": "others",
}


def leak_cells(part: Part) -> tuple[str, ...]:
    """One line of the comparison, below `HEADER`."""
    return (
        f"{part.cases} {_WORDS[part.kind]}",
        f"{part.runs}",
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
        found = leak_effect(there, grouped, dataset, _read(one, dataset, root))
    except NoLeakError:
        return []
    return [(one.title(part.method), *leak_cells(part)) for part in found]


def _read(one: Told, dataset: str, root: Path) -> dict[tuple[str, int, int], tuple[str, ...]]:
    """Cases that the runs of a partition read, by method, labelled count and fold.

    There a case is a patient.
    """
    config = one.config
    split = load_split(split_file(root, config.name, dataset))
    found = {}
    for method in one.facts.methods:
        params = method_params(config, method.key, dimension(config, dataset))
        unlabeled = load_method(method.id).batch_sizes(params, 1, 1)[1] > 0
        for number, fold in enumerate(split.folds):
            every = len(fold.train) - fold.without_mask
            for labels in (every,) if method.all_labels else config.data[dataset].labels:
                read = fold.train if unlabeled else fold.labeled(labels)
                found[method.key, labels, number] = read
    return found
