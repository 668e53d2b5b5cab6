"""What a split of pixels into low and high entropy did during training, as the runs logged it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from benchmarks.common.errors import RunError
from benchmarks.common.workspace import STEPS, report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import Facts
from benchmarks.report.load import Source
from benchmarks.report.results import Results
from benchmarks.report.sections import cell_title
from benchmarks.report.style import WIDTH, Look, figure_style, method_looks, new_figure, save_both
from benchmarks.report.tables import number, pipe_table

GROUPS = "groups.csv"
DECIMALS = 4
# Logged by a method that splits pixels; shares of pixels, accuracies as share of all known pixels.
_LOGGED = [
    "high_share", "high_foreground", "low_known", "high_known", "low_correct", "high_correct",
    "positive_similarity", "negative_similarity", "inert_low", "inert_high", "inert_cross",
]  # fmt: skip
# What older logs have in place of the last three: a comparison of totals that saw nothing.
_OLD = "empty_group"
_TERMS = ("inert_low", "inert_high", "inert_cross")
_CELL = ["dataset", "method", "labels"]
_RUN = ["labels", "fold", "seed", "step"]
COLUMNS = ["dataset", "method", *_RUN, *_LOGGED, "accuracy_low", "accuracy_high"]
# Part of a run that the table averages.
_LAST = 0.25
_PANELS = (
    ("high_share", "share of pixels with high entropy"),
    ("high_foreground", "foreground share of that group"),
    ("accuracy_low", "accuracy inside the low group"),
    ("accuracy_high", "accuracy inside the high group"),
)
_HEADER = (
    "Method", "Dice, %", "High entropy, % of pixels", "of these foreground, %",
    "Accuracy in low, %", "Accuracy in high, %", "Similarity, same class", "other classes",
    "Inert steps, low / high / cross, %",
)  # fmt: skip
_NOTES = f"""- Dice: last checkpoint. The other columns are means over runs and over the last
  {100 * _LAST:.0f} % of the logged steps.
- Accuracy: of the averaged prediction on labelled training pixels: how far the predicted class of a
  group's pixels can be trusted.
- Similarity: mean cosine of embeddings inside the low group.
- Inert steps: those in which a contrast term had no anchor with both a positive and a negative, so
  that it taught nothing; -: the row has no such term, or the log is older than this count.
