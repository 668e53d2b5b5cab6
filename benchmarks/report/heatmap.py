"""Dice over two swept parameters, such as entropy threshold and contrastive temperature."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import seaborn as sns

from benchmarks.report.style import figure_style, new_figure, save

# `<variant>_<parameter>=<value>`, as made by `BenchmarkConfig.swept`.
_SWEPT = re.compile(r"(?:^|_)([a-z][a-z_]*?)=([^=]+?)(?=_[a-z][a-z_]*=|$)")


def swept_values(variant: str) -> tuple[str, dict[str, float]]:
    """The row of the ablation and its swept numbers, of a variant's name.

    Args:
        variant: such as `a5_tau=0.25_tau_c=0.1`.

    Returns:
        `("a5", {"tau": 0.25, "tau_c": 0.1})`; values that are no numbers are left out.
    """
    values = {}
    for name, text in _SWEPT.findall(variant):
        try:
            values[name] = float(text)
        except ValueError:
            continue
    return _SWEPT.split(variant, maxsplit=1)[0], values


def write_heatmaps(table: pd.DataFrame, *, folder: Path) -> list[Path]:
    """Write `heatmap.{svg,pdf,png}`: one panel per data set, labelled count and row.

    Args:
        table: from `stats.summarize`.
        folder: of the report.

    Returns:
        The files; none unless all variants differ in the same two numbers.
    """
    rows = []
    for record in table[table["checkpoint"] == "last"].to_dict("records"):
        row, values = swept_values(record["variant"])
        if len(values) != 2:
            return []
        panel = f"{record['dataset']}, {record['labels']} labelled, {row or record['method']}"
        rows.append({"panel": panel, "dice": 100 * record["dice"], **values})
    frame = pd.DataFrame(rows)
    if frame.shape[1] != 4 or frame.isna().any(axis=None):
        return []
    return _draw(frame, folder)


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
            ax.set_title(panel, fontsize="small")
        return [save(figure, folder / f"heatmap.{kind}") for kind in ("svg", "pdf", "png")]
