"""The tables of a report as data frames, for files that other tools read."""

from __future__ import annotations

from dataclasses import asdict, fields

import pandas as pd

from benchmarks.report.results import Results
from benchmarks.statistics.components import variance_components
from benchmarks.statistics.difference import Difference
from benchmarks.statistics.pairs import patient_runs
from benchmarks.statistics.ranks import RankInterval
from benchmarks.statistics.summary import CELL, patient_scores, summarize

# Columns of `table.csv`, on which other tools rely.
TABLE = [
    *CELL, "runs", "patients", "dice", "dice_low", "dice_high", "jaccard", "hd95_mm", "assd_mm",
    "nsd", "difference", "difference_low", "difference_high", "p_holm", "p_false", "outcome",
    "failed",
]  # fmt: skip
_WORST = 0.1


def table_frame(results: Results) -> pd.DataFrame:
    """Content of `table.csv`: means with the difference to the baseline; Dice in [0, 1]."""
    rows = [
        {
            "dataset": d.dataset, "labels": d.labels, "checkpoint": d.checkpoint, "key": d.better,
            "difference": d.mean, "difference_low": d.low, "difference_high": d.high,
            "p_holm": d.p_holm, "p_false": d.p_false, "outcome": d.outcome,
        }
        for d in (*results.baseline, *results.external)
    ]  # fmt: skip
    keys = ["dataset", "labels", "checkpoint", "key"]
    found = pd.DataFrame(rows) if rows else pd.DataFrame(columns=keys)
    table = results.table.astype({"labels": int})
    merged = table.merge(found.astype({"labels": int}), on=keys, how="left")
    return merged.reindex(columns=TABLE)


def classes_frame(cases: pd.DataFrame) -> pd.DataFrame:
    """Content of `classes.csv`: the means of each class, with the directed distance ASD."""
    asd = patient_scores(cases, ["asd_mm"], by=["class"])
    keys = [*CELL, "class"]
    means = asd.groupby(keys, sort=False)["asd_mm"].mean().reset_index()
    return summarize(cases, by=["class"]).merge(means, on=keys)


def differences_frame(results: Results) -> pd.DataFrame:
    """Content of `differences.csv`: all comparisons of all families.

    With a column `looks` where p is corrected for more than one of them; `compare` reads it.
    """
    families = {
        "baseline": results.baseline,
        "declared": results.declared,
        "controls": results.controls,
        "external": results.external,
    }
    rows = [{"family": name, **asdict(d)} for name, family in families.items() for d in family]
    frame = pd.DataFrame(rows, columns=["family", *(f.name for f in fields(Difference))])
    return frame if (frame["looks"] > 1).any() else frame.drop(columns="looks")


def ranks_frame(results: Results) -> pd.DataFrame:
    """Content of `ranks.csv`; who beats whom is on the page."""
    columns = [f.name for f in fields(RankInterval) if f.name != "beats"]
    return pd.DataFrame([asdict(r) for r in results.ranks], columns=columns)


def components_frame(cases: pd.DataFrame) -> pd.DataFrame:
    """Content of `components.csv`: what a mean hides, by data set, labelled count and method.

    Scores in [0, 1]: what the checkpoint of best validation would add, the median patient, the mean
    of the tenth of the patients who fare worst, and the sources of variation.
    """
    scores, rows = patient_runs(cases), []
    for (dataset, labels, key), own in scores.groupby(["dataset", "labels", "key"], sort=False):
        last = own[own["checkpoint"] == "last"]
        patients = last.groupby("patient")["score"].mean().sort_values()
        best = own[own["checkpoint"] == "best"].groupby("patient")["score"].mean()
        sd = {f"sd_{name}": value for name, value in asdict(variance_components(last)).items()}
        rows.append(
            {
                "dataset": dataset, "labels": labels, "method": key, "dice": patients.mean(),
                "best_minus_last": best.mean() - patients.mean(), "median": patients.median(),
                "worst_tenth": patients.head(max(1, round(_WORST * len(patients)))).mean(), **sd,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
