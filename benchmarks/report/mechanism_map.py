"""The ledger as a picture: how strongly each term of each method moved the tested network."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import Facts
from benchmarks.report.mechanisms import Mechanisms, share
from benchmarks.report.sections import IDLE, cell_title
from benchmarks.report.style import WIDTH, figure_style, new_figure, save_both
from benchmarks.statistics.mechanisms import FAINT

LOWEST, HIGHEST = FAINT / 10, 10.0
_ROW, _FRAME, _BELOW = 0.21, 0.35, 1.3  # inches
_LABEL = (
    "gradient of the term for the tested network / that of supervision, late in the run"
    f" ({IDLE['faint']}: faint)"
)
_SMALL, _SMALLER = 6, 5  # points
_MANY = 18  # columns for which the larger of them is too large
_INERT = "#D55E00"


def mechanism_figure(
    config: BenchmarkConfig, facts: Facts, found: Mechanisms, *, folder: Path
) -> list[Path]:
    """Write `mechanisms.{pdf,png}`: methods by terms, one panel per data set and labelled count.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        found: judged ledgers.
        folder: of the report.

    Returns:
        The files; none where no method has a term besides supervision.
    """
    terms = found.terms[found.terms["kind"] == "term"]
    if terms.empty:
        return []
    order = [m.key for m in facts.methods if m.key in set(terms["method"])]
    panels = {
        cell_title(dataset, labels): terms[
            (terms["dataset"] == dataset.id) & (terms["labels"] == labels)
        ]
        for dataset in facts.datasets
        for labels in config.data[dataset.id].labels
    }
    panels = {title: own for title, own in panels.items() if len(own)}
    columns = sorted(set(terms["name"]))
    names = [facts.titles[key] for key in order]
    with figure_style():
        figure = new_figure(WIDTH, len(panels) * (_FRAME + _ROW * len(order)) + _BELOW)
        axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0]
        for ax, (title, own) in zip(axes, panels.items(), strict=True):
            relative, state = (_wide(own, n, order, columns) for n in ("relative", "state"))
            _panel(ax, relative, state)
            ax.set_yticks([n + 0.5 for n in range(len(names))], names, rotation=0)
            ax.set_title(title)
        figure.colorbar(
            axes[0].collections[0], ax=list(axes), location="bottom", shrink=0.6, aspect=40,
            extend="both", label=_LABEL,
        )  # fmt: skip
        return save_both(figure, folder / "mechanisms")


def _wide(terms: pd.DataFrame, value: str, methods: list[str], names: list[str]) -> pd.DataFrame:
    return terms.pivot_table(index="method", columns="name", values=value, aggfunc="first").reindex(
        index=methods, columns=names
    )


def _word(value: float) -> str:
    """A ratio that fits into a cell: no zero before the point, one digit of a faint one."""
    if value < LOWEST:
        return "≈0"
    word = f"{value:.1g}" if value < FAINT else share(value)
    return word.replace("0.", ".", 1)


def _panel(ax: Axes, relative: pd.DataFrame, state: pd.DataFrame) -> None:
    """One cell per term; what is inert has a word in place of a colour, what is absent is blank."""
    inert, size = state == "inert", _SMALLER if relative.shape[1] > _MANY else _SMALL
    words = relative.map(_word).where(state != "faint", relative.map(_word) + IDLE["faint"])
    sns.heatmap(
        relative.clip(lower=LOWEST), ax=ax, mask=relative.isna() | inert, cmap="cividis",
        norm=LogNorm(LOWEST, HIGHEST), annot=words.to_numpy(), fmt="", cbar=False,
        annot_kws={"fontsize": size}, linewidths=0.5,
    )  # fmt: skip
    for row, column in zip(*inert.to_numpy().nonzero(), strict=True):
        place = column + 0.5, row + 0.5
        ax.text(*place, "inert", ha="center", va="center", color=_INERT, fontsize=size)
    ax.set(xlabel="", ylabel="")
    ax.set_facecolor("#F0F0F0")
    ax.tick_params(axis="x", length=0)
    for label in ax.get_xticklabels():
        label.set(rotation=40, ha="right", rotation_mode="anchor")
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False)
