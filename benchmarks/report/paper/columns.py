"""Which columns a printed table may have, and what stands in their cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import pandas as pd

from benchmarks.common.errors import ConfigError, nearest
from benchmarks.report.facts import DatasetFacts
from benchmarks.report.tables import NONE, p_value
from benchmarks.statistics.difference import Difference
from benchmarks.statistics.ranks import RankInterval
from benchmarks.statistics.summary import mean_interval, patient_scores

Spread = Literal["interval", "sd"]
Kind = Literal["share", "distance", "difference", "p", "rank", "outcome", "failures"]


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: as it is asked for.
        title: in the head of the table.
        kind: what its cells are made of.
        metric: column of the case table, or "".
    """

    name: str
    title: str
    kind: Kind
    metric: str = ""


COLUMNS: Mapping[str, Column] = MappingProxyType(
    {
        column.name: column
        for column in (
            Column("dice", "Dice", "share", "dice"),
            Column("jaccard", "Jaccard", "share", "jaccard"),
            Column("nsd", "NSD", "share", "nsd"),
            Column("hd95", "HD95", "distance", "hd95_mm"),
            Column("assd", "ASSD", "distance", "assd_mm"),
            Column("asd", "ASD", "distance", "asd_mm"),
            Column("difference", "Difference", "difference"),
            Column("p", "p", "p"),
            Column("rank", "Rank", "rank"),
            Column("failures", "Failures", "failures"),
            Column("outcome", "Outcome", "outcome"),
        )
    }
)
_USUAL = ("dice", "difference", "hd95", "nsd")
_COMPARED = ("difference", "p", "outcome")
_QUARTILES = (0.25, 0.5, 0.75)


def check_columns(names: Sequence[str], *, baseline: bool) -> tuple[Column, ...]:
    """The wanted columns.

    Args:
        names: of `COLUMNS`; none are the usual ones.
        baseline: the benchmark compares with one.

    Raises:
        ConfigError: an unknown name, one twice, or a comparison without a baseline.
    """
    wanted = list(names) or [n for n in _USUAL if baseline or n not in _COMPARED]
    for name in wanted:
        if name not in COLUMNS:
            raise ConfigError(f"--columns names '{name}': {nearest(name, COLUMNS)}")
        if name in _COMPARED and not baseline:
            raise ConfigError(f"--columns names '{name}', but grid.baseline names no method")
    if len(set(wanted)) != len(wanted):
        raise ConfigError(f"--columns names a column twice: {','.join(wanted)}")
    return tuple(COLUMNS[name] for name in wanted)


def unit_of(column: Column, dataset: DatasetFacts) -> str:
    """The unit below the title of a column, or ""."""
    units = {"share": "%", "distance": dataset.unit, "difference": "points"}
    return units.get(column.kind, "")


@dataclass(frozen=True)
class Number:
    """A value with what stands behind it, in the unit of the case table.

    Attributes:
        value: mean; of a distance with its quartiles the median.
        low: lower end of the 95 % interval, or the lower quartile.
        high: the upper one.
        mean: mean.
        sd: standard deviation over patients.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    mean: float = math.nan
    sd: float = math.nan


def number(cases: pd.DataFrame, column: Column) -> Number:
    """A share or distance of one method in one cell.

    Args:
        cases: its rows, last checkpoint.
        column: of kind share or distance.
    """
    patients = patient_scores(cases, [column.metric])[column.metric].dropna()
    mean, sd = float(patients.mean()), float(patients.std())
    if column.kind == "distance":
        low, median, high = (float(patients.quantile(q)) for q in _QUARTILES)
        return Number(median, low, high, mean, sd)
    found = mean_interval(cases, column.metric)
    return Number(found.mean, found.low, found.high, mean, sd)


def cell_of(
    cases: pd.DataFrame,
    column: Column,
    spread: Spread,
    difference: Difference | None,
    rank: RankInterval | None,
) -> tuple[str, str]:
    """Text of a cell, and of the spread behind it; empty for what a row does not have.

    Args:
        cases: rows of one method in one cell, last checkpoint.
        column: of the table.
        spread: behind means.
        difference: to the baseline, or None.
        rank: or None.
    """
    if column.kind in {"share", "distance"}:
        return _number_cell(number(cases, column), column, spread)
    if column.kind == "rank":
        return ("", "") if rank is None else (f"{rank.rank:g}", f"[{rank.low}, {rank.high}]")
    if column.kind == "failures":
        failed = cases["empty"].isin(["reference", "prediction"]).sum()
        return f"{failed}/{len(cases)}", ""
    return ("", "") if difference is None else _compared_cell(difference, column)


def _number_cell(found: Number, column: Column, spread: Spread) -> tuple[str, str]:
    factor = 100 if column.kind == "share" else 1
    if spread == "sd":
        value, behind = factor * found.mean, f"± {factor * found.sd:.1f}"
        behind = "" if math.isnan(found.sd) else behind
    else:
        value, ends = factor * found.value, (factor * found.low, factor * found.high)
        behind = "" if math.isnan(found.low) else f"[{ends[0]:.1f}, {ends[1]:.1f}]"
    return (NONE, "") if math.isnan(value) else (f"{value:.1f}", behind)


def _compared_cell(d: Difference, column: Column) -> tuple[str, str]:
    if column.kind == "p":
        return p_value(d.p_holm), ""
    if column.kind == "outcome":
        return d.outcome, ""
    behind = "" if math.isnan(d.low) else f"[{100 * d.low:+.1f}, {100 * d.high:+.1f}]"
    return (NONE, "") if math.isnan(d.mean) else (f"{100 * d.mean:+.1f}", behind)
