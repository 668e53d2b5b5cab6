"""Which loss terms were at work: the declared rule, applied to the ledgers of runs.

A row of a table counts only if its mechanism was seen at work. The thresholds were set before any
ledger was read, and stand here alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd

State = Literal["", "inert", "faint"]

# A term has no effect at a probe if it acted on nothing, or its gradient for the tested network is
# exactly 0. It is inert if that is so in more than this share of the probes after its start.
INERT = 0.2
# It starts at its first probe with an effect, but at the latest this share of the run after the
# method first stated it, which is the longest wait that a published schedule of the suite gives an
# unlabelled term (UGPCL's contrast). So a threshold that no network passes at first is no fault,
# and a term that never starts is inert.
GRACE = 0.1
# It is faint if the median of its gradient is below this share of the supervised gradient: of a
# hundred steps of the optimiser, supervision takes 99.
FAINT = 0.01
# Both medians are over this last part of the run, in which the ramps of the suite are at 0.73 to 1
# of their full weight: exp(-5 (1 - 0.75)^2) = 0.73. A term that its method states no longer at the
# end of the run (ABD's inverse displacement) is judged over as many steps before its own end.
LATE = 0.25

CELL = ["dataset", "method", "labels"]
RUN = [*CELL, "fold", "seed"]
SUMMARY = [
    *CELL, "kind", "name", "runs", "start", "probes", "silent", "elements", "relative", "cosine",
    "value", "state",
]  # fmt: skip


def judge_terms(entries: pd.DataFrame) -> pd.DataFrame:
    """The verdict on every term of every cell.

    Args:
        entries: lines of ledgers (`common.ledger.COLUMNS`) with the columns of `RUN`.

    Returns:
        One row per data set, method, labelled count and term or observed value, in order of
        appearance, with the columns `SUMMARY`: number of runs; `start`, share of the run at which
        the term starts, mean over runs; `probes` after the start and those of them that are
        `silent`, over all runs; medians of `elements`, `relative`, `cosine` and `value` over the
        last part of all runs or of the term; and the state, empty for a term that is at work and
        for what is not judged (supervision, auxiliary terms, observed values). Shares are in
        [0, 1].
    """
    length = entries.groupby(RUN)["step"].transform("max")
    end = entries.groupby([*RUN, "kind", "name"])["step"].transform("max")
    seen = entries.assign(length=length, late=entries["step"] > end - LATE * length)
    rows = []
    key: Any
    for key, own in seen.groupby([*CELL, "kind", "name"], sort=False):
        runs = [_after_start(run) for _, run in own.groupby(["fold", "seed"], sort=False)]
        after = pd.concat([run for _, run in runs])
        silent = int(_silent(after).sum())
        late = own[own["late"]]
        medians = {n: late[n].median() for n in ("elements", "relative", "cosine", "value")}
        row = {
            **dict(zip((*CELL, "kind", "name"), key, strict=True)),
            "runs": len(runs),
            "start": float(np.mean([start for start, _ in runs])),
            "probes": len(after),
            "silent": silent,
            **medians,
        }
        rows.append({**row, "state": state_of(row)})
    return pd.DataFrame(rows, columns=SUMMARY)


def _silent(probes: pd.DataFrame) -> pd.Series[bool]:
    return (probes["elements"] == 0) | (probes["gradient"] == 0)


def _after_start(run: pd.DataFrame) -> tuple[float, pd.DataFrame]:
    """Start of a term in one run, as a share of it, and its probes from there on."""
    length, effect = run["length"].iloc[0], run.loc[~_silent(run), "step"]
    latest = min(run["step"].min() + round(GRACE * length), run["step"].max())
    start = min(effect.min(), latest) if len(effect) else latest
    return float(start / length), run[run["step"] >= start]


def state_of(row: Mapping[str, Any]) -> State:
    """The verdict on a term with the columns `kind`, `probes`, `silent` and `relative`."""
    if row["kind"] != "term":
        return ""
    if row["silent"] > INERT * row["probes"]:
        return "inert"
    return "faint" if row["relative"] < FAINT else ""


def inert_terms(summary: pd.DataFrame) -> dict[tuple[str, int], dict[str, str]]:
    """Methods with an inert term, by data set and labelled count, each with its first such term."""
    found: dict[tuple[str, int], dict[str, str]] = {}
    for row in summary[summary["state"] == "inert"].to_dict("records"):
        cell = found.setdefault((row["dataset"], int(row["labels"])), {})
        cell.setdefault(row["method"], row["name"])
    return found
