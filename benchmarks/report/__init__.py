"""From the case tables of a benchmark to its tables, figures and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.config import BenchmarkConfig

if TYPE_CHECKING:
    from pandas import DataFrame

    from benchmarks.report.facts import Facts
    from benchmarks.report.sections import Results

DECIMALS = 6


def build_report(config: BenchmarkConfig, *, root: Path) -> list[Path]:
    """Write everything in `reports/<name>/` that is made of the grid's case tables.

    `cases.csv`, `table.csv`, `classes.csv`, `differences.csv`, `table.md`, `table.tex`,
    `metrics.json`, `dice.{svg,pdf,png}`, for declared contrasts `contrasts.{csv,md}` with the
    verdict and `forest.{svg,pdf,png}`, and one `overlay-<dataset>.png` per data set with showcase
    files (in `local/` unless the data are synthetic); `checklist.md`; `fairness.md` with
    `components.csv` and `ranks.{svg,pdf,png}`; where the runs are at hand and split pixels by
    entropy, `groups.{csv,md}` and `groups.{svg,pdf,png}`; of a sweep of two numbers,
    `heatmap.{svg,pdf,png}`. Equal input gives equal bytes.

    Args:
        config: the benchmark.
        root: the checkout.

    Returns:
        The files written.

    Raises:
        RunError: a run or a case of the grid is missing or damaged.
        ConfigError: the grid names an unknown method or data set.
    """
    from benchmarks.files import write_text
    from benchmarks.report.checklist import write_checklist
    from benchmarks.report.contrasts import write_contrasts
    from benchmarks.report.facts import collect_facts
    from benchmarks.report.fairness import write_fairness
    from benchmarks.report.figures import dice_figure
    from benchmarks.report.groups import write_groups
    from benchmarks.report.heatmap import write_heatmaps
    from benchmarks.report.load import load_cases
    from benchmarks.report.overlays import overlay_figures
    from benchmarks.report.tables import csv

    facts = collect_facts(config)
    folder = root / "reports" / config.name
    merged = load_cases(config, facts, root=root)
    write_text(folder / "cases.csv", csv(merged))
    results = _results(merged, facts)
    return [
        folder / "cases.csv",
        *_write_tables(config, facts, results, folder=folder),
        *dice_figure(config, facts, results, folder=folder),
        *overlay_figures(config, facts, results.cases, root=root),
        *write_contrasts(config, results.cases, folder=folder, decimals=DECIMALS),
        *write_checklist(config, folder=folder),
        *write_fairness(config, facts, results, folder=folder),
        *write_groups(config, facts, results.table, root=root),
        *write_heatmaps(results.table, folder=folder),
    ]


def _results(merged: DataFrame, facts: Facts) -> Results:
    """Means and differences; references with all labels are not compared."""
    from benchmarks.report.load import all_labels_rows, with_cell_labels
    from benchmarks.report.sections import Results
    from benchmarks.report.stats import paired_differences, patient_scores, summarize

    cases = with_cell_labels(merged, facts)
    compared = patient_scores(cases[~all_labels_rows(cases, facts)])
    return Results(
        cases=cases,
        table=summarize(cases),
        differences=paired_differences(
            compared,
            baseline=(facts.baseline.id, facts.baseline.variant) if facts.baseline else None,
        ),
    )


def _write_tables(
    config: BenchmarkConfig, facts: Facts, results: Results, *, folder: Path
) -> list[Path]:
    """Everything that is text, and the files' paths."""
    from benchmarks.files import write_json, write_text
    from benchmarks.report.sections import sections
    from benchmarks.report.stats import summarize
    from benchmarks.report.tables import csv, latex, markdown, metrics

    parts = sections(config, facts, results)
    texts = {
        "table.csv": csv(results.table, decimals=DECIMALS),
        "classes.csv": csv(summarize(results.cases, by=["class"]), decimals=DECIMALS),
        "differences.csv": csv(results.differences, decimals=DECIMALS),
        "table.md": markdown(config.name, parts),
        "table.tex": latex(config.name, parts),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    write_json(folder / "metrics.json", metrics(results.table))
    return [folder / name for name in (*texts, "metrics.json")]
