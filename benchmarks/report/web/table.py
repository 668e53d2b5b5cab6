"""The main table of a page: what the sections say, with numbers to sort by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks.report.facts import Facts
from benchmarks.report.sections import DIFFERENCE, MISSING, Section

Json = dict[str, Any]
# Names as the sections have them, up to a unit; what a cell is sorted by in the page's numbers.
_KEYS = {
    "Dice": "dice", DIFFERENCE: "mean", "p (Holm)": "p", "p (false claim)": "false",
    "Rank": "rank", "NSD": "nsd", "HD95": "hd95_mm", "ASSD": "assd_mm", "Failures": "failed",
}  # fmt: skip
_OUTCOME = "Outcome"
_COUNT = re.compile(r"^ \([\d to]+ labelled\)")  # behind the name of a row with all labels
_COMPARED = 10  # columns of a section with a baseline

T = TypeVar("T")


@dataclass(frozen=True)
class Cell:
    """One cell: its text, what it is sorted by, and whether it tells the outcome."""

    text: str
    order: float | str
    outcome: bool = False


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        c: place of the data set with labelled count.
        m: place of the method.
        marks: behind its name.
        labels: labelled patients of this row, "" where it is missing.
        cells: as many as there are titles.
        outcome: the word that styles the line.
        missing: it has no scores here.
    """

    c: int
    m: int
    marks: str
    labels: str
    cells: tuple[Cell, ...]
    outcome: str
    missing: bool = False


def titles(sections: list[Section]) -> tuple[str, ...]:
    """Heads of the columns after method, data set and labelled count; units if all have one."""
    found = []
    for place, name in enumerate(sections[0].header[1:], start=1):
        names = {s.header[place] for s in sections}
        found.append(name if len(names) == 1 else name.split(",")[0])
    return tuple(_arranged(found, "Runs"))


def _arranged(cells: list[T], runs: T) -> list[T]:
    """Dice, what came of the comparison, the rest, and the runs; the sections end with the outcome.

    Without a baseline there is neither difference nor outcome.
    """
    if len(cells) < _COMPARED:
        return [*cells, runs]
    return [*cells[:2], cells[-1], *cells[2:-1], runs]


def rows(facts: Facts, made: Json, sections: list[Section], planned: int) -> list[Row]:
    """The lines of all sections; a method without scores in a section has a line that says so.

    Args:
        facts: the benchmark's methods.
        made: the page's numbers, from `payload`.
        sections: texts of the cells, in the order of `made["cells"]`.
        planned: runs of every row of the grid.
    """
    means = {(row["c"], row["m"]): row for row in made["means"]}
    differences = {(d["c"], d["m"]): d for d in made["differences"] if d["family"] == "baseline"}
    ranks = {(r["c"], r["m"]): r for r in made["ranks"]}
    found = []
    for c, section in enumerate(sections):
        texts = iter(section.rows)
        for m, method in enumerate(facts.rows):
            if (c, m) not in means:
                # Rows of the grid have a line of their own also where they lack scores.
                _ = method.external or next(texts)
                blank = [Cell("", "") for _ in section.header[1:]]
                cells = _arranged(blank, Cell("0", 0))
                cells[_place(section)] = Cell(MISSING, "", outcome=True)
                found.append(Row(c, m, "", "", tuple(cells), MISSING, missing=True))
                continue
            numbers: Json = {
                **means[c, m], **differences.get((c, m), {}),
                "rank": ranks.get((c, m), {}).get("rank"),
            }  # fmt: skip
            text = next(texts)
            wanted = numbers["runs"] if method.external else planned
            cells = [
                Cell(word, _order(name, numbers, word), name == _OUTCOME)
                for name, word in zip(section.header[1:], text[1:], strict=True)
            ]
            cells = _arranged(cells, Cell(_runs(numbers["runs"], wanted), numbers["runs"]))
            marks = _COUNT.sub("", text[0].removeprefix(method.title))
            found.append(
                Row(c, m, marks.strip(), str(numbers["n"]), tuple(cells), numbers.get("word", ""))
            )
    return found


def _place(section: Section) -> int:
    """Of the cell that says that a row is missing: the outcome, or else Dice."""
    return 2 if section.header[-1] == _OUTCOME else 0


def _order(name: str, numbers: Json, word: str) -> float | str:
    key = next((key for start, key in _KEYS.items() if name.startswith(start)), "")
    value = numbers.get(key) if key else word
    value = value[0] if isinstance(value, list) else value
    return "" if value is None else value


def _runs(done: int, planned: int) -> str:
    return str(done) if done >= planned else f"{done} of {planned}"
