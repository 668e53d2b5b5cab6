"""Means, quartiles and failures of every method of a case table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

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
        rows.append({**dict(zip(keys, key, strict=True)), **_dice(own), **row})
    return pd.DataFrame(rows, columns=[*keys, *COLUMNS])


def _dice(own: pd.DataFrame) -> dict[str, float]:
    """Runs, patients, mean Dice and its interval of one method in one cell."""
    cell: Cell = next(cells(own))
    selection = select(cell, cell.methods)
    if selection.design == "none":
        mean = float(np.nanmean(cell.scores))
        return {"runs": len(cell.runs), "patients": len(cell.patients), "dice": mean}
    e = estimate(selection.design, [b[0] for b in take(cell, selection, cell.methods)])
    low, high = (float(np.clip(end, 0, 1)) for end in interval(e))
    counts = {"runs": len(selection.groups), "patients": selection.size}
    return {**counts, "dice": float(e.mean), "dice_low": low, "dice_high": high}
