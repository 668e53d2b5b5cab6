"""How results look on a terminal: what is wrong first, a table, and what to open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from benchmarks.report import Report
    from benchmarks.statistics.files import FileComparison

_LAST = " last"
# Of outcomes, by how they begin.
_STYLES = {
    "better": "green", "worse": "red", "not tested": "red", "unconverged": "red",
    "pilot": "yellow", "undecided": "yellow",
}  # fmt: skip


def show_report(report: Report, *, verbose: bool) -> None:
    """Print the answer of a report, and the page to open.

    Args:
        report: that was made.
        verbose: list all files.
    """
    out = Console()
    show_news(report.answer.news)
    out.print(Text(report.answer.result))
    for section in report.answer.tables:
        out.print()
        out.print(Text(f"{section.title}. {section.sample}".strip(), "bold"))
        out.print(_table(section.header, section.rows, section.words))
    out.print()
    for path in report.files if verbose else report.files[:1]:
        out.print(f"open {path}", soft_wrap=True, highlight=False, markup=False)
    if not verbose:
        out.print(f"{len(report.files)} files in all: -v lists them", highlight=False)


def show_news(news: Sequence[str]) -> None:
    """Print what limits a result, one paragraph each."""
    out = Console()
    for words in news:
        out.print(Text.assemble(("! ", "bold red"), (words, "red")))


def show_comparison(found: FileComparison, *, verbose: bool) -> None:
    """Print two methods compared: what limits the outcomes, then a row for each cell.

    Args:
        found: from `compare_file`.
        verbose: all checkpoints, and what describes the patients.
    """
    last = [row for row in found.rows if row["cell"].endswith(_LAST)]
    rows = found.rows if verbose or not last else last
    show_news(found.news)
    names = tuple(rows[0])
    cells = tuple(tuple(row.values()) for row in rows)
    if not verbose:
        cells = tuple((first.removesuffix(_LAST), *rest) for first, *rest in cells)
    out = Console()
    out.print(_table(names, cells, (0, len(names) - 1)))
    shown = {row["cell"] for row in rows}
    claims = [
        words for row, words in zip(found.rows, found.claims, strict=True) if row["cell"] in shown
    ]
    for note in (*filter(None, [found.sign]), *claims, *(found.notes if verbose else ())):
        out.print(f"- {note}", highlight=False, markup=False)
    if not verbose:
        out.print("last checkpoint; -v shows the others, and how patients fared", highlight=False)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], words: Sequence[int]) -> Table:
    """A table in which numbers keep their line, and words break where there is no room."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for index, name in enumerate(header):
        text = index in words
        table.add_column(
            name.replace(" [", "\n["),
            justify="left" if text else "right",
            no_wrap=not text,
        )
    for row in rows:
        style = next((s for word, s in _STYLES.items() if row[-1].startswith(word)), "")
        table.add_row(*(Text(cell) for cell in row[:-1]), Text(row[-1], style))
    return table
