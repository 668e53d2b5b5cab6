"""Variances of one method: between its runs, its answers to patients, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.statistics.inference import squares
from benchmarks.statistics.pairs import Cell, Selection, Values, select, take

NAN = float("nan")


@dataclass(frozen=True)
class Spread:
    """Variances of the scores of one method, in the squared unit of the metric.

    A difference of two methods varies twice as much.

    Attributes:
        run: method x run: how much a run differs from what method and run have in common.
        response: method x patient.
        residual: of a patient in a run.
    """

    run: float
    response: float
    residual: float

    @property
    def total(self) -> float:
        """Variance of a single score."""
        return self.run + self.response + self.residual


def measure(blocks: Sequence[Values]) -> Spread:
    """Variances of one method, by the method of moments, pooled over methods.

    What runs and patients have in common for all methods is taken out first. In a cross-validation
    each patient is tested in one run, so method x patient and residual cannot be told apart; all of
    it counts as method x patient, which more runs on the same patients do not reduce.

    Args:
        blocks: as `pairs.take` returns them, two methods or more.

    Returns:
        The variances, 0 where an estimate is negative; NaN where there is one run or patient.
    """
    free = len(blocks[0]) - 1
    alone = [block - block.mean(0) for block in blocks]
    if len(blocks) == 1:
        s = squares(alone[0])
        run, patient, rest = (float(v.sum()) / free for v in (s.run, s.patient, s.residual))
        if np.isnan(rest):
            return Spread(NAN, NAN, NAN)
        return Spread(max((run - rest) / s.patients, 0), max((patient - rest) / s.runs, 0), rest)
    means = np.stack([block.mean((1, 2)) for block in alone], axis=1)
    inside = [((b - b.mean(2, keepdims=True)) ** 2).sum() for b in alone]
    degrees = free * sum(block.shape[2] - 1 for block in blocks)
    if not degrees:
        return Spread(NAN, NAN, NAN)
    within = float(sum(inside)) / degrees
    fewer = float(np.mean([1 / block.shape[2] for block in blocks]))
    between = float(means.var(1, ddof=1).sum()) / free
    return Spread(max(between - within * fewer, 0), within, 0.0)


def measured(cell: Cell, methods: Sequence[str]) -> tuple[Selection, Spread]:
    """What methods share, and their variances; NaN where they share nothing."""
    selection = select(cell, methods)
    if selection.design == "none":
        return selection, Spread(NAN, NAN, NAN)
    return selection, measure(take(cell, selection, methods))
