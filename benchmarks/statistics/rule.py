"""The one decision rule, applied to declared comparisons of a case table.

Every table, figure, contrast and verdict takes its words from `compare`. The numbers are those of
`benchmarks/statistics/inference.py`; their error rates are simulated by `simulate.py` and committed
in `reports/statistics/calibration.csv`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.config import ContrastConfig
from benchmarks.statistics.difference import (
    NAN,
    Difference,
    Outcome,
    less_is_better,
    phrase,
    unit,
)
from benchmarks.statistics.inference import (
    ALPHA,
    MARGIN,
    MIN_RUNS,
    Decision,
    Estimate,
    between_folds,
    crossed,
    decide,
    pooled,
    squares,
)
from benchmarks.statistics.pairs import Cell, Design, Selection, Values, cells, select, take
from benchmarks.statistics.signedrank import hodges_lehmann, signed_rank_p

__all__ = [
    "ALPHA", "INERT", "MARGIN", "MIN_RUNS", "NOTHING", "NO_TERMS", "Difference", "Outcome",
    "against", "compare", "estimate", "judge", "less_is_better", "phrase", "unit",
]  # fmt: skip

# Share of patients that counts as worst.
_WORST = 0.1
# How the reasons end where methods predict nothing.
NOTHING = ("predict nothing", "predicts nothing")
INERT = "inert"
NO_TERMS: Mapping[str, str] = MappingProxyType({})


def compare(
    cases: pd.DataFrame,
    contrasts: Sequence[ContrastConfig],
    *,
    metric: str = "dice",
    unconverged: Collection[str] = (),
    inert: Mapping[str, str] = NO_TERMS,
    looks: int = 1,
) -> list[Difference]:
    """All contrasts on every data set, labelled count and checkpoint, Holm-corrected in each.

    Args:
        cases: rows of a case table.
        contrasts: the family of tests, declared before the results were seen.
        metric: column of scores; less is better where its name ends in `_mm`.
        unconverged: keys of methods that more training would still improve.
        inert: key of a method: term of its loss that does nothing.
        looks: tables made of growing data, this one included; see `inference.look_factor`.

    Returns:
        In order of data set, labelled count, checkpoint and contrast. Cells with a single method
        are left out: there is nothing to compare. A contrast of which one method is absent is
        listed as not tested, and counts in the family: p does not depend on what was trained first.

    Raises:
        ConfigError: no such column.
    """
    return _judge_all(cases, lambda _: contrasts, metric, unconverged, inert, looks)


def against(
    cases: pd.DataFrame,
    baseline: str,
    *,
    metric: str = "dice",
    unconverged: Collection[str] = (),
    inert: Mapping[str, str] = NO_TERMS,
    looks: int = 1,
) -> list[Difference]:
    """Every other method of each cell minus the baseline; arguments and result as in `compare`.

    Cells without the baseline are left out.
    """

    def contrasts(cell: Cell) -> list[ContrastConfig]:
        if baseline not in cell.methods:
            return []
        return [
            ContrastConfig(name=f"{name} - {baseline}", better=name, than=baseline)
            for name in cell.methods
            if name != baseline
        ]

    return _judge_all(cases, contrasts, metric, unconverged, inert, looks)


def _judge_all(
    cases: pd.DataFrame,
    contrasts: Callable[[Cell], Sequence[ContrastConfig]],
    metric: str,
    unconverged: Collection[str],
    inert: Mapping[str, str],
    looks: int,
) -> list[Difference]:
    found: list[Difference] = []
    for cell in cells(cases, metric=metric):
        family = contrasts(cell) if len(cell.methods) > 1 else ()
        found += judge(
            cell, family, metric=metric, unconverged=unconverged, inert=inert, looks=looks
        )
    return found


def judge(
    cell: Cell,
    contrasts: Sequence[ContrastConfig],
    *,
    metric: str = "dice",
    unconverged: Collection[str] = (),
    inert: Mapping[str, str] = NO_TERMS,
    looks: int = 1,
    describe: bool = True,
) -> list[Difference]:
    """The contrasts of one cell; `describe` adds what decides nothing. See `compare`."""
    if not contrasts:
        return []
    selections = [select(cell, (c.better, c.than)) for c in contrasts]
    reasons = [
        s.reason or _untestable(cell, c, inert) for c, s in zip(contrasts, selections, strict=True)
    ]
    estimates = [
        _difference(cell, c, s) if s.design != "none" else _UNKNOWN
        for c, s in zip(contrasts, selections, strict=True)
    ]
    family = _stack(estimates, tested=[not reason for reason in reasons])
    runs = np.array([len(s.groups) for s in selections])
    less = less_is_better(metric)
    awaited = sum(not {c.better, c.than} <= set(cell.methods) for c in contrasts)
    margin = NAN if less else MARGIN
    decision = decide(family, runs=runs, margin=margin, less=less, awaited=awaited, looks=looks)
    found = []
    for i, (c, s, reason) in enumerate(zip(contrasts, selections, reasons, strict=True)):
        d = Difference(c.name, *cell.key, c.better, c.than, s.design, metric=metric, looks=looks)
        d = replace(d, runs=int(runs[i]), patients=s.size, left_out="; ".join(s.left_out))
        d = _decided(replace(d, mean=float(family.mean[i]), reason=reason), decision, i)
        d = _described(d, cell, s) if describe and s.design != "none" else d
        found.append(_overridden(d, s, unconverged))
    return found


_UNKNOWN = Estimate(*(np.array(NAN) for _ in range(5)))


def _untestable(cell: Cell, contrast: ContrastConfig, inert: Mapping[str, str]) -> str:
    """Why a contrast with shared runs and patients is not tested; empty if it is.

    Where most methods predict nothing, the training and not the methods was tried.
    """
    if 2 * len(cell.barren) > len(cell.methods):
        return f"{len(cell.barren)} of {len(cell.methods)} rows {NOTHING[0]}"
    for name in (contrast.better, contrast.than):
        if name in cell.barren:
            return f"{name} {NOTHING[1]}"
        if name in inert:
            return f"term {inert[name]} of {name} {INERT}"
    return ""


def _difference(cell: Cell, contrast: ContrastConfig, selection: Selection) -> Estimate:
    pair = take(cell, selection, (contrast.better, contrast.than))
    peers = [name for name in cell.methods if name not in cell.barren]
    return estimate(
        selection.design,
        tuple(block[0] - block[1] for block in pair),
        peers=take(cell, selection, peers) if selection.design == "crossed" else (),
    )


def estimate(design: Design, blocks: Sequence[Values], *, peers: Sequence[Values] = ()) -> Estimate:
    """Mean of scores or differences with its standard error.

    Args:
        design: crossed or cross-validation.
        blocks: one (runs, patients) array, or one (1, patients) array per fold.
        peers: as `take` returns them, the scores of all compared methods in the same runs and
            patients, of a crossed design; incomplete ones do not count.
    """
    # Averages of equal values may differ in the last bit: such patients are ties.
    d = [block.round(12) for block in blocks]
    if design == "cross-validation":
        means = np.array([fold.mean() for fold in d])
        return between_folds(means, np.concatenate([fold.mean(0) for fold in d]))
    common = None
    if peers:
        whole = peers[0][~np.isnan(peers[0]).any(axis=(1, 2))]
        common = pooled(whole.mean(2), d[0].shape[1]) if len(whole) > 2 else None
    return crossed(squares(d[0]), common)


def _stack(estimates: Sequence[Estimate], *, tested: Sequence[bool]) -> Estimate:
    """One family; what is not tested keeps its mean alone."""
    fields = ("error", "freedom", "patients_error", "patients_freedom")
    mean = np.array([e.mean for e in estimates])
    rest = ([getattr(e, name) for e in estimates] for name in fields)
    return Estimate(mean, *(np.where(tested, np.array(values), NAN) for values in rest))


def _decided(d: Difference, decision: Decision, i: int) -> Difference:
    word: Any = str(decision.outcome[i])
    return replace(
        d,
        low=float(decision.low[i]),
        high=float(decision.high[i]),
        p=float(decision.p[i]),
        p_holm=float(decision.p_holm[i]),
        p_false=float(decision.p_false[i]),
        p_false_patients=float(decision.p_false_patients[i]),
        p_equivalent=float(decision.p_equivalent[i]),
        detectable=float(decision.detectable[i]),
        outcome=word,
    )


def _described(d: Difference, cell: Cell, selection: Selection) -> Difference:
    blocks = take(cell, selection, (d.better, d.than))
    scores = np.concatenate([block.mean(1) for block in blocks], axis=1)
    by_patient = (scores[0] - scores[1]).round(12)
    less = less_is_better(d.metric)
    good, margin = (-by_patient, 0.0) if less else (by_patient, MARGIN)
    wins, losses = int((good > margin).sum()), int((good < -margin).sum())
    # By the mean of both: chosen by one score, the other method would seem better by chance.
    order = np.argsort(-scores.mean(0) if less else scores.mean(0), kind="stable")
    worst = order[: max(1, round(_WORST * len(order)))]
    shift = hodges_lehmann(by_patient)
    return replace(
        d,
        shift=shift.estimate,
        shift_low=shift.low,
        shift_high=shift.high,
        p_signed_rank=signed_rank_p(by_patient),
        wins=wins,
        ties=len(by_patient) - wins - losses,
        losses=losses,
        worst_tenth=float(by_patient[worst].mean()),
    )


def _overridden(d: Difference, selection: Selection, unconverged: Collection[str]) -> Difference:
    """The words that go before the numbers, and their reasons."""
    if d.outcome == "not tested":
        single = "patient" if d.patients == 1 else "fold"
        return d if d.reason else replace(d, reason=f"a single {single}")
    late = [name for name in (d.better, d.than) if name in unconverged]
    if late:
        return replace(d, outcome="unconverged", reason=f"{', '.join(late)} not converged")
    if d.outcome == "pilot":
        each = [len(group) for group in selection.groups]
        kind = "fold" if d.design == "cross-validation" else "labelled subset"
        nested = f", {kind}s of {max(each)} seeds each" if max(each) > 1 else ""
        return replace(d, reason=f"{d.runs} run{'s' * (d.runs != 1)}{nested}")
    return d
