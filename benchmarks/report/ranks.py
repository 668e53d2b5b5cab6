"""Place of every method among the others, with its interval."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from benchmarks.report.facts import Facts
from benchmarks.report.results import Results
from benchmarks.report.sections import cell_title
from benchmarks.report.style import WIDTH, Look, figure_style, method_looks, new_figure, save_both
from benchmarks.statistics.ranks import RankInterval

# Fewer methods need no figure.
_LEAST = 3
_ROW, _FRAME, _TOP = 0.19, 0.75, 0.35  # inches


def rank_figure(facts: Facts, results: Results, *, folder: Path) -> list[Path]:
    """Write `ranks.{pdf,png}`, last checkpoint, one panel per data set and labelled count.

    Returns:
        The files; none where no cell has three methods.
    """
    last = [r for r in results.ranks if r.checkpoint == "last"]
    cells = list(dict.fromkeys((r.dataset, r.labels) for r in last))
    panels = {c: [r for r in last if (r.dataset, r.labels) == c] for c in cells}
    panels = {cell: own for cell, own in panels.items() if len(own) >= _LEAST}
    if not panels:
        return []
    titles, looks = facts.titles, method_looks(facts)
    rows = [max(len(textwrap.wrap(titles[r.method], 40)) for r in own) for own in panels.values()]
    heights = [
        _ROW * len(own) * (1 + 0.6 * (most - 1)) + _FRAME
        for own, most in zip(panels.values(), rows, strict=True)
    ]
    with figure_style():
        figure = new_figure(WIDTH, sum(heights) + _TOP)
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
        for ax, ((dataset, labels), own) in zip(axes.flat, panels.items(), strict=True):
            _panel(ax, own, titles, looks)
            ax.set_title(cell_title(facts.dataset(dataset), labels))
        axes.flat[-1].set_xlabel("rank by mean Dice with its simultaneous 95 % interval; 1 is best")
        grey = "#555555"
        handles = [
            Line2D([], [], ls="", marker="o", color=grey, label="not separable from the best"),
            Line2D([], [], ls="", marker="o", color=grey, mfc="white", label="the best is better"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
        return save_both(figure, folder / "ranks")


def _panel(
    ax: Axes, ranks: Sequence[RankInterval], titles: dict[str, str], looks: dict[str, Look]
) -> None:
    for place, r in enumerate(ranks):
        look = looks[r.method]
        ax.plot([r.low, r.high], [place, place], color=look.color, lw=2, solid_capstyle="butt")
        face = "white" if r.separable else look.color
        ax.plot(r.rank, place, look.marker, color=look.color, mfc=face, ms=5.5, mew=1)
    ax.set_yticks(range(len(ranks)), [textwrap.fill(titles[r.method], 40) for r in ranks])
    ax.set_ylim(len(ranks) - 0.4, -0.6)
    ax.set_xlim(0.7, len(ranks) + 0.3)
    step = 1 if len(ranks) <= 15 else 2
    ax.set_xticks(range(1, len(ranks) + 1, step))
    ax.grid(visible=False, axis="y")
    sns.despine(ax=ax, left=True)
