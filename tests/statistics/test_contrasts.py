"""Pairing, contrasts, ranks and the verdict on small case tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.config import ClaimConfig, ContrastConfig
from benchmarks.errors import ConfigError
from benchmarks.statistics.contrasts import ContrastResult, compare, word
from benchmarks.statistics.pairs import pair, patient_runs
from benchmarks.statistics.ranks import rank_methods
from benchmarks.statistics.verdict import rule, verdicts

KEY = ("acdc", 7, "last")


def table(scores: dict[str, np.ndarray], *, classes: int = 2) -> pd.DataFrame:
    """A case table from (seeds, patients) scores by method key; classes lie around the score."""
    rows = [
        {
            "dataset": "acdc", "labels": 7, "checkpoint": "last", "fold": 0,
            "method": name.split("-")[0], "variant": name.partition("-")[2],
            "seed": seed, "patient": f"p{patient:02d}", "class": c, "case": f"p{patient:02d}_{c}",
            "dice": value + 0.01 * (c - (classes - 1) / 2),
        }
        for name, values in scores.items()
        for seed, row in enumerate(values)
        for patient, value in enumerate(row)
        for c in range(classes)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_pairing_averages_classes_and_seeds() -> None:
    a, b = np.array([[0.9, 0.5], [0.7, 0.5]]), np.array([[0.6, 0.6], [0.6, 0.4]])
    found = pair(patient_runs(table({"m-a": a, "m-b": b})), KEY, "m-a", "m-b")
    np.testing.assert_allclose(found.folds[0], a - b)
    np.testing.assert_allclose(found.patients, [0.2, 0.0], atol=1e-12)
    assert found.runs == 2 and found.left_out == ()


def test_missing_runs_and_patients_are_listed_and_left_out() -> None:
    """Seed 2 of one method and one score of patient 1 are missing: two of each remain."""
    cases = table({"a": np.full((3, 3), 0.5), "b": np.full((3, 3), 0.4)})
    gone = (cases["method"] == "b") & (cases["seed"] == 2)
    gone |= (cases["method"] == "a") & (cases["seed"] == 0) & (cases["patient"] == "p01")
    found = pair(patient_runs(cases[~gone]), KEY, "a", "b")
    assert found.folds[0].shape == (2, 2)
    assert found.left_out == (
        "fold 0 seed 2: only a",
        "fold 0 patient p01: not scored in every run",
    )
    absent = pair(patient_runs(cases), KEY, "a", "nobody")
    assert absent.folds == () and absent.runs == 0


def test_unknown_metric_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no column 'dise'"):
        patient_runs(table({"a": np.zeros((1, 2))}), metric="dise")


def test_contrasts_of_a_clear_an_absent_and_a_tiny_effect() -> None:
    generator = np.random.default_rng(0)
    base = generator.uniform(0.4, 0.9, (1, 20)) + np.zeros((3, 1))
    noise = 0.002 * generator.standard_normal((2, 3, 20))
    cases = table({"a": base, "b": base + 0.05 + noise[0], "c": base + noise[1]})
    pairs = [("b", "a"), ("c", "a"), ("a", "b"), ("a", "z")]
    contrasts = [ContrastConfig(name=f"{x}-{y}", better=x, than=y) for x, y in pairs]
    results = compare(cases, contrasts)
    assert [r.outcome for r in results] == ["superior", "equivalent", "inferior", "not tested"]
    clear = results[0]
    assert clear.low < clear.mean < clear.high and clear.mean == pytest.approx(0.05, abs=0.005)
    assert (clear.wins, clear.ties, clear.losses, clear.patients, clear.runs) == (20, 0, 0, 20, 3)
    assert clear.p == pytest.approx(2 / 2**20)
    assert clear.p_holm == pytest.approx(3 * max(clear.p, clear.p_runs), rel=1e-6)
    assert clear.worst_decile == pytest.approx(0.05, abs=0.01)


def test_chance_between_runs_is_no_effect() -> None:
    """Three runs that differ by chance alone fool the test over patients, not the outcome."""
    generator = np.random.default_rng(3)
    base = generator.uniform(0.4, 0.9, (1, 20))
    runs = np.array([[0.06], [0.0], [0.03]])
    cases = table({"a": base + np.zeros((3, 1)), "b": base + runs})
    (found,) = compare(cases, [ContrastConfig(name="b - a", better="b", than="a")])
    assert found.p < 0.001 < found.p_runs
    assert found.outcome == "inconclusive"


def test_equal_scores_and_single_patients() -> None:
    contrast = ContrastConfig(name="x", better="a", than="b")
    (equal,) = compare(table({"a": np.full((3, 9), 0.5), "b": np.full((3, 9), 0.5)}), [contrast])
    assert equal.outcome == "equivalent" and equal.ties == 9 and equal.p == 1
    (one,) = compare(table({"a": np.full((1, 1), 0.9), "b": np.full((1, 1), 0.5)}), [contrast])
    assert one.outcome == "not tested" and one.mean == pytest.approx(0.4)


def test_ranks_by_hand() -> None:
    """a is best for every patient, b and c tie once."""
    scores = {"a": [[0.9, 0.9, 0.9]], "b": [[0.5, 0.6, 0.5]], "c": [[0.5, 0.4, 0.4]]}
    runs = patient_runs(table({k: np.array(v) for k, v in scores.items()}))
    found = rank_methods(runs, KEY)
    assert found is not None
    assert found.mean.to_dict() == pytest.approx({"a": 1.0, "b": (2.5 + 2 + 2) / 3, "c": 8.5 / 3})
    assert found.patients == 3 and 0 < found.p < 0.2
    assert rank_methods(runs[runs["key"] != "c"], KEY) is None


def _result(name: str, outcome: str) -> ContrastResult:
    return ContrastResult(
        name, "acdc", 7, "last", "a", "b", "",
        patients=20, runs=3, mean=0.02, low=0.01, high=0.03, covers_runs=True,
        shift=0.02, shift_low=0.01, shift_high=0.03, p=0.001, p_runs=0.002, p_holm=0.004,
        outcome=outcome,  # type: ignore[arg-type]
    )  # fmt: skip


def test_word_needs_corrected_p_and_both_intervals() -> None:
    good = _result("x", "inconclusive")
    assert word(good) == "superior"
    assert word(replace(good, p_holm=0.06)) == "inconclusive"
    assert word(replace(good, low=-0.001)) == "inconclusive"
    assert word(replace(good, shift_low=-0.001)) == "inconclusive"
    assert word(replace(good, p_holm=0.06, p_equivalence=0.01)) == "equivalent"


@pytest.mark.parametrize(
    ("outcomes", "ruling"),
    [
        (["superior", "superior"], "supported"),
        (["superior", "inconclusive"], "inconclusive"),
        (["superior", "equivalent"], "not supported"),
        (["inferior", "inconclusive"], "not supported"),
        (["not tested", "superior"], "inconclusive"),
    ],
)
def test_verdict(outcomes: list[str], ruling: str) -> None:
    assert rule(outcomes) == ruling
    claim = ClaimConfig(text="it helps", contrasts=("one", "two"))
    results = [_result(n, o) for n, o in zip(("one", "two"), outcomes, strict=True)]
    (made,) = verdicts([*results, _result("other", "inferior")], claim)
    assert made.ruling == ruling and len(made.numbers) == 2
    if outcomes[0] == "superior":
        assert "+2.0 Dice points, 95 % interval [+1.0, +3.0]" in made.numbers[0]
