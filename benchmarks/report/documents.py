"""Copies generated tables into documents, so that no figure there is typed by hand."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.common.errors import RunError
from benchmarks.common.files import write_bytes
from benchmarks.common.workspace import report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.report.sections import DIFFERENCE, MARK, in_folds


def embed_report(config: BenchmarkConfig, document: Path, *, root: Path) -> None:
    """Renew a benchmark's results inside a Markdown file.

    Args:
        config: the benchmark; its committed case table is read.
        document: file with the markers, see `embed_text`.
        root: the checkout.

    Raises:
        RunError: the case table, the document or a marker is missing, or a marker stands twice.
        ConfigError: the grid names an unknown method or data set.
    """
    place = document.resolve().parent
    link = Path(os.path.relpath(report_folder(root, config.name).resolve(), place)).as_posix()
    embed_text(document, landing(config, root, link=link), name=config.name)


def landing(config: BenchmarkConfig, root: Path, *, link: str) -> str:
    """What a landing page shows of a benchmark, as Markdown.

    The verdict of a benchmark with a claim; of others a table for each data set and labelled count
    with method, Dice, difference to the baseline and outcome. A note leads to the whole report.

    Args:
        config: the benchmark.
        root: the checkout, with the committed case table.
        link: to the folder of the report.
    """
    from benchmarks.report.contrasts import rulings, verdict_text
    from benchmarks.report.judged import judge_benchmark
    from benchmarks.report.load import Source
    from benchmarks.report.notes import convergence_note
    from benchmarks.report.page import section_table
    from benchmarks.report.sections import sections

    judged = judge_benchmark(config, Source(root, kept=True))
    facts, results = judged.facts, judged.results
    found = rulings(config, facts, results)
    parts = [verdict_text(found)] if found else []
    for section in sections(config, facts, results) if not found else ():
        short = section.only("Method", "Dice", DIFFERENCE, "Outcome")
        # The mark is explained beside the ranks, which are not shown here.
        table = section_table(short).replace(f" {MARK} |", " |")
        parts += [f"**{section.title}**; {section.sample}", table]
    caveats = [m.footnote for m in facts.methods if m.footnote]
    if not found:
        looks = " and of tables read before" if config.grid.looks > 1 else ""
        caveats.append(
            f"Outcomes, and what could have been seen, are corrected for the number of rows{looks};"
            " intervals are of a row alone, and all take folds as independent"
            f"{_overlap(root) if in_folds(config) else ''}."
        )
    caveats += convergence_note(facts, results)
    if any(d.synthetic for d in facts.datasets):
        caveats.append("Synthetic phantoms are generated images: nothing about patients.")
    note = f"How to read this, figures and all other columns: [`{config.name}`]({link}/README.md)."
    return "\n\n".join([*parts, " ".join([note, *dict.fromkeys(caveats)])])


def _overlap(root: Path) -> str:
    """What intervals are worth if folds are not independent, by the committed simulation."""
    from benchmarks.statistics.scenarios import COMMON
    from benchmarks.statistics.simulate import CALIBRATION, read_coverage

    least = min(COMMON)
    held = read_coverage(report_folder(root, "statistics") / CALIBRATION, least)
    if held is None:
        return ""
    return (
        f" (were their results correlated by {least:g}, {100 * held:.0f} of 100 such intervals"
        " would hold)"
    )


def embed_text(document: Path, text: str, *, name: str) -> None:
    """Renew the marked part of a Markdown file; links to it and its line ends stay as they are.

    Args:
        document: file with the lines `<!-- begin: NAME -->` and `<!-- end: NAME -->`.
        text: what goes between them.
        name: of the markers.

    Raises:
        RunError: the file is missing or no UTF-8, or a marker is missing, stands twice or in the
            wrong order.
    """
    if not document.is_file():
        raise RunError(f"no file '{document}'")
    old = read_document(document)
    windows = "\r\n" in old
    new = embedded(old.replace("\r\n", "\n"), text, name=name, where=str(document))
    write_bytes(document.resolve(), (new.replace("\n", "\r\n") if windows else new).encode())


def read_document(document: Path) -> str:
    """Text of a file that is there, with its line ends.

    Raises:
        RunError: it is no UTF-8.
    """
    try:
        return document.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise RunError(
            f"'{document}' is no UTF-8 text ({error.reason} at byte {error.start}); save it so"
        ) from None


def embedded(document: str, text: str, *, name: str, where: str = "document") -> str:
    """A document with `text` between the two markers of `name`; see `embed_text`."""
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    for marker in (begin, end):
        count = document.count(marker)
        if count > 1:
            raise RunError(f"'{where}' has the marker '{marker}' {count} times; leave one")
        if count == 0:
            raise RunError(
                f"'{where}' has no place for the table: put the lines '{begin}' and '{end}' where"
                " it belongs"
            )
    before, _, rest = document.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise RunError(f"'{where}' has the marker '{end}' before '{begin}'; swap them")
    return f"{before}{begin}\n{text.strip()}\n{end}{after}"
