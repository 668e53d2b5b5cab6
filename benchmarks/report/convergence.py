"""How far training is from its end: validation Dice of trainings of several lengths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import StrMethodFormatter
from numpy.typing import NDArray

from benchmarks.common.errors import RunError
from benchmarks.common.files import write_text
from benchmarks.common.workspace import CONVERGENCE, STEPS, report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.report.cost import step_operations
from benchmarks.report.facts import Facts, MethodFacts, method_facts
from benchmarks.report.leads import lead_table, told_lead
from benchmarks.report.load import Source, read_columns
from benchmarks.report.sections import MISSING, cell_title
from benchmarks.report.style import WIDTH, figure_style, method_looks, new_figure, save_both
from benchmarks.report.tables import csv, number, pipe_table, plural
from benchmarks.report.web.curves import VALIDATION
from benchmarks.statistics.convergence import LEVEL, MOST_RUNS, Gain, gains, over_runs
from benchmarks.statistics.inference import MARGIN, MIN_RUNS, POWER

COLUMNS = ["dataset", "method", "labels", "fold", "seed", "steps", "operations", "dice"]
DECIMALS = 6
_RUN = ["labels", "fold", "seed"]
_PER_ROW = 2
RUNS_NEEDED = (
    f"Runs needed are those that would show it with {100 * POWER:.0f} % power of a row that gains"
    " nothing more, if runs differ as these do; one that still gains needs longer training instead."
)
_WORDS = (
    "Validation Dice after the last step; test patients take no part in this section. Every length"
    " is a training of its own with a whole schedule. A row is converged at a length if the"
    f" {100 * LEVEL:.0f} % interval of its gain from twice as many steps, over the runs, lies below"
    f" {100 * MARGIN:g} point; fewer than {MIN_RUNS} runs say nothing. {RUNS_NEEDED} Operations are"
    " counted: those of a step relative to a step of supervision on as many images, times steps."
)


def write_convergence(
    config: BenchmarkConfig, facts: Facts, lengths: pd.DataFrame | None, folder: Path
) -> tuple[str, list[Path]]:
    """Write `convergence.csv` and `convergence.{pdf,png}` of a benchmark of several lengths.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        lengths: from `trained_lengths`.
        folder: of the report.

    Returns:
        The section of the page as Markdown, and the files; nothing without lengths.
    """
    if lengths is None:
        return "", []
    table = folder / CONVERGENCE
    write_text(table, csv(lengths))
    files = _figure(config, facts, lengths, folder)
    return _section(config, facts, lengths), [table, *files]


def trained_lengths(config: BenchmarkConfig, facts: Facts, source: Source) -> pd.DataFrame | None:
    """The table of a study: one row per run, with the columns `COLUMNS`.

    `method` is the key without its length, a method with all labels has its largest count,
    `operations` are in steps of supervision.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        source: of the logs, or of the kept table.

    Returns:
        None where no row has a length of its own.

    Raises:
        RunError: a file is missing or damaged.
    """
    if not config.steps.keys() & {m.key for m in facts.methods}:
        return None
    if source.kept:
        return read_lengths(report_folder(source.root, config.name) / CONVERGENCE)
    known, frames = {m.key: m for m in facts.methods}, []
    for dataset, key, folder in source.scored(config, facts):
        method, logged = known[key], pd.read_csv(folder / STEPS)
        if VALIDATION not in logged:
            raise RunError(f"'{folder / STEPS}' holds no validation; evaluate {dataset} again")
        seen = logged.dropna(subset=VALIDATION).sort_values("step", kind="stable")
        last = seen.groupby(_RUN, as_index=False).last()
        counts = last["labels"].max() if method.all_labels else last["labels"]
        steps = config.steps.get(key, config.train_for(dataset).iterations)
        frame = last[_RUN].assign(dataset=dataset, method=_row_key(method), steps=steps)
        frame["labels"], frame["dice"] = counts, last[VALIDATION]
        frame["operations"] = steps * step_operations(config, facts, key)
        frames.append(frame)
    # Rounded before use, so that the kept file gives the same table and figure.
    return pd.concat(frames, ignore_index=True)[COLUMNS].round(DECIMALS)


def read_lengths(path: Path) -> pd.DataFrame:
    """The kept table of a study.

    Raises:
        RunError: it is missing or damaged.
    """
    return read_columns(path, COLUMNS, what="table of training lengths", again="report again")


def _row_key(method: MethodFacts) -> str:
    """Key of a row without swept values."""
    return f"{method.id}-{method.row}" if method.row else method.id


def lengths_told(config: BenchmarkConfig, facts: Facts, lengths: pd.DataFrame) -> str:
    """How many rows of a study are shown to be converged, in words.

    Args:
        config: the study.
        facts: its methods and data sets.
        lengths: from `trained_lengths`.
    """
    words = []
    for title, own in _cells(config, facts, lengths):
        last = {gain.method: gain for gain in gains(own)}
        for steps in sorted({gain.steps for gain in last.values()}):
            rows = [gain for gain in last.values() if gain.steps == steps]
            shown = sum(gain.outcome == "converged" for gain in rows)
            words.append(
                f"{title}: {shown} of {plural(len(rows), 'row')} shown to be converged at"
                f" {steps:,} steps, by the gain of twice as many"
            )
    return "; ".join(words)


def _section(config: BenchmarkConfig, facts: Facts, lengths: pd.DataFrame) -> str:
    """Table of all gains, one for each data set and labelled count, as Markdown."""
    parts = []
    for title, own in _cells(config, facts, lengths):
        found = {gain.method: gain for gain in gains(own)}
        steps = sorted(set(own["steps"]))
        header = (
            "Method", *(f"{n:,} steps" for n in steps),
            f"Gain of the last doubling, points [{100 * LEVEL:.0f} %]", "Runs", "Runs needed",
            "Outcome",
        )  # fmt: skip
        rows = tuple(
            _table_row(_title(config, key), own[own["method"] == key], steps, found.get(key))
            for key in dict.fromkeys(own["method"])
        )
        parts += [f"### {title}", pipe_table(header, rows, words=(0, len(header) - 1))]
        parts += lead_table(config, own, steps)
    return "\n\n".join([*parts, _WORDS])


def _table_row(
    title: str, own: pd.DataFrame, steps: Sequence[int], gain: Gain | None
) -> tuple[str, ...]:
    means = own.groupby("steps")["dice"].mean()
    dice = (number(100 * float(means.get(n, math.nan))) for n in steps)
    if gain is None:
        return (title, *dice, "", "", "", MISSING)
    word = f"pilot, {plural(gain.runs, 'run')}" if gain.outcome == "pilot" else gain.outcome
    words = word if gain.outcome == "pilot" else f"{word} at {gain.steps:,} steps"
    return (title, *dice, told_lead(gain), str(gain.runs), told_runs_needed(gain), words)


def told_runs_needed(gain: Gain) -> str:
    """Runs that would show a row converged; "" where more runs are not what it needs."""
    if not gain.open:
        return ""
    return f"above {MOST_RUNS:,}" if gain.runs_needed is None else str(gain.runs_needed)


def _figure(
    config: BenchmarkConfig, facts: Facts, lengths: pd.DataFrame, folder: Path
) -> list[Path]:
    """Validation Dice over counted operations, one panel per data set and labelled count."""
    keys = list(dict.fromkeys(lengths["method"]))
    rows = Facts(facts.datasets, tuple(method_facts(config, key) for key in keys))
    panels = list(_cells(config, facts, lengths))
    count = -(-len(panels) // _PER_ROW)
    with figure_style():
        figure = new_figure(WIDTH, 2.6 * count + 0.6)
        grid = figure.subplots(count, min(_PER_ROW, len(panels)), squeeze=False).ravel()
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        for axes, (title, own) in zip(grid, panels, strict=False):
            _panel(axes, rows, own)
            axes.set_title(title, fontsize="small")
        handles = grid[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False)
        return save_both(figure, folder / "convergence")


def _panel(axes: Axes, facts: Facts, own: pd.DataFrame) -> None:
    """One line per row, with the interval of its mean over runs."""
    looks = method_looks(facts)
    for method in facts.methods:
        points_of = own[own["method"] == method.key].groupby("operations")["dice"]
        if not len(points_of):
            continue
        x = np.array(list(points_of.groups), dtype=float)
        ends = [_ends(values.to_numpy(dtype=float)) for _, values in points_of]
        mean, below, above = (100 * np.array(column) for column in zip(*ends, strict=True))
        look = looks[method.key]
        axes.errorbar(
            x, mean, yerr=[below, above], color=look.color, marker=look.marker, ls=look.dash,
            ms=4, lw=1, elinewidth=0.8, capsize=2, label=method.title,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set(xlabel="operations, in steps of supervision", ylabel="validation Dice, %")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _ends(dice: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean, and how far the interval reaches below and above it; 0 with a single run."""
    mean, low, high = over_runs(dice, level=LEVEL)
    return (mean, mean - low, high - mean) if len(dice) > 1 else (mean, 0.0, 0.0)


def _cells(
    config: BenchmarkConfig, facts: Facts, lengths: pd.DataFrame
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Title and rows of every data set and labelled count; methods with all labels are in each."""
    whole = {_row_key(m) for m in facts.methods if m.all_labels}
    for dataset in facts.datasets:
        for labels in config.data[dataset.id].labels:
            inside = (lengths["labels"] == labels) | lengths["method"].isin(whole)
            own = lengths[(lengths["dataset"] == dataset.id) & inside]
            if len(own):
                yield cell_title(dataset, labels), own


def _title(config: BenchmarkConfig, key: str) -> str:
    return method_facts(config, key).title
