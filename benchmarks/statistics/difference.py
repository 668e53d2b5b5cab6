"""What a comparison says, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.statistics.inference import look_factor
from benchmarks.statistics.pairs import Design

Outcome = Literal[
    "better", "worse", "equivalent", "undecided", "pilot", "unconverged", "not tested"
]
NAN = float("nan")
# What limits a verdict.
UNSTUDIED, EXPLORATORY = "convergence not studied", "exploratory"
# Outcomes that say something of the difference.
DECIDED = ("better", "worse", "equivalent")


@dataclass(frozen=True)
class Difference:
    """One comparison on one data set, labelled count and checkpoint.

    Differences are `better` minus `than`, in the unit of the metric (Dice: a fraction).

    Attributes:
        name: of the comparison.
        dataset: id.
        labels: labelled patients.
        checkpoint: last or best.
        better: method whose score counts positive.
        than: the other.
        design: how runs and patients meet; none where the methods share nothing.
        runs: independent units: seeds of one labelled subset, or subsets, or folds.
        patients: that were compared.
        mean: mean difference.
        low: lower end of the 95 % interval over runs and patients.
        high: upper end.
        p: two-sided, of Student's test.
        p_holm: corrected over the family.
        p_false: probability that `better` is not the better one (arXiv 2505.04720, with runs).
        p_false_patients: the same as if the runs were fixed.
        p_equivalent: of two one-sided tests with `MARGIN`, corrected; NaN for distances.
        detectable: true difference that is found with 80 % power, corrected as p is.
        shift: Hodges-Lehmann estimate over patients; description only, as are the next three.
        shift_low: lower end of its exact interval.
        shift_high: upper end.
        p_signed_rank: exact p over patients, two-sided.
        wins: patients for whom `better` is better by more than `MARGIN` (distances: at all).
        ties: patients within it.
        losses: the others.
        worst_tenth: mean difference in the tenth of the patients who fare worst with both.
        outcome: the word.
        reason: why there is no verdict, or what limits one, in words.
        left_out: runs and patients that could not be paired.
        metric: column of scores.
        looks: tables made of growing data, for which p is corrected after Holm's correction.
    """

    name: str
    dataset: str
    labels: int
    checkpoint: str
    better: str
    than: str
    design: Design
    runs: int = 0
    patients: int = 0
    mean: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    p_holm: float = NAN
    p_false: float = NAN
    p_false_patients: float = NAN
    p_equivalent: float = NAN
    detectable: float = NAN
    shift: float = NAN
    shift_low: float = NAN
    shift_high: float = NAN
    p_signed_rank: float = NAN
    wins: int = 0
    ties: int = 0
    losses: int = 0
    worst_tenth: float = NAN
    outcome: Outcome = "not tested"
    reason: str = ""
    left_out: str = ""
    metric: str = "dice"
    looks: int = 1


def less_is_better(metric: str) -> bool:
    """Whether a metric is a distance."""
    return metric.endswith("_mm")


def unit(metric: str) -> tuple[float, str]:
    """Factor and name of the unit that a metric is told in: 100 points to 1, or mm."""
    return (1.0, "mm") if less_is_better(metric) else (100.0, "points")


def pilot_of_patients(d: Difference, word: str = "patient") -> Difference:
    """The comparison where no verdict is possible, whatever the runs.

    Args:
        d: as the rule has it.
        word: for what was tested, such as `slice`.
    """
    if d.outcome not in {*DECIDED, "undecided"}:
        return d
    return replace(d, outcome="pilot", reason=f"{d.patients} {word}{'s' * (d.patients != 1)}")


def limited(d: Difference, *limits: str) -> Difference:
    """The comparison with what limits a verdict, in words, whether or not it is decided."""
    if d.outcome not in {*DECIDED, "undecided"}:
        return d
    return replace(d, reason="; ".join(limits))


def looks_told(looks: int) -> str:
    """How a sentence on Holm's correction goes on where p is corrected for looks too."""
    return f", times {look_factor(looks)} for {looks} looks at growing data" if looks > 1 else ""


def phrase(d: Difference) -> str:
    """The outcome as a table prints it, such as "undecided (could have seen 3.4 points)"."""
    if d.outcome == "undecided":
        factor, name = unit(d.metric)
        return f"undecided (could have seen {factor * d.detectable:.1f} {name})"
    if d.outcome == "pilot":
        return f"pilot, {d.reason}"
    if d.outcome == "unconverged":
        return "unconverged: no verdict"
    if d.outcome == "not tested":
        return f"not tested: {d.reason}"
    return f"{d.outcome} ({d.reason})" if d.reason else d.outcome
