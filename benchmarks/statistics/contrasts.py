"""Pre-declared contrasts between methods: tests, intervals, equivalence, and the word for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from benchmarks.config import ContrastConfig
from benchmarks.report.stats import holm
from benchmarks.statistics.bootstrap import detectable_effect, hierarchical_interval
from benchmarks.statistics.pairs import CELL, Key, Paired, pair, patient_runs
from benchmarks.statistics.signedrank import equivalence_p, hodges_lehmann, signed_rank_p

MARGIN = 0.005  # 0.5 Dice points
ALPHA = 0.05
NAN = float("nan")
# Share of patients that counts as worst.
_WORST = 0.1

Outcome = Literal["superior", "inferior", "equivalent", "inconclusive", "not tested"]


@dataclass(frozen=True)
class ContrastResult:
    """One contrast on one data set, labelled count and checkpoint; differences in [-1, 1].

    Attributes:
        name: of the contrast.
        dataset: id.
        labels: labelled patients.
        checkpoint: last or best.
        better: method whose score counts positive.
        than: the other.
        left_out: what could not be paired.
        patients: that were compared.
        runs: paired training runs.
        mean: mean difference.
        low: lower end of the interval over runs and patients.
        high: upper end.
        covers_runs: whether that interval knows the variation between runs.
        shift: Hodges-Lehmann estimate over patients.
        shift_low: lower end of its exact interval.
        shift_high: upper end.
        p: exact signed-rank p over patients, two-sided.
        p_runs: of the mean difference over runs and patients.
        p_holm: the larger of both p, corrected over the contrasts of the family. The signed-rank
            test alone takes chance differences between training runs for effects of the method.
        p_equivalence: of two one-sided tests with `MARGIN`.
        detectable: smallest difference found with 80 % power at this variance.
        wins: patients with a difference above `MARGIN`.
        ties: patients within it.
        losses: patients below.
        worst_decile: mean difference in the tenth of the patients who fare worst with `than`.
        outcome: the word.
    """

    name: str
    dataset: str
    labels: int
    checkpoint: str
    better: str
    than: str
    left_out: str
    patients: int = 0
    runs: int = 0
    mean: float = NAN
    low: float = NAN
    high: float = NAN
    covers_runs: bool = False
    shift: float = NAN
    shift_low: float = NAN
    shift_high: float = NAN
    p: float = NAN
    p_runs: float = NAN
    p_holm: float = NAN
    p_equivalence: float = NAN
    detectable: float = NAN
    wins: int = 0
    ties: int = 0
    losses: int = 0
    worst_decile: float = NAN
    outcome: Outcome = "not tested"


def word(result: ContrastResult) -> Outcome:
    """The word for a tested contrast.

    Superior or inferior: corrected p < 0.05 and both intervals exclude 0; equivalent: p of the
    equivalence tests < 0.05; otherwise inconclusive, which is not evidence of equality.
    """
    if not result.patients or np.isnan(result.p):
        return "not tested"
    if result.p_holm < ALPHA and min(result.low, result.shift_low) > 0:
        return "superior"
    if result.p_holm < ALPHA and max(result.high, result.shift_high) < 0:
        return "inferior"
    return "equivalent" if result.p_equivalence < ALPHA else "inconclusive"


def _worst(scores: pd.DataFrame, paired: Paired) -> float:
    """Mean difference of the tenth of patients with the lowest score of `than`."""
    own = scores[(scores[CELL] == list(paired.key)).all(axis=1)]
    means = own.pivot_table(index="patient", columns="key", values="score")
    both = means[[paired.better, paired.than]].dropna().sort_values(paired.than)
    lowest = both.head(max(1, round(_WORST * len(both))))
    return float((lowest[paired.better] - lowest[paired.than]).mean())


def _result(name: str, paired: Paired, scores: pd.DataFrame) -> ContrastResult:
    left = "; ".join(paired.left_out)
    identity = ContrastResult(name, *paired.key, paired.better, paired.than, left)
    d = paired.patients
    if not len(d):
        return identity
    interval = hierarchical_interval(paired.folds, peers=paired.peers)
    shift = hodges_lehmann(d)
    wins, losses = int((d > MARGIN).sum()), int((d < -MARGIN).sum())
    return replace(
        identity,
        patients=len(d),
        runs=paired.runs,
        mean=interval.mean,
        low=interval.low,
        high=interval.high,
        covers_runs=interval.covers_runs,
        shift=shift.estimate,
        shift_low=shift.low,
        shift_high=shift.high,
        p=signed_rank_p(d),
        p_runs=interval.p,
        p_equivalence=equivalence_p(d, margin=MARGIN),
        detectable=detectable_effect(d),
        wins=wins,
        ties=len(d) - wins - losses,
        losses=losses,
        worst_decile=_worst(scores, paired),
    )


def _families(scores: pd.DataFrame) -> Iterator[Key]:
    """Data sets, labelled counts and checkpoints in order of appearance."""
    yield from scores[CELL].drop_duplicates().itertuples(index=False, name=None)


def compare(
    cases: pd.DataFrame, contrasts: Sequence[ContrastConfig], *, metric: str = "dice"
) -> list[ContrastResult]:
    """All contrasts on every data set, labelled count and checkpoint, Holm-corrected in each.

    Args:
        cases: rows of a case table.
        contrasts: the family of tests, declared before the results were seen.
        metric: column of scores where more is better, in [0, 1].

    Returns:
        In order of data set, labelled count, checkpoint and contrast. A contrast of which a method
        is absent is listed as not tested.
    """
    scores, found = patient_runs(cases, metric=metric), []
    names = tuple(dict.fromkeys(name for c in contrasts for name in (c.better, c.than)))
    for key in _families(scores):
        family = [
            _result(c.name, pair(scores, key, c.better, c.than, family=names), scores)
            for c in contrasts
        ]
        corrected = holm(np.array([max(r.p, r.p_runs) for r in family]))
        for result, p in zip(family, corrected, strict=True):
            tested = replace(result, p_holm=float(p))
            found.append(replace(tested, outcome=word(tested)))
    return found
