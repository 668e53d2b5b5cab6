"""The claim rule: what the deciding contrasts say together, data set by data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.config import ClaimConfig
from benchmarks.statistics.difference import DECIDED, Difference, phrase, unit

Ruling = Literal["supported", "not supported", "undecided"]
# Outcomes that are no verdict on a contrast, whatever its numbers.
NO_VERDICT = ("pilot", "unconverged", "not tested")


@dataclass(frozen=True)
class Verdict:
    """Outcome of the claim on one data set and labelled count, last checkpoint.

    Attributes:
        dataset: id.
        labels: labelled patients.
        claim: the claim in words.
        ruling: supported if every deciding contrast is better; not supported if one is worse or
            equivalent; undecided otherwise.
        reason: which contrasts allow no verdict and why; empty if all do.
        numbers: the deciding contrasts in words, one each.
    """

    dataset: str
    labels: int
    claim: str
    ruling: Ruling
    reason: str
    numbers: tuple[str, ...]


def rule(outcomes: Sequence[str], *, limited: bool = False) -> Ruling:
    """The ruling from the outcomes of the deciding contrasts; none at all leave it undecided.

    Args:
        outcomes: words.
        limited: whether one of those that are a verdict has a limit, such as rows of which nobody
            knows whether they have converged.
    """
    if limited:
        return "undecided"
    if outcomes and all(o == "better" for o in outcomes):
        return "supported"
    if any(o in {"worse", "equivalent"} for o in outcomes):
        return "not supported"
    return "undecided"


def verdicts(results: Sequence[Difference], claim: ClaimConfig) -> list[Verdict]:
    """The claim on every data set and labelled count where a deciding contrast has runs.

    Args:
        results: from `rule.compare`.
        claim: its words and the names of the contrasts that decide.
    """
    made = []
    last = [r for r in results if r.checkpoint == "last" and r.name in claim.contrasts]
    for dataset, labels in dict.fromkeys((r.dataset, r.labels) for r in last):
        own = [r for r in last if (r.dataset, r.labels) == (dataset, labels)]
        if all(r.design == "none" for r in own):
            continue
        ruling = rule([r.outcome for r in own], limited=any(map(_is_limited, own)))
        words = tuple(_words(r) for r in own)
        made.append(Verdict(dataset, labels, claim.text, ruling, _reason(own), words))
    return made


def _is_limited(r: Difference) -> bool:
    return r.outcome in DECIDED and bool(r.reason)


def _reason(results: Sequence[Difference]) -> str:
    silent = [r for r in results if r.outcome in NO_VERDICT or _is_limited(r)]
    if not silent:
        return ""
    each = "; ".join(f"{r.name}: {phrase(r)}" for r in silent)
    allow = "allows" if len(silent) == 1 else "allow"
    return f"{len(silent)} of {len(results)} deciding contrasts {allow} no verdict ({each})"


def _words(r: Difference) -> str:
    if r.outcome == "not tested":
        return f"{r.name} ({r.better} - {r.than}): {phrase(r)}"
    factor, name = unit(r.metric)
    return (
        f"{r.name} ({r.better} - {r.than}): {factor * r.mean:+.1f} {name}, 95 % interval"
        f" [{factor * r.low:+.1f}, {factor * r.high:+.1f}]; p = {r.p:.3g}, corrected"
        f" {r.p_holm:.3g}; probability of a false claim {r.p_false:.3g} ({r.p_false_patients:.3g}"
        f" from patients alone); {r.runs}"
        f" run{'s' * (r.runs != 1)}, {r.patients} patients: {phrase(r)}"
    )
