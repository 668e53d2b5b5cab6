"""From the scores of a benchmark to its page, tables and figures."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.config import BenchmarkConfig

if TYPE_CHECKING:
    import pandas as pd

    from benchmarks.report.answer import Answer
    from benchmarks.report.facts import Facts
    from benchmarks.report.load import Source
    from benchmarks.report.results import Results

DECIMALS = 6


@dataclass(frozen=True)
class Report:
    """A finished report.

    Attributes:
        files: that were written, the page first.
        answer: what it comes down to.
    """

    files: list[Path]
    answer: Answer


def build_report(
    config: BenchmarkConfig,
    *,
    root: Path,
    params: Path = Path("params.yaml"),
    kept: bool = False,
    partial: bool = False,
    cost: bool = False,
) -> Report:
    """Write everything in `reports/<name>/` that is made of the grid's scores.

    `index.html`, the page to explore; `README.md`, the page of a code host; `cases.csv`,
    `table.{csv,tex}`, `differences.csv`, `ranks.csv`, `classes.csv`, `components.csv`,
    `mechanisms.csv`, `pseudo_labels.csv`, `curves.csv`, `traces.csv`, `runs.csv`,
    `metrics.json`;
    where there are external rows, `external.csv`; where methods split pixels by entropy,
    `groups.csv`; where rows differ in length, `convergence.csv` and its figure; as PDF and PNG
    `dice`, `forest`, `ranks`, `mechanisms`, `groups`, and of a sweep of two numbers `heatmap`,
    where costs were measured `cost`; one `overlay-<dataset>.png` per data set with showcase files
    (in `local/` unless the data are synthetic). Equal input gives equal bytes.

    Args:
        config: the benchmark.
        root: the checkout.
        params: parameter file of the benchmark, for the commands in messages.
        kept: make all anew from the `cases.csv` and `groups.csv` in the report's folder, for a
            benchmark whose scores are not here.
        partial: make what can be made of the runs that are there, in `reports/partial/<name>/`,
            without pictures; tables say which runs are missing.
        cost: collect first what the runs have cost, from `runs/`; else `cost.csv` in the report's
            folder is read as it is, or nothing if it is not there.

    Raises:
        RunError: a run or a case of the grid is missing or damaged (runs may be missing in a
            partial report), or an external row does not fit the grid.
        ConfigError: the grid names an unknown method or data set.
    """
    from benchmarks.common.files import write_text
    from benchmarks.common.workspace import (
        CASES,
        MECHANISMS,
        PSEUDO_LABELS,
        RUNS,
        TRACES,
    )
    from benchmarks.report.answer import answer
    from benchmarks.report.contrasts import forest_figure
    from benchmarks.report.convergence import write_convergence
    from benchmarks.report.cost import cost_section, read_cost, write_cost
    from benchmarks.report.cost_front import cost_figure
    from benchmarks.report.figures import dice_figure
    from benchmarks.report.groups import DECIMALS as LOGGED
    from benchmarks.report.groups import GROUPS, groups_figure, groups_section, read_groups
    from benchmarks.report.heatmap import heatmap_figure
    from benchmarks.report.judged import judge_benchmark
    from benchmarks.report.load import Source
    from benchmarks.report.mechanism_map import mechanism_figure
    from benchmarks.report.mechanisms import mechanisms_section
    from benchmarks.report.overlays import overlay_figures
    from benchmarks.report.page import More, page
    from benchmarks.report.provenance import code_words
    from benchmarks.report.ranks import rank_figure
    from benchmarks.report.tables import csv
    from benchmarks.report.traces import DECIMALS as LOSSES
    from benchmarks.report.traces import read_traces
    from benchmarks.report.web.curves import CURVES, read_curves
    from benchmarks.report.web.page import write_pages
    from benchmarks.report.web.payload import Inputs
    from benchmarks.report.web.pictures import read_pictures

    source = Source(root, params, kept=kept, partial=partial)
    judged = judge_benchmark(config, source)
    loaded, found, results = judged.loaded, judged.ledger, judged.results
    runs = judged.runs
    facts, source, folder = judged.facts, loaded.source, _ready_folder(config.name, source)
    steps = read_groups(config, facts, source)
    written = _write_origin(loaded.origin, folder)
    written += _write_tables(config, facts, results, folder)
    if not kept:
        write_text(folder / CASES, csv(loaded.cases))
        overlays = [] if partial else overlay_figures(config, facts, results.cases, source)
        written += [folder / CASES, *overlays]
    written += dice_figure(config, facts, results, folder=folder)
    for draw in (forest_figure, rank_figure, heatmap_figure):
        written += draw(facts, results, folder=folder)
    groups = mechanisms = ""
    if found is not None:
        for name, frame in ((MECHANISMS, found.terms), (PSEUDO_LABELS, found.labels)):
            write_text(folder / name, csv(frame, decimals=DECIMALS))
            written.append(folder / name)
        written += mechanism_figure(config, facts, found, folder=folder)
        mechanisms = mechanisms_section(config, facts, found)
    if steps is not None:
        write_text(folder / GROUPS, csv(steps, decimals=LOGGED))
        written += [folder / GROUPS, *groups_figure(facts, steps, folder=folder)]
        groups = groups_section(config, facts, results, steps)
    if runs is not None:
        write_text(folder / RUNS, csv(runs))
        written.append(folder / RUNS)
    traces = read_traces(config, facts, source)
    if traces is not None:
        write_text(folder / TRACES, csv(traces, decimals=LOSSES))
        written.append(folder / TRACES)
    curves = read_curves(config, facts, source)
    if curves is not None:
        write_text(folder / CURVES, csv(curves))
        written.append(folder / CURVES)
    studied, files = write_convergence(config, facts, judged.lengths, folder)
    written += files
    if cost:
        written.append(write_cost(config, runs, root, folder))
    spent = read_cost(runs, folder)
    written += cost_figure(config, facts, results, spent, folder=folder)
    more = More(
        groups,
        mechanisms,
        cost_section(config, facts, spent, 0 if runs is None else len(runs)),
        studied,
    )
    pictures = {} if partial else read_pictures(config, facts, source)
    pages = write_pages(Inputs(config, facts, results, found, curves, pictures), runs, source)
    code = code_words(facts, runs)
    _clear(folder, {path.name for path in written})
    write_text(folder / "README.md", page(config, facts, results, more, code, folder))
    return Report([*pages, folder / "README.md", *written], answer(config, facts, results))


def _ready_folder(name: str, source: Source) -> Path:
    """Folder of the report; a partial one is made anew, and superseded by a whole one."""
    from benchmarks.common.workspace import partial_folder

    if not source.kept:
        shutil.rmtree(partial_folder(source.root, name), ignore_errors=True)
    return source.target(name)


def _clear(folder: Path, written: set[str]) -> None:
    """Remove figures and tables of an earlier report that this one has not: the page links them."""
    from benchmarks.common.workspace import CASES, TRACES
    from benchmarks.report.cost import COST
    from benchmarks.report.page import FIGURES, FILES
    from benchmarks.report.web.curves import CURVES

    figures = [f"{name}.{kind}" for name in FIGURES for kind in ("png", "pdf")]
    given = {CASES, COST, "baseline_selection.csv"}  # read where they stand, or made by others
    for name in {*figures, *FILES, TRACES, CURVES} - given - written:
        (folder / name).unlink(missing_ok=True)


def _write_origin(origin: pd.DataFrame | None, folder: Path) -> list[Path]:
    """What is known of the external rows, where there are some."""
    from benchmarks.common.files import write_text
    from benchmarks.report.tables import csv
    from benchmarks.scoring.cases import ORIGIN

    if origin is None:
        return []
    write_text(folder / ORIGIN, csv(origin))
    return [folder / ORIGIN]


def _write_tables(
    config: BenchmarkConfig, facts: Facts, results: Results, folder: Path
) -> list[Path]:
    """Everything that is rows and columns, and the files' paths."""
    from benchmarks.common.files import write_json, write_text
    from benchmarks.common.workspace import DIFFERENCES
    from benchmarks.report.frames import (
        classes_frame,
        components_frame,
        differences_frame,
        ranks_frame,
        table_frame,
    )
    from benchmarks.report.latex import latex
    from benchmarks.report.notes import notes
    from benchmarks.report.sections import sections
    from benchmarks.report.tables import csv, metrics

    frames = {
        "table.csv": table_frame(results),
        DIFFERENCES: differences_frame(results),
        "ranks.csv": ranks_frame(results),
        "classes.csv": classes_frame(results.cases),
        "components.csv": components_frame(results.cases),
    }
    texts = {name: csv(frame, decimals=DECIMALS) for name, frame in frames.items()}
    tables = sections(config, facts, results)
    texts["table.tex"] = latex(config.name, tables, notes(config, facts, results))
    for name, text in texts.items():
        write_text(folder / name, text)
    write_json(folder / "metrics.json", metrics(results.table))
    return [folder / name for name in (*texts, "metrics.json")]
