"""Summaries over runs, put together from two parts of the runs."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common.workspace import MECHANISMS, PSEUDO_LABELS
from benchmarks.report import DECIMALS
from benchmarks.report.web.curves import CURVES
from benchmarks.report.web.curves import DECIMALS as DRAWN
from benchmarks.statistics.mechanisms import state_of

_CELL = ("dataset", "method", "labels")


@dataclass(frozen=True)
class Pooling:
    """How the columns of a summary are put together; `runs` is its number of runs.

    Attributes:
        keys: columns that name a line.
        means: columns whose mean is taken, weighted by runs; of medians that is not the median.
        how: the other columns.
        decimals: of the result.
    """

    keys: tuple[str, ...]
    means: tuple[str, ...]
    how: Mapping[str, str]
    decimals: int


SUMMARIES = {
    MECHANISMS: Pooling(
        (*_CELL, "kind", "name"),
        ("start", "elements", "relative", "cosine", "value"),
        {"runs": "sum", "probes": "sum", "silent": "sum"},
        DECIMALS,
    ),
    PSEUDO_LABELS: Pooling(
        (*_CELL, "network"), ("dice", "accuracy"), {"runs": "sum", "patients": "max"}, DECIMALS
    ),
    CURVES: Pooling(
        (*_CELL, "series", "step"), ("mean",), {"runs": "sum", "low": "min", "high": "max"}, DRAWN
    ),
}


def pool(name: str, parts: pd.DataFrame) -> pd.DataFrame:
    """Lines of two parts of the runs as if they had been summarised together.

    Args:
        name: of the table, one of `SUMMARIES`.
        parts: lines of both.

    Returns:
        One line per key, in order of appearance, with the columns of the parts, rounded.
    """
    rule, keys = SUMMARIES[name], list(SUMMARIES[name].keys)
    groups = parts.groupby(keys, sort=False)
    found = groups.agg(dict(rule.how))
    for column in rule.means:
        found[column] = groups[[column, "runs"]].apply(_weighted, column)
    found = found.reset_index()
    if "state" in parts:
        found["state"] = [state_of(_named(row)) for row in found.to_dict("records")]
    return found[list(parts.columns)].round(rule.decimals)


def pooled_runs(name: str, lines: pd.DataFrame) -> int:
    """Number of runs behind the lines of a row, over all labelled counts."""
    keys = [key for key in SUMMARIES[name].keys if key not in _CELL]
    return int(lines.groupby(keys)["runs"].sum().max())


def _weighted(lines: pd.DataFrame, column: str) -> float:
    known = lines.dropna(subset=column)
    return float(np.average(known[column], weights=known["runs"])) if len(known) else float("nan")


def _named(row: Mapping[Hashable, Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row.items()}
