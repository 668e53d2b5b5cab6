"""Dice of every patient and its mean, one panel per data set and labelled count."""

from __future__ import annotations

import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import DatasetFacts, Facts, MethodFacts
from benchmarks.report.results import Results, fewest_runs
from benchmarks.report.sections import in_folds, select
from benchmarks.report.style import WIDTH, figure_style, method_looks, new_figure, save_both
from benchmarks.report.tables import plural
from benchmarks.statistics.pairs import method_keys
from benchmarks.statistics.summary import patient_scores

_PER_ROW = 3
_ROW = 0.27  # inches per method
_JITTER = 0.27  # of the distance between two methods


def dice_figure(
    config: BenchmarkConfig,
    facts: Facts,
    results: Results,
    *,
    folder: Path,
    captioned: bool = True,
) -> list[Path]:
    """Write `dice.{pdf,png}`.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        results: what is drawn; last checkpoint only.
        folder: to write to.
        captioned: say below the panels what is shown.

    Returns:
        The files.
    """
    with figure_style():
        figure = _draw(config, facts, results)
        if captioned:
            caption = _caption(config, facts, results)
            figure.supxlabel(caption, x=0.01, ha="left", fontsize="x-small")
        return save_both(figure, folder / "dice")


def _draw(config: BenchmarkConfig, facts: Facts, results: Results) -> Figure:
    columns = min(_PER_ROW, max(len(config.data[d.id].labels) for d in facts.datasets))
    rows = [
        (dataset, config.data[dataset.id].labels[start : start + columns])
        for dataset in facts.datasets
        for start in range(0, len(config.data[dataset.id].labels), columns)
    ]
    figure = new_figure(WIDTH, len(rows) * (0.75 + _ROW * len(facts.rows)) + 0.9)
    grid = figure.subplots(len(rows), columns, squeeze=False, sharex="row")
    scores = patient_scores(results.cases, ["dice"])
    table, scores = _last(results.table), _last(scores.assign(key=method_keys))
    for axes, (dataset, counts) in zip(grid, rows, strict=True):
        for column, ax in enumerate(axes):
            if column >= len(counts):
                ax.set_axis_off()
                continue
            own = partial(select, facts=facts, dataset=dataset.id, labels=counts[column])
            _panel(ax, facts, scores=own(scores), table=own(table))
            _label(ax, dataset, counts[column], first=column == 0, facts=facts)
    figure.legend(handles=_handles(facts), loc="outside upper center", ncols=4, frameon=False)
    return figure


def _last(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[frame["checkpoint"] == "last"]


def _panel(ax: Axes, facts: Facts, *, scores: pd.DataFrame, table: pd.DataFrame) -> None:
    """Points, mean, interval and reference lines of one panel; Dice in percent."""
    looks = method_looks(facts)
    for row, method in enumerate(facts.rows):
        own = table[table["key"] == method.key]
        if own.empty:  # external rows need not be in every cell
            continue
        look = looks[method.key]
        points = 100 * scores.loc[scores["key"] == method.key, "dice"].to_numpy(dtype=float)
        spread = np.random.default_rng(row).uniform(-_JITTER, _JITTER, len(points))
        ax.scatter(points, row + spread, s=9, color=look.color, alpha=0.45, linewidths=0, zorder=2)
        mean, low, high = (100 * own[["dice", "dice_low", "dice_high"]].iloc[0]).tolist()
        reach = None if np.isnan(low) else [[mean - low], [high - mean]]
        ax.errorbar(
            mean, row, xerr=reach, fmt=look.marker, color=look.color, ecolor="black",
            elinewidth=1.2, capsize=2.5, markersize=6, markeredgecolor="white",
            markeredgewidth=0.7, zorder=4,
        )  # fmt: skip
        if _has_line(method):
            ax.axvline(mean, color=look.color, linestyle=_dash(method), lw=1, zorder=1)


def _has_line(method: MethodFacts) -> bool:
    return method.all_labels or method.baseline


def _dash(method: MethodFacts) -> str:
    return ":" if method.all_labels else "--"


def _label(ax: Axes, dataset: DatasetFacts, labels: int, *, first: bool, facts: Facts) -> None:
    """Title and axes; the names of the methods stand left of a row's first panel only."""
    count = dataset.labelled(labels)
    ax.set_title(f"{dataset.title}\n{count}" if first else f"\n{count}", fontsize="medium")
    names = [textwrap.fill(m.title, 30) for m in facts.rows]
    ax.set_yticks(range(len(names)), names if first else [""] * len(names))
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("Dice, %")
    ax.tick_params(labelbottom=True)
    ax.margins(x=0.04)
    sns.despine(ax=ax, left=True)


def _handles(facts: Facts) -> list[Line2D]:
    """Legend entries; colours need none, since the methods stand on the axis."""
    looks = method_looks(facts)
    grey = "#555555"
    handles = [
        Line2D([], [], ls="", marker="o", ms=3, color=grey, alpha=0.6, label="patient"),
        Line2D([], [], color="black", marker="o", ms=5, mfc=grey, mec="white", label="mean, 95 %"),
    ]
    return handles + [
        Line2D([], [], color=looks[m.key].color, ls=_dash(m), lw=1, label=f"mean: {m.title}")
        for m in facts.methods
        if _has_line(m)
    ]


def _caption(config: BenchmarkConfig, facts: Facts, results: Results) -> str:
    """What the points are, and every method's caveat, wrapped to the width of the figure."""
    runs = plural(len(config.grid.pairs), "run")
    over = "runs and patients" if fewest_runs(results) > 1 else "patients, of a single run"
    if results.interim:
        runs, over = f"up to {runs}", "runs and patients; over patients, where a row has one run"
    one = config.grid.bound and in_folds(config)
    mean = f"each of one of {runs}, mean over" if one else f"mean over {runs},"
    text = (
        f"Benchmark {config.name}. Points: test patients, {mean} frames and classes;"
        f" last checkpoint. Intervals: over {over}."
    )
    if any(d.synthetic for d in facts.datasets):
        text += " Synthetic phantoms are generated images, which say nothing about patients."
    notes = dict.fromkeys(m.footnote for m in facts.rows if m.footnote)
    return "\n".join(textwrap.fill(line, 160) for line in (text, *notes))
