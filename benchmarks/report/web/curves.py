"""What the runs of a benchmark logged while they were trained, as mean over runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.common.ledger import PROBED
from benchmarks.common.workspace import MECHANISMS, STEPS, report_folder
from benchmarks.config import BenchmarkConfig
from benchmarks.report.facts import Facts
from benchmarks.report.load import Source, read_columns

CURVES = "curves.csv"
DECIMALS = 5
COLUMNS = ["dataset", "method", "labels", "series", "step", "runs", "mean", "low", "high"]
VALIDATION = "val/dice"
_LOSS = "loss/"
# Dice of pseudo-labels on unlabelled training images, with the network after it.
_LABELS, _PROBED = "labels/", f"{PROBED}dice_"
_RUN = ["labels", "fold", "seed", "step"]
# Points of a loss's curve; the logged steps between two of them are averaged.
_POINTS = 20


def read_curves(config: BenchmarkConfig, facts: Facts, source: Source) -> pd.DataFrame | None:
    """Validation Dice, loss terms and Dice of pseudo-labels of the grid's runs over their steps.

    Args:
        config: the benchmark.
        facts: its methods and data sets.
        source: of the logs, or of the kept `curves.csv`.

    Returns:
        Columns `COLUMNS`, rounded to `DECIMALS`: mean, lowest and highest over the runs that logged
        the step; None where a kept report is older than this file.

    Raises:
        RunError: a file is missing or damaged.
    """
    if source.kept:
        path = report_folder(source.root, config.name) / CURVES
        return _read(path) if path.is_file() else None
    frames, whole = [], {m.key for m in facts.methods if m.all_labels}
    for dataset, method, folder in source.scored(config, facts):
        steps = pd.concat([pd.read_csv(folder / STEPS), _taught(folder)], ignore_index=True)
        if method in whole:  # folds whose training parts differ by a patient are one row
            steps["labels"] = steps["labels"].max()
        curves = _curves(steps)
        frames.append(curves.assign(dataset=dataset, method=method))
    # Rounded before use, so that the kept file gives the same page.
    return pd.concat(frames, ignore_index=True)[COLUMNS].round(DECIMALS)


def _read(path: Path) -> pd.DataFrame:
    return read_columns(path, COLUMNS, what="table of curves", again="report again")


def _taught(folder: Path) -> pd.DataFrame:
    """Dice of pseudo-labels at the probe steps, a column for each network."""
    lines = pd.read_csv(folder / MECHANISMS, usecols=[*_RUN, "name", "value"])
    own = lines[lines["name"].str.startswith(_PROBED)]
    names = own["name"].str.replace(_PROBED, _LABELS, regex=False)
    wide = own.assign(name=names).pivot_table("value", _RUN, "name")
    return wide.reset_index()


def _curves(steps: pd.DataFrame) -> pd.DataFrame:
    """Curves of one method on one data set."""
    shown = [n for n in steps.columns if n == VALIDATION or n.startswith((_LOSS, _LABELS))]
    long = steps.melt(id_vars=_RUN, value_vars=shown, var_name="series").dropna(subset="value")
    last = long.groupby(["labels", "series"])["step"].transform("max")
    width = np.maximum(last / _POINTS, 1)
    binned = (np.ceil(np.ceil(long["step"] / width) * width)).astype(int)
    long["step"] = binned.where(long["series"].str.startswith(_LOSS), long["step"])
    by_run = long.groupby(["labels", "series", "step", "fold", "seed"], sort=False)["value"].mean()
    groups = by_run.groupby(["labels", "series", "step"], sort=False)
    found = groups.agg(runs="size", mean="mean", low="min", high="max").reset_index()
    return found.sort_values(["labels", "series", "step"], kind="stable")
