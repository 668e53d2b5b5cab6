"""Ranks of several methods with the intervals that the decision rule leaves for them.

A simultaneous rank interval follows from the pairwise tests: a method stands behind those that are
better and before those that are worse (Mogstad et al. 2024, Review of Economic Studies 91). With
Holm's correction over all pairs of a cell the intervals hold together with 95 %.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from benchmarks.config import ContrastConfig
from benchmarks.statistics.difference import less_is_better
from benchmarks.statistics.pairs import Cell, cells, select, take
from benchmarks.statistics.rule import NO_TERMS, judge


@dataclass(frozen=True)
class RankInterval:
    """Place of a method among those of its data set, labelled count and checkpoint.

    Attributes:
        dataset: id.
        labels: labelled patients.
        checkpoint: last or best.
        method: key.
        rank: place by the mean score, 1 is best; equal means share their mean place.
        low: 1 + number of methods that are better.
        high: number of methods - number that are worse.
        separable: whether the method with the best mean is better than this one; False is "not
            separable from the best".
        beats: the methods that this one is better than.
    """

    dataset: str
    labels: int
    checkpoint: str
    method: str
    rank: float
    low: int
    high: int
    separable: bool
    beats: tuple[str, ...] = ()


def rank_intervals(
    cases: pd.DataFrame,
    *,
    metric: str = "dice",
    unconverged: Collection[str] = (),
    inert: Mapping[str, str] = NO_TERMS,
    looks: int = 1,
) -> list[RankInterval]:
    """Ranks in every cell with two methods or more, best mean first.

    Methods that predict nothing have no rank. Means are over the runs and patients that all ranked
    methods share; a cell without any is left out. Arguments and errors as in `rule.compare`.
    """
    found = []
    for cell in cells(cases, metric=metric):
        methods = [name for name in cell.methods if name not in cell.barren]
        means = _means(cell, methods)
        if len(methods) < 2 or means is None:
            continue
        places = (-means if not less_is_better(metric) else means).rank()
        pairs = [
            ContrastConfig(name=f"{a} - {b}", better=a, than=b) for a, b in combinations(methods, 2)
        ]
        words = judge(
            cell, pairs, metric=metric, unconverged=unconverged, inert=inert, looks=looks,
            describe=False,
        )  # fmt: skip
        wins = {(d.better, d.than) for d in words if d.outcome == "better"}
        wins |= {(d.than, d.better) for d in words if d.outcome == "worse"}
        order = [str(name) for name in places.sort_values(kind="stable").index]
        found += [
            RankInterval(
                *cell.key,
                name,
                float(places[name]),
                1 + sum(loser == name for _, loser in wins),
                len(methods) - sum(winner == name for winner, _ in wins),
                (order[0], name) in wins,
                tuple(loser for loser in order if (name, loser) in wins),
            )
            for name in order
        ]
    return found


def _means(cell: Cell, methods: list[str]) -> pd.Series[float] | None:
    """Mean score of each method over what all share; folds of a cross-validation weigh equally."""
    selection = select(cell, methods)
    if selection.design == "none":
        return None
    blocks = take(cell, selection, methods)
    means = np.mean([block.mean((1, 2)) for block in blocks], axis=0).round(12)
    return pd.Series(means, index=methods)
