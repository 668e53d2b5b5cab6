"""The claim rule."""

from __future__ import annotations

import pytest

from benchmarks.config import ClaimConfig
from benchmarks.statistics.difference import Difference, limited, phrase
from benchmarks.statistics.verdict import verdicts

CLAIM = ClaimConfig(text="it helps", contrasts=("one", "two"))
ONE = "1 of 2 deciding contrasts allows no verdict"


def result(
    name: str,
    outcome: str,
    *,
    checkpoint: str = "last",
    design: str = "crossed",
    reason: str | None = None,
) -> Difference:
    silent = {"pilot": "3 runs", "not tested": "why", "unconverged": "a not converged"}
    return Difference(
        name, "acdc", 7, checkpoint, "a", "b", design,  # type: ignore[arg-type]
        runs=5, patients=20, mean=0.02, low=0.01, high=0.03, p=0.001, p_holm=0.004, p_false=0.0005,
        p_false_patients=0.0001, detectable=0.015, outcome=outcome,  # type: ignore[arg-type]
        reason=silent.get(outcome, "") if reason is None else reason,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("outcomes", "ruling", "reason"),
    [
        (("better", "better"), "supported", ""),
        (("better", "undecided"), "undecided", ""),
        (("better", "equivalent"), "not supported", ""),
        (("worse", "undecided"), "not supported", ""),
        (("worse", "pilot"), "not supported", f"{ONE} (two: pilot, 3 runs)"),
        (("not tested", "better"), "undecided", f"{ONE} (one: not tested: why)"),
        (
            ("unconverged", "pilot"), "undecided",
            "2 of 2 deciding contrasts allow no verdict (one: unconverged: no verdict; two: pilot,"
            " 3 runs)",
        ),
    ],
)  # fmt: skip
def test_rulings(outcomes: tuple[str, str], ruling: str, reason: str) -> None:
    results = [result(n, o) for n, o in zip(CLAIM.contrasts, outcomes, strict=True)]
    (made,) = verdicts(
        [*results, result("other", "worse"), result("one", "worse", checkpoint="best")], CLAIM
    )
    assert (made.ruling, made.reason) == (ruling, reason)
    assert (made.dataset, made.labels, made.claim, len(made.numbers)) == ("acdc", 7, "it helps", 2)


@pytest.mark.parametrize("outcome", ["better", "worse", "equivalent"])
def test_nothing_is_ruled_from_rows_whose_convergence_is_not_known(outcome: str) -> None:
    unknown = limited(result("one", outcome), "convergence not studied")
    (made,) = verdicts([unknown, result("two", "better")], CLAIM)
    assert made.ruling == "undecided"
    assert made.reason == f"{ONE} (one: {outcome} (convergence not studied))"
    open_ = result("one", "undecided")  # its limit is kept for `compare`, and told nowhere
    assert phrase(limited(open_, "exploratory")) == phrase(open_)
    plain, noted = (
        verdicts([d, result("two", "better")], CLAIM) for d in (open_, limited(open_, "x"))
    )
    assert plain == noted


def test_words_carry_the_numbers() -> None:
    (made,) = verdicts([result("one", "better"), result("two", "undecided")], CLAIM)
    assert made.numbers[0] == (
        "one (a - b): +2.0 points, 95 % interval [+1.0, +3.0]; p = 0.001, corrected 0.004;"
        " probability of a false claim 0.0005 (0.0001 from patients alone); 5 runs, 20 patients:"
        " better"
    )
    assert made.numbers[1].endswith("undecided (could have seen 1.5 points)")


def test_cells_without_any_runs_of_the_contrasts_have_no_verdict() -> None:
    empty = [result(n, "not tested", design="none") for n in CLAIM.contrasts]
    assert verdicts(empty, CLAIM) == []
    (made,) = verdicts([empty[0], result("two", "better")], CLAIM)
    assert made.ruling == "undecided"
    assert made.numbers[0] == "one (a - b): not tested: why"
