"""Dice over two swept parameters, such as entropy threshold and contrastive temperature."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import seaborn as sns

from benchmarks.report.facts import Facts, MethodFacts, parameter_title
from benchmarks.report.results import Results
from benchmarks.report.sections import cell_title
from benchmarks.report.style import figure_style, new_figure, save_both


def heatmap_figure(facts: Facts, results: Results, *, folder: Path) -> list[Path]:
    """Write `heatmap.{pdf,png}`: one panel per data set, labelled count and row.

    Args:
        facts: methods and data sets of the benchmark.
        results: last checkpoint only.
        folder: of the report.

    Returns:
        The files; none unless all variants differ in the same two numbers.
    """
    methods = {m.key: m for m in facts.methods}
    parameters = {tuple(name for name, _ in m.values) for m in facts.methods}
    if len(parameters) != 1 or len(next(iter(parameters))) != 2:
        return []
    rows = []
    for record in results.table[results.table["checkpoint"] == "last"].to_dict("records"):
        method = methods[record["key"]]
        values = _numbers(method)
        if values is None:
            return []
        title = method.title.split(f", {parameter_title(method.values[0][0])}")[0]
        panel = f"{cell_title(facts.dataset(record['dataset']), record['labels'])}:\n{title}"
        rows.append({"panel": panel, "dice": 100 * record["dice"], **values})
    return _draw(pd.DataFrame(rows), folder)


def _numbers(method: MethodFacts) -> dict[str, float] | None:
    """Swept values by the parameter's title, or None if one is no number."""
    try:
        return {parameter_title(name): float(text) for name, text in method.values}
    except ValueError:
        return None


def _draw(frame: pd.DataFrame, folder: Path) -> list[Path]:
    first, second = (name for name in frame.columns if name not in {"panel", "dice"})
    panels = list(dict.fromkeys(frame["panel"]))
    low, high = frame["dice"].min(), frame["dice"].max()
    with figure_style():
        figure = new_figure(3.4 * len(panels) + 0.4, 2.9)
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, panel in zip(axes, panels, strict=True):
            own = frame[frame["panel"] == panel].pivot_table(
                index=first, columns=second, values="dice"
            )
            sns.heatmap(
                own, ax=ax, vmin=low, vmax=high, cmap="cividis", annot=True, fmt=".1f",
                cbar=ax is axes[-1], cbar_kws={"label": "Dice, %"},
            )  # fmt: skip
            ax.tick_params(axis="y", rotation=0)
            ax.set_title(panel, fontsize="small")
        return save_both(figure, folder / "heatmap")