- Exploratory: nothing here is corrected for the number of rows."""


def read_groups(config: BenchmarkConfig, facts: Facts, source: Source) -> pd.DataFrame | None:
    """What the runs of the grid logged about the split.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        source: of the logs: `steps.csv` of the scores, or the committed `groups.csv`.

    Returns:
        One row per logged step with `COLUMNS`, rounded to `DECIMALS`; None where nothing splits.

    Raises:
        RunError: a file is damaged, or of another grid.
    """
    if source.kept:
        return _read_kept(config, facts, report_folder(source.root, config.name) / GROUPS)
    frames = []
    for dataset, method, folder in source.scored(config, facts):
        frame = _read(folder / STEPS)
        if "high_share" in frame:
            frame = frame[frame["high_share"].notna()].reindex(columns=[*_RUN, *_LOGGED])
            frames.append(frame.assign(dataset=dataset, method=method))
    if not frames:
        return None
    steps = pd.concat(frames, ignore_index=True)
    for group in ("low", "high"):
        known = steps[f"{group}_known"]
        steps[f"accuracy_{group}"] = (steps[f"{group}_correct"] / known).where(known > 0)
    # Rounded before use, so that the kept file gives the same table and figure.
    return steps[COLUMNS].round(DECIMALS)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path)
    except (ValueError, UnicodeDecodeError) as error:
        raise RunError(f"'{path}' is no readable log: {error}; evaluate again") from None


def _read_kept(config: BenchmarkConfig, facts: Facts, path: Path) -> pd.DataFrame | None:
    if not path.is_file():
        return None
    frame = _read(path)
    if _OLD in frame:
        frame = frame.drop(columns=_OLD).reindex(columns=COLUMNS)
    known = {(d, m.key) for d in config.grid.datasets for m in facts.methods}
    found = set(zip(frame.get("dataset", ()), frame.get("method", ()), strict=True))
    if list(frame.columns) != COLUMNS or found - known:
        raise RunError(f"'{path}' has other columns or methods than the grid of '{config.name}'")
    return frame


def late_means(steps: pd.DataFrame) -> pd.DataFrame:
    """Means over the last part of all runs, by data set, method and labelled count."""
    length = steps.groupby(_CELL)["step"].transform("max")
    late = steps[steps["step"] > (1 - _LAST) * length]
    means: pd.DataFrame = late.groupby(_CELL, sort=False)[_LOGGED].mean()
    for group in ("low", "high"):
        known = means[f"{group}_known"]
        means[f"accuracy_{group}"] = (means[f"{group}_correct"] / known).where(known > 0)
    return means


def groups_section(
    config: BenchmarkConfig, facts: Facts, results: Results, steps: pd.DataFrame
) -> str:
    """The table of the split, one for each data set and labelled count, as Markdown."""
    means = late_means(steps)
    last = results.table[results.table["checkpoint"] == "last"]
    dice = last.set_index(["dataset", "key", "labels"])["dice"]
    parts = []
    for dataset in facts.datasets:
        for labels in config.data[dataset.id].labels:
            index = [(dataset.id, m.key, labels) for m in facts.methods]
            rows = [
                _row(m.title, float(dice[i]), cast("pd.Series[float]", means.xs(i)))
                for m, i in zip(facts.methods, index, strict=True)
                if i in means.index
            ]
            if rows:
                title = f"### {cell_title(dataset, labels)}"
                parts += [title, pipe_table(_HEADER, tuple(rows))]
    return "\n\n".join([*parts, _NOTES])


def _row(title: str, dice: float, mean: pd.Series[float]) -> tuple[str, ...]:
    shares = ("high_share", "high_foreground", "accuracy_low", "accuracy_high")
    similar = ("positive_similarity", "negative_similarity")
    return (
        title,
        number(100 * dice),
        *(_shown(100 * mean[name], 1) for name in shares),
        *(_shown(mean[name], 2) for name in similar),
        " / ".join(_shown(100 * mean[name], 0) or "-" for name in _TERMS),
    )


def _shown(value: float, decimals: int) -> str:
    """A number without a minus before zero; empty where there is none."""
    return "" if math.isnan(value) else f"{round(value, decimals) + 0.0:.{decimals}f}"


def groups_figure(facts: Facts, steps: pd.DataFrame, *, folder: Path) -> list[Path]:
    """Write `groups.{pdf,png}`: the split over training, mean over runs."""
    titles, looks = facts.titles, method_looks(facts)
    logged = set(steps["method"])
    present = [m.key for m in facts.methods if m.key in logged]
    columns = 2
    with figure_style():
        figure = new_figure(WIDTH, 4.6 + 0.16 * math.ceil(len(present) / columns))
        axes = figure.subplots(2, 2, sharex=True)
        for ax, (name, label) in zip(axes.flat, _PANELS, strict=True):
            _lines(ax, steps, name, {key: looks[key] for key in present})
            ax.set_title(label, fontsize="small")
        for ax in axes[1]:
            ax.set_xlabel("iteration")
        handles = axes.flat[0].get_lines()[: len(present)]
        figure.legend(
            handles, [titles[key] for key in present], loc="outside lower center", ncols=columns,
            frameon=False, fontsize="x-small",
        )  # fmt: skip
        return save_both(figure, folder / "groups")


def _lines(ax: Axes, steps: pd.DataFrame, name: str, looks: dict[str, Look]) -> None:
    """One line per method, mean over runs, data sets and labelled counts; in percent."""
    for key, look in looks.items():
        mean = 100 * steps[steps["method"] == key].groupby("step")[name].mean()
        smooth = mean.rolling(5, min_periods=1, center=True).mean()
        ax.plot(smooth.index, smooth.to_numpy(), color=look.color, ls=look.dash, lw=1.2)
    ax.set_ylabel("%")
    sns.despine(ax=ax)
