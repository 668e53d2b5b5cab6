"""Sources of variation of one method, against simulated truth and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.statistics.components import Components, variance_components
from benchmarks.statistics.pairs import patient_runs
from tests.statistics.tables import Values, disjoint, shared, table, two_way


def components(cases: pd.DataFrame) -> Components:
    return variance_components(patient_runs(cases))


def drawn(
    g: np.random.Generator, *, subset: float, own_patients: bool, shape: tuple[int, int, int]
) -> Values:
    """Scores in points: seeds scatter by 1, patients by 12, the rest by 4."""
    folds, seeds, n = shape
    return np.asarray(
        70
        + subset * g.standard_normal((folds, 1, 1))
        + 1 * g.standard_normal((folds, seeds, 1))
        + 12 * g.standard_normal((folds if own_patients else 1, 1, n))
        + 4 * g.standard_normal(shape)
    )


def test_a_subset_deviation_of_three_points_is_seen_on_shared_patients() -> None:
    """It used to print as 0.0 in most tables: patient variance was subtracted from it."""
    g = np.random.default_rng(0)
    found = [
        components(shared({"a": drawn(g, subset=3, own_patients=False, shape=(3, 3, 20))})).subset
        for _ in range(60)
    ]
    # 3 subsets: chance alone gives 0 in 1 - exp(-0.6 / 9.6) = 6 % of tables.
    assert np.mean(np.array(found) == 0.0) < 0.15
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(3, abs=0.6)


def test_no_subset_deviation_is_made_up() -> None:
    g = np.random.default_rng(1)
    for own, make, most in ((False, shared, 0.5), (True, disjoint, 4.0)):
        found = [
            components(make({"a": drawn(g, subset=0, own_patients=own, shape=(5, 3, 20))}))
            for _ in range(40)
        ]
        # Patients alone move folds with patients of their own by 12^2 / 20 = 7.2.
        assert np.mean([c.subset**2 for c in found]) < most


def test_patients_of_their_own_are_subtracted() -> None:
    g = np.random.default_rng(2)
    found = [
        components(disjoint({"a": drawn(g, subset=3, own_patients=True, shape=(8, 2, 20))}))
        for _ in range(40)
    ]
    mean = {
        name: np.sqrt(np.mean([getattr(c, name) ** 2 for c in found]))
        for name in ("subset", "seed", "patient", "rest")
    }
    expected = {"subset": 3, "seed": 1, "patient": 12, "rest": 4}
    assert mean == pytest.approx(expected, rel=0.2)


def test_one_fold_by_the_mean_squares() -> None:
    scores = np.random.default_rng(3).normal(0.5, 0.1, (4, 6)) + np.linspace(0, 0.5, 6)
    run, patient, rest = two_way(scores)
    found = components(table({"a": scores}))
    assert np.isnan(found.subset)
    assert found.rest == pytest.approx(rest**0.5)
    assert found.seed == pytest.approx(max((run - rest) / 6, 0) ** 0.5)
    assert found.patient == pytest.approx(((patient - rest) / 4) ** 0.5)


def test_one_seed_per_subset() -> None:
    """Bound pairs: the subset deviation is that of the runs, by the same mean squares."""
    scores = np.random.default_rng(4).normal(0.5, 0.1, (4, 6)) + np.linspace(0, 0.9, 4)[:, None]
    run, patient, rest = two_way(scores)
    found = components(shared({"a": scores[:, None]}))
    assert np.isnan(found.seed)
    assert found.subset == pytest.approx(((run - rest) / 6) ** 0.5)
    assert found.patient == pytest.approx(max((patient - rest) / 4, 0) ** 0.5)
    assert found.rest == pytest.approx(rest**0.5)


def test_seeds_nested_in_subsets_by_the_mean_squares() -> None:
    """Balanced: V_subset = (MS_subset - MS_seed - MS_subset x patient + MS_rest) / (S n)."""
    g = np.random.default_rng(5)
    scores = drawn(g, subset=6, own_patients=False, shape=(4, 3, 5))
    of_subsets, of_patients, interaction = two_way(scores.mean(1))
    inside = np.mean([two_way(fold) for fold in scores], axis=0)
    seed, rest = inside[0], inside[2]
    found = components(shared({"a": scores}))
    expected = (3 * of_subsets - seed - 3 * interaction + rest) / 15
    assert expected > 0 and found.subset == pytest.approx(expected**0.5)
    assert found.seed == pytest.approx(max((seed - rest) / 5, 0) ** 0.5)
    assert found.patient == pytest.approx(((of_patients - interaction) / 4) ** 0.5)
