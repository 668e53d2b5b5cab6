"""What a report comes down to, short enough for a terminal of 80 columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import Facts
from benchmarks.report.notes import warnings
from benchmarks.report.page import headline
from benchmarks.report.results import Results, titled
from benchmarks.report.sections import DIFFERENCE, MARK, RUNS, Section, cell_title, sections
from benchmarks.report.tables import p_value, points
from benchmarks.statistics.difference import phrase

_COLUMNS = ("Method", RUNS, "Dice", DIFFERENCE, "Outcome")
# How the outcomes begin that allow no verdict, the worst first.
_WORST = ("not tested", "unconverged")


@dataclass(frozen=True)
class Answer:
    """A report in a few lines.

    Attributes:
        news: what limits everything else, the worst first.
        result: what came out, in sentences.
        tables: one per data set and labelled count, rows without a verdict first; then the declared
            contrasts.
    """

    news: tuple[str, ...]
    result: str
    tables: tuple[Section, ...]


def answer(config: BenchmarkConfig, facts: Facts, results: Results) -> Answer:
    """The answer of a benchmark.

    Args:
        config: the benchmark.
        facts: its methods, data sets and external rows.
        results: what came out.
    """
    short = [_worst_first(s.only(*_COLUMNS)) for s in sections(config, facts, results)]
    return Answer(
        tuple(warnings(facts, results)),
        headline(config, facts, results),
        (*short, *_contrasts(facts, results)),
    )


def _worst_first(section: Section) -> Section:
    def trouble(row: tuple[str, ...]) -> int:
        return next((i for i, word in enumerate(_WORST) if row[-1].startswith(word)), len(_WORST))

    rows = [(row[0].removesuffix(f" {MARK}"), *row[1:]) for row in section.rows]
    return replace(section, rows=tuple(sorted(rows, key=trouble)))


def _contrasts(facts: Facts, results: Results) -> list[Section]:
    """The declared contrasts, a table for each data set and labelled count."""
    last = [d for d in results.declared if d.checkpoint == "last" and d.design != "none"]
    header, made = ("Contrast", DIFFERENCE, "p (Holm)", "Outcome"), []
    for dataset in facts.datasets:
        for labels in dict.fromkeys(d.labels for d in last if d.dataset == dataset.id):
            rows = tuple(
                (
                    f"{d.name} ({d.better} minus {d.than})",
                    points(d.mean, d.low, d.high, sign="+"),
                    p_value(d.p_holm),
                    phrase(d),
                )
                for d in titled(last, facts.titles)
                if (d.dataset, d.labels) == (dataset.title, labels)
            )
            title = f"Declared contrasts, {cell_title(dataset, labels)}"
            made.append(_worst_first(Section(title, header, rows, "")))
    return made
