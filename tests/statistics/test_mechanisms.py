"""The rule on inert and faint terms against ledgers made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from benchmarks.statistics.mechanisms import inert_terms, judge_terms

TWENTY = range(50, 1001, 50)


def ledger(gradients: Sequence[float], *, steps: Sequence[int] = TWENTY, **more: Any) -> Any:
    """Lines of one term; the last probe is at the end of a run of 1,000 steps."""
    cell = {"dataset": "d", "method": "m", "labels": 2, "fold": 0, "seed": 0}
    rows = pd.DataFrame({"step": list(steps), "gradient": gradients})
    values = {"kind": "term", "name": "x", "value": 1.0, "elements": float("nan"), "cosine": 0.0}
    return rows.assign(**{**cell, **values, "relative": rows["gradient"], **more})


def state(*frames: pd.DataFrame) -> tuple[int, int, str]:
    (row,) = judge_terms(pd.concat(frames)).to_dict("records")
    return row["probes"], row["silent"], row["state"]


@pytest.mark.parametrize(
    ("gradients", "found"),
    [
        ([1.0] * 20, (20, 0, "")),
        ([1.0] * 8 + [0.0] * 4 + [1.0] * 8, (20, 4, "")),  # exactly a fifth
        ([1.0] * 15 + [0.0] * 5, (20, 5, "inert")),
        ([0.0] * 2 + [1.0] * 18, (18, 0, "")),  # a tenth of the run to start in
        ([0.0] * 5 + [1.0] * 15, (18, 3, "")),  # counted from there on
        ([0.0] * 6 + [1.0] * 14, (18, 4, "inert")),
        ([0.0] * 20, (18, 18, "inert")),  # never starts
    ],
)
def test_inert_is_no_effect_in_more_than_a_fifth_of_the_probes(
    gradients: list[float], found: tuple[int, int, str]
) -> None:
    assert state(ledger(gradients)) == found


def test_a_term_starts_with_its_stage() -> None:
    late = list(TWENTY)[-6:]
    assert state(ledger([0.0] * 2 + [1.0] * 4, steps=late)) == (4, 0, "")
    assert state(ledger([0.0], steps=[1000])) == (1, 1, "inert")


def test_a_term_without_elements_has_no_effect() -> None:
    elements = [5.0] * 15 + [0.0] * 5
    assert state(ledger([1.0] * 20, elements=elements)) == (20, 5, "inert")


@pytest.mark.parametrize(
    ("gradients", "found"),
    [
        ([1.0] * 15 + [0.0099] * 5, "faint"),
        ([1.0] * 15 + [0.0101] * 5, ""),
        ([0.001] * 15 + [0.0101] * 5, ""),  # the ramp was not full before
        ([1.0] * 15 + [0.001, 0.001, 1.0, 1.0, 1.0], ""),  # the median
    ],
)
def test_faint_is_a_hundredth_of_supervision_at_full_weight(
    gradients: list[float], found: str
) -> None:
    assert state(ledger(gradients))[2] == found


def test_a_term_that_ends_early_is_judged_before_its_end() -> None:
    """A term of the first 600 steps of 1,000: its last quarter of the run is from 350 to 600."""
    other = ledger([1.0] * 20, name="other")
    for gradients, found in (
        ([1.0] * 7 + [0.0099] * 5, (12, 0, "faint")),
        ([0.001] * 7 + [1.0] * 5, (12, 0, "")),
        ([1.0] * 9 + [0.0] * 3, (12, 3, "inert")),
    ):
        own = ledger(gradients, steps=list(TWENTY)[:12])
        row = judge_terms(pd.concat([other, own])).to_dict("records")[1]
        assert (row["probes"], row["silent"], row["state"]) == found


def test_runs_of_a_cell_are_judged_together_and_cells_apart() -> None:
    dead, alive = [0.0] * 20, [1.0] * 20
    runs = [ledger(dead if seed == 0 else alive, seed=seed) for seed in range(5)]
    assert state(*runs) == (98, 18, "")
    assert state(*runs[:4]) == (78, 18, "inert")
    frames = [ledger(dead, method="m", labels=2), ledger(alive, method="m", labels=4)]
    frames += [ledger(alive, name="x", method="n"), ledger(dead, name="y", method="n")]
    assert inert_terms(judge_terms(pd.concat(frames))) == {("d", 2): {"m": "x", "n": "y"}}


@pytest.mark.parametrize("kind", ["auxiliary", "observed"])
def test_only_terms_are_judged(kind: str) -> None:
    assert state(ledger([0.0] * 20, kind=kind))[2] == ""
