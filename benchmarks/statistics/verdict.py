"""The claim rule: what the deciding contrasts say together, data set by data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.config import ClaimConfig
from benchmarks.statistics.contrasts import ContrastResult

Ruling = Literal["supported", "not supported", "inconclusive"]


@dataclass(frozen=True)
class Verdict:
    """Outcome of the claim on one data set and labelled count, last checkpoint.

    Attributes:
        dataset: id.
        labels: labelled patients.
        claim: the claim in words.
        ruling: supported if every deciding contrast is superior; not supported if one is inferior
            or equivalent; inconclusive otherwise.
        numbers: the deciding contrasts in words, one each.
    """

    dataset: str
    labels: int
    claim: str
    ruling: Ruling
    numbers: tuple[str, ...]


def _words(r: ContrastResult) -> str:
    if r.outcome == "not tested":
        return f"{r.name}: not tested ({r.left_out or 'no runs of both'})"
    scope = "runs and patients" if r.covers_runs else "patients only, a single run"
    return (
        f"{r.name} ({r.better} - {r.than}): {100 * r.mean:+.1f} Dice points, 95 % interval"
        f" [{100 * r.low:+.1f}, {100 * r.high:+.1f}] over {scope}; Hodges-Lehmann"
        f" {100 * r.shift:+.1f} [{100 * r.shift_low:+.1f}, {100 * r.shift_high:+.1f}]; p ="
        f" {r.p:.3g} (patients), {r.p_runs:.3g} (runs), corrected {r.p_holm:.3g};"
        f" {r.patients} patients, {r.runs} runs: {r.outcome}"
    )


def rule(outcomes: Sequence[str]) -> Ruling:
    """The ruling from the outcomes of the deciding contrasts."""
    if all(o == "superior" for o in outcomes):
        return "supported"
    if any(o in {"inferior", "equivalent"} for o in outcomes):
        return "not supported"
    return "inconclusive"


def verdicts(results: Sequence[ContrastResult], claim: ClaimConfig) -> list[Verdict]:
    """The claim on every data set and labelled count.

    Args:
        results: from `compare`.
        claim: its words and the names of the contrasts that decide.
    """
    made = []
    last = [r for r in results if r.checkpoint == "last" and r.name in claim.contrasts]
    for dataset, labels in dict.fromkeys((r.dataset, r.labels) for r in last):
        own = [r for r in last if (r.dataset, r.labels) == (dataset, labels)]
        ruling = rule([r.outcome for r in own])
        words = tuple(_words(r) for r in own)
        made.append(Verdict(dataset, labels, claim.text, ruling, words))
    return made
