"""What a split of pixels into low and high entropy did during training, from the runs' own logs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from benchmarks.config import BenchmarkConfig
from benchmarks.files import read_json, write_text
from benchmarks.report.facts import Facts
from benchmarks.report.style import figure_style, new_figure, save
from benchmarks.report.tables import csv, pipe_table

# Logged by a method that splits pixels; shares of pixels, accuracies as share of all known pixels.
_LOGGED = [
    "high_share", "high_foreground", "low_known", "high_known", "low_correct", "high_correct",
    "positive_similarity", "negative_similarity", "empty_group",
]  # fmt: skip
_CELL = ["dataset", "method", "labels"]
_FOLDER = re.compile(r"l(\d+)-f(\d+)-s(\d+)")
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
    "Steps with empty group, %", "Minutes",
)  # fmt: skip
_NOTES = f"""- Dice: mean over test patients, last checkpoint. The other columns are means over the
  last {100 * _LAST:.0f} % of the logged steps and over runs; minutes are wall time on a shared
  machine.
- Accuracy: of the averaged prediction on labelled training pixels: how far the predicted class of a
  group's pixels can be trusted.
- Similarity: mean cosine of embeddings inside the low group.
- Exploratory: nothing here is corrected for the number of rows."""


@dataclass(frozen=True)
class GroupLog:
    """Logs of all runs of a benchmark that split pixels.

    Attributes:
        steps: one row per logged step.
        minutes: wall time by data set, method and labelled count.
    """

    steps: pd.DataFrame
    minutes: pd.Series[float]


def write_groups(
    config: BenchmarkConfig, facts: Facts, table: pd.DataFrame, *, root: Path
) -> list[Path]:
    """Write `groups.csv`, `groups.md` and `groups.{svg,pdf,png}` of the report.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        table: from `stats.summarize`.
        root: the checkout, with the runs.

    Returns:
        The files; none where no run is at hand, or none splits pixels.
    """
    log = read_log(config, root)
    if log is None:
        return []
    folder = root / "reports" / config.name
    write_text(folder / "groups.csv", csv(log.steps, decimals=4))
    write_text(folder / "groups.md", _page(config, facts, table, log))
    return [folder / "groups.csv", folder / "groups.md", *_figure(facts, log.steps, folder)]


def read_log(config: BenchmarkConfig, root: Path) -> GroupLog | None:
    """Logs of the grid's runs, or None where there are none that split pixels."""
    frames, minutes = [], []
    for folder, cell in _runs(config, root):
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        frame = pd.DataFrame([json.loads(line) for line in lines])
        if "high_share" not in frame:
            continue
        frame = frame[frame["high_share"].notna()].reindex(columns=["step", *_LOGGED])
        frames.append(frame.assign(**cell))
        seconds = read_json(folder / "run.json")["position"]["seconds"]
        minutes.append({**cell, "minutes": seconds / 60})
    if not frames:
        return None
    steps = pd.concat(frames, ignore_index=True)
    for group in ("low", "high"):
        known = steps[f"{group}_known"]
        steps[f"accuracy_{group}"] = (steps[f"{group}_correct"] / known).where(known > 0)
    columns = [*_CELL, "fold", "seed", "step", *_LOGGED, "accuracy_low", "accuracy_high"]
    spent = pd.DataFrame(minutes).groupby(_CELL)["minutes"].mean()
    return GroupLog(steps[columns], spent)


