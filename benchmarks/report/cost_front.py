"""Dice over what a run costs, with the front of rows that no cheaper one reaches."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchmarks.config import BenchmarkConfig
from benchmarks.report.cost import UNEVEN, on_one_machine, operations, unevenness
from benchmarks.report.facts import Facts
from benchmarks.report.results import Results
from benchmarks.report.sections import cell_title, select
from benchmarks.report.style import WIDTH, figure_style, method_looks, new_figure, save_both

_PER_ROW = 3
_COUNTED = "operations of a run (1: supervision on as many images)"


def cost_figure(
    config: BenchmarkConfig,
    facts: Facts,
    results: Results,
    cost: pd.DataFrame | None,
    *,
    folder: Path,
) -> list[Path]:
    """Write `cost.{pdf,png}`: Dice over the cost of a run, with the front; nothing without times.

    Where times do not compare rows, cost is that of counted operations.
    """
    if cost is None:
        return []
    cost = on_one_machine(cost)
    counted = unevenness(cost) > UNEVEN
    cells = [(d, n) for d in facts.datasets for n in config.data[d.id].labels]
    columns = min(_PER_ROW, len(cells))
    count = -(-len(cells) // columns)
    with figure_style():
        figure = new_figure(WIDTH, 2.4 * count + 0.6)
        grid = figure.subplots(count, columns, squeeze=False).ravel()
        timed = [m for m in facts.methods if (cost["method"] == m.key).any()]
        last = results.table[results.table["checkpoint"] == "last"]
        for axes, (dataset, labels) in zip(grid, cells, strict=False):
            table = select(last, facts, dataset=dataset.id, labels=labels)
            own = cost[cost["dataset"] == dataset.id]
            _panel(axes, facts, table, _costs(config, facts, own, counted=counted))
            axes.set(xlabel=_COUNTED if counted else "minutes a run", ylabel="Dice, %")
            axes.set_title(cell_title(dataset, labels), fontsize="small")
        for axes in grid[len(cells) :]:
            axes.set_axis_off()
        looks = [(m.title, method_looks(facts)[m.key]) for m in timed]
        handles = [
            Line2D([], [], ls="", color=look.color, marker=look.marker, ms=5, label=title)
            for title, look in looks
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
        return save_both(figure, folder / "cost")


def _costs(
    config: BenchmarkConfig, facts: Facts, cost: pd.DataFrame, *, counted: bool
) -> dict[str, float]:
    """Minutes of a run, or its counted operations, by key of the rows that were timed."""
    minutes = cost.groupby("method")["seconds"].median() / 60
    rows = {str(key): float(value) for key, value in minutes.items()}
    return {key: operations(config, facts, key) for key in rows} if counted else rows


def front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Those of (cost, value) that no cheaper or equally cheap point reaches, by cost."""
    kept: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda p: (p[0], -p[1])):
        if not kept or value > kept[-1][1]:
            kept.append((cost, value))
    return kept


def _panel(axes: Axes, facts: Facts, table: pd.DataFrame, costs: Mapping[str, float]) -> None:
    looks, points = method_looks(facts), []
    for method in facts.methods:
        own = table.loc[table["key"] == method.key, "dice"]
        if own.empty or method.key not in costs:
            continue
        point = (costs[method.key], 100 * float(own.iloc[0]))
        look = looks[method.key]
        axes.plot(*point, ls="", marker=look.marker, color=look.color, ms=5, zorder=3)
        points += [] if method.reference else [point]
    if points:
        steps = front(points)
        steps.append((max(cost for cost, _ in points), steps[-1][1]))  # up to the dearest row
        axes.step(*zip(*steps, strict=True), where="post", color="black", ls="--", lw=0.8)
