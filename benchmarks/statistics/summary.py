"""Means, quartiles and failures of every method of a case table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.statistics.difference import NAN
from benchmarks.statistics.inference import interval
from benchmarks.statistics.pairs import Cell, cells, select, take
from benchmarks.statistics.rule import estimate

CELL = ["dataset", "method", "variant", "labels", "checkpoint"]
COLUMNS = [
    "runs", "patients", "dice", "dice_low", "dice_high", "jaccard", "nsd",
    "hd95_mm", "hd95_low", "hd95_high", "assd_mm", "assd_low", "assd_high",
    "failed", "failed_share",
]  # fmt: skip
_QUARTILES = (0.5, 0.25, 0.75)


def patient_scores(
    cases: pd.DataFrame, metrics: Sequence[str], *, by: Sequence[str] = ()
) -> pd.DataFrame:
    """Mean of each patient over seeds, folds, cases and classes.

    Args:
        cases: rows of the case table.
        metrics: columns of scores; one that an older table lacks is NaN.
        by: further columns that are not averaged, such as `class`.

    Returns:
        Columns `CELL`, `by`, `patient`, `metrics`, in the order of first appearance. Distances are
        means over the counted values, NaN where a patient has none.
    """
    whole = cases.assign(**{name: np.nan for name in metrics if name not in cases.columns})
    keys = [*CELL, *by, "patient"]
    return whole.groupby(keys, sort=False, dropna=False)[list(metrics)].mean().reset_index()


def summarize(cases: pd.DataFrame, *, by: Sequence[str] = ()) -> pd.DataFrame:
    """One row per method, data set, labelled count and checkpoint.

    Args:
        cases: rows of the case table.
        by: further columns that are not averaged, such as `class`.

    Returns:
        Columns `CELL`, `by`, `COLUMNS`. `dice` is the mean over runs and patients, with the 95 %
        interval of the decision rule (both random), cut to [0, 1]; with a single run over patients
        alone. `runs` are the units of that rule: seeds of one labelled subset, or subsets, or
        folds. Jaccard and NSD are means over patients. Distances are medians over patients with
        quartiles, failures with their diagonal in them; they are NaN where no patient has one and
        where an older table lacks the column. `failed` counts the values (runs x cases x classes)
        of which exactly one mask is empty, `failed_share` is their share.
    """
    keys = [*CELL, *by]
    metrics = ("jaccard", "nsd", "hd95_mm", "assd_mm")
    patients = dict(iter(patient_scores(cases, metrics, by=by).groupby(keys, sort=False)))
    rows = []
    key: Any
    for key, own in cases.groupby(keys, sort=False):
        scores, failed = patients[key], own["empty"].isin(["reference", "prediction"])
        row = {"jaccard": scores["jaccard"].mean(), "nsd": scores["nsd"].mean()}
        for name in ("hd95", "assd"):
            quartiles = scores[f"{name}_mm"].quantile(list(_QUARTILES))
            columns = (f"{name}_mm", f"{name}_low", f"{name}_high")
            row |= dict(zip(columns, quartiles, strict=True))
        row |= {"failed": int(failed.sum()), "failed_share": failed.mean()}
        m = mean_interval(own)
        dice = {"dice": m.mean, "dice_low": m.low, "dice_high": m.high}
        counts = {"runs": m.runs, "patients": m.patients}
        rows.append({**dict(zip(keys, key, strict=True)), **counts, **dice, **row})
    return pd.DataFrame(rows, columns=[*keys, *COLUMNS])


@dataclass(frozen=True)
class Mean:
    """A mean over runs and patients.

    Attributes:
        runs: units of the decision rule.
        patients: that count.
        mean: of the scores.
        low: lower end of its 95 % interval, cut to [0, 1]; NaN where there is none.
        high: upper end.
    """

    runs: int
    patients: int
    mean: float
    low: float = NAN
    high: float = NAN


def mean_interval(own: pd.DataFrame, metric: str = "dice") -> Mean:
    """Mean and interval of one method in one cell.

    Args:
        own: its rows of the case table.
        metric: column of scores in [0, 1].
    """
    cell: Cell = next(cells(own, metric=metric))
    selection = select(cell, cell.methods)
    if selection.design == "none":
        scored = cell.scores[~np.isnan(cell.scores)]
        mean = float(scored.mean()) if len(scored) else NAN
        return Mean(len(cell.runs), len(cell.patients), mean)
    e = estimate(selection.design, [b[0] for b in take(cell, selection, cell.methods)])
    low, high = (float(np.clip(end, 0, 1)) for end in interval(e))
    return Mean(len(selection.groups), selection.size, float(e.mean), low, high)