def _runs(config: BenchmarkConfig, root: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Folders of finished runs of the grid, in its order."""
    for dataset in config.grid.datasets:
        for method in config.grid.methods:
            for log in sorted((root / "runs" / config.name / dataset / method).glob("*/run.json")):
                found = _FOLDER.fullmatch(log.parent.name)
                if found:
                    labels, fold, seed = map(int, found.groups())
                    yield log.parent, {
                        "dataset": dataset, "method": method,
                        "labels": labels, "fold": fold, "seed": seed,
                    }  # fmt: skip


def late_means(steps: pd.DataFrame) -> pd.DataFrame:
    """Means over the last part of all runs, by data set, method and labelled count."""
    length = steps.groupby(_CELL)["step"].transform("max")
    late = steps[steps["step"] > (1 - _LAST) * length]
    means: pd.DataFrame = late.groupby(_CELL, sort=False)[_LOGGED].mean()
    for group in ("low", "high"):
        known = means[f"{group}_known"]
        means[f"accuracy_{group}"] = (means[f"{group}_correct"] / known).where(known > 0)
    return means


def _page(config: BenchmarkConfig, facts: Facts, table: pd.DataFrame, log: GroupLog) -> str:
    means = late_means(log.steps).join(log.minutes)
    last = table[table["checkpoint"] == "last"]
    keys = last["method"].str.cat(last["variant"].map(lambda v: f"-{v}" if v else ""))
    dice = pd.Series(
        last["dice"].to_numpy(), pd.MultiIndex.from_arrays([last["dataset"], keys, last["labels"]])
    )
    parts = [f"# What the entropy split did in benchmark `{config.name}`"]
    for dataset in facts.datasets:
        for labels in config.data[dataset.id].labels:
            own = means[
                (means.index.get_level_values("dataset") == dataset.id)
                & (means.index.get_level_values("labels") == labels)
            ].droplevel(["dataset", "labels"])
            if own.empty:
                continue
            rows = [
                _row(
                    m.title, float(dice[dataset.id, m.key, labels]), cast(pd.Series, own.loc[m.key])
                )
                for m in facts.methods
                if m.key in own.index
            ]
            parts += [
                f"## {dataset.title}, {labels} labelled patients",
                pipe_table(_HEADER, tuple(rows)),
            ]
    return "\n\n".join([*parts, _NOTES]) + "\n"


def _row(title: str, dice: float, mean: pd.Series[float]) -> tuple[str, ...]:
    shares = ("high_share", "high_foreground", "accuracy_low", "accuracy_high")
    return (
        title,
        _number(100 * dice, 1),
        *(_number(100 * mean[name], 1) for name in shares),
        *(_number(mean[name], 2) for name in ("positive_similarity", "negative_similarity")),
        _number(100 * mean["empty_group"], 1),
        _number(mean["minutes"], 1),
    )


def _number(value: float, decimals: int) -> str:
    return "" if np.isnan(value) else f"{value:.{decimals}f}"


def _figure(facts: Facts, steps: pd.DataFrame, folder: Path) -> list[Path]:
    titles = {m.key: m.title for m in facts.methods}
    present = [m for m in titles if m in set(steps["method"])]
    with figure_style():
        figure = new_figure(7.2, 4.6 + 0.14 * len(present))
        axes = figure.subplots(2, 2, sharex=True)
        for ax, (name, label) in zip(axes.flat, _PANELS, strict=True):
            _lines(ax, steps, name, present)
            ax.set_title(label, fontsize="small")
        for ax in axes[1]:
            ax.set_xlabel("iteration")
        handles = axes.flat[0].get_lines()[: len(present)]
        figure.legend(
            handles, [titles[m] for m in present], loc="outside lower center", ncols=2,
            frameon=False, fontsize="x-small",
        )  # fmt: skip
        return [save(figure, folder / f"groups.{kind}") for kind in ("svg", "pdf", "png")]


def _lines(ax: Axes, steps: pd.DataFrame, name: str, methods: list[str]) -> None:
    """One line per method, mean over runs, data sets and labelled counts; in percent."""
    colors = sns.color_palette("husl", len(methods))
    for color, method in zip(colors, methods, strict=True):
        mean = 100 * steps[steps["method"] == method].groupby("step")[name].mean()
        smooth = mean.rolling(5, min_periods=1, center=True).mean()
        ax.plot(smooth.index, smooth.to_numpy(), color=color, lw=1.1)
    ax.set_ylabel("%")
    sns.despine(ax=ax)
