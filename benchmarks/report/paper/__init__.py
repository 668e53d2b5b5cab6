"""Tables and figures for a manuscript or slides, from finished scores."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.common.errors import ConfigError, RunError, nearest
from benchmarks.common.files import write_text
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.restrict import Part, restricted
from benchmarks.report.contrasts import forest_figure
from benchmarks.report.facts import Facts, MethodFacts, collect_facts
from benchmarks.report.figures import dice_figure
from benchmarks.report.judged import judge_benchmark
from benchmarks.report.load import Source, narrowed
from benchmarks.report.paper.columns import COLUMNS, Column, Spread, check_columns
from benchmarks.report.paper.documents import example
from benchmarks.report.paper.layout import Style
from benchmarks.report.paper.literature import literature_table
from benchmarks.report.paper.tables import Printed, numbers_frame, tables_text
from benchmarks.report.results import Results
from benchmarks.report.tables import csv
from benchmarks.scoring.cases import EXTERNAL

__all__ = ["COLUMNS", "Column", "Manuscript", "Spread", "Style", "write_manuscript"]

_DECIMALS = 6


@dataclass(frozen=True)
class Manuscript:
    """What is wanted.

    Attributes:
        methods: keys in the order of the rows; none are all.
        columns: names of `COLUMNS` in order; none are a choice that suits the benchmark.
        spread: behind a mean: its 95 % interval, or the standard deviation over patients.
        style: of text and figures.
    """

    methods: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    spread: Spread = "interval"
    style: Style = "paper"


def write_manuscript(
    config: BenchmarkConfig, wanted: Manuscript, out: Path, source: Source
) -> list[Path]:
    """Write the tables and figures of chosen methods.

    Everything is computed as in the report: corrections count all methods of the benchmark whose
    scores are there, whichever are shown.

    Args:
        config: of the benchmark.
        wanted: methods, columns and look.
        out: folder to write to.
        source: of the scores.

    Returns:
        `table.tex` and `table.csv`; `literature.tex` where published figures of the data sets are
        known; `dice.{pdf,png}` and `forest.{pdf,png}`; `example.tex`, a document that shows all of
        them.

    Raises:
        ConfigError: an unknown method or column, or more columns than a page has room for.
        RunError: scores of a chosen method are missing or damaged.
    """
    columns = check_columns(wanted.columns, baseline=config.grid.baseline is not None)
    facts, results = _collected(config, wanted.methods, source)
    rows = _chosen(facts, wanted.methods)
    shown = replace(
        facts,
        methods=tuple(m for m in rows if not m.external),
        external=tuple(m for m in rows if m.external),
    )
    printed = Printed(facts, results, tuple(rows), columns, wanted.spread)
    drawn = _only(results, {m.key for m in rows})
    texts = {
        "table.tex": tables_text(config, printed, wanted.style),
        "table.csv": csv(numbers_frame(printed), decimals=_DECIMALS),
    }
    published = literature_table(config, facts, source.root, wanted.style)
    if published:
        texts["literature.tex"] = published
    figures = [
        *dice_figure(config, shown, drawn, folder=out, captioned=False),
        *forest_figure(facts, drawn, folder=out),
    ]
    texts["example.tex"] = example(list(texts), figures, wanted.style)
    for name, text in texts.items():
        write_text(out / name, text)
    return [*(out / name for name in texts), *figures]


def _collected(
    config: BenchmarkConfig, methods: Sequence[str], source: Source
) -> tuple[Facts, Results]:
    """Facts and results of the whole benchmark, or of all methods with scores if others have none.

    Chosen or not, they count in the correction for many comparisons.
    """
    try:
        judged = judge_benchmark(config, source)
    except RunError:
        if source.kept:
            raise
        present = narrowed(config, collect_facts(config), source)[0].present or ()
        lacking = {
            m for m in config.grid.methods for d in config.grid.datasets if (d, m) not in present
        }
        if not lacking or not methods or lacking & set(methods):
            raise
        scored = tuple(m for m in config.grid.methods if m not in lacking)
        judged = judge_benchmark(restricted(config, Part(methods=scored)), source)
    return judged.facts, judged.results


def _chosen(facts: Facts, methods: Sequence[str]) -> list[MethodFacts]:
    """The rows of a table in the wanted order; an external one may be named without its suffix."""
    known = {m.key: m for m in facts.rows}
    names = [f"{m}-{EXTERNAL}" if f"{m}-{EXTERNAL}" in known else m for m in methods]
    for name in names:
        if name not in known:
            raise ConfigError(f"--methods names '{name}': {nearest(name, known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(facts.rows)


def _only(results: Results, keys: Collection[str]) -> Results:
    """Results of some methods, for figures."""
    return replace(
        results,
        table=results.table[results.table["key"].isin(list(keys))],
        baseline=tuple(d for d in results.baseline if d.better in keys),
        external=tuple(d for d in results.external if d.better in keys),
        declared=tuple(d for d in results.declared if {d.better, d.than} <= set(keys)),
    )
