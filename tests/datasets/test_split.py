"""Splits: disjoint, nested, deterministic, stratified."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.common.errors import ConfigError, DataError
from datasets import load_dataset
from datasets.preparing.divide import make_split
from datasets.preparing.parts import refuse_other_split
from datasets.preparing.split import (
    Fold,
    Patient,
    Split,
    SplitConfig,
    load_split,
    save_split,
)

cohorts = st.lists(
    st.builds(
        Patient,
        st.integers(0, 999).map("p{:03d}".format),
        st.sampled_from([True, True, True, False]),
        st.sampled_from(["", "A", "B"]),
    ),
    max_size=40,
    unique_by=lambda patient: patient.id,
)
configs = st.builds(
    SplitConfig,
    scheme=st.just("seeded"),
    seed=st.integers(0, 9),
    val=st.integers(0, 4),
    test=st.integers(1, 5),
    folds=st.integers(1, 4),
) | st.builds(
    SplitConfig,
    scheme=st.just("cv"),
    seed=st.integers(0, 9),
    val=st.integers(0, 4),
    folds=st.integers(2, 5),
)


def cohort(count: int, groups: int = 1) -> list[Patient]:
    return [Patient(f"p{i:03d}", True, f"g{i % groups}") for i in range(count)]


@given(cohorts, configs)
def test_properties(patients: list[Patient], config: SplitConfig) -> None:
    try:
        split = make_split(patients, "d", config, {})
    except DataError as error:
        assert "are needed" in str(error)
        return
    assert split == make_split(reversed(patients), "d", config, {})
    known = {patient.id for patient in patients if patient.labeled}
    for fold in split.folds:
        parts = [*fold.train, *fold.val, *fold.test]
        assert sorted(parts) == sorted(patient.id for patient in patients)
        assert len(fold.val) == config.val
        masked = len(fold.train) - fold.without_mask
        assert set(parts) - set(fold.train[masked:]) == known
        for count in range(1, masked + 1):
            assert fold.labeled(count) == fold.labeled(masked)[:count]
        for wrong in (0, masked + 1):
            with pytest.raises(DataError, match=f"1 to {masked} are possible"):
                fold.labeled(wrong)
    if config.scheme == "seeded":
        assert len({(fold.val, fold.test) for fold in split.folds}) == 1
        assert len(split.folds[0].test) == config.test
    else:
        tested = Counter(name for fold in split.folds for name in fold.test)
        assert set(tested) == known
        assert set(tested.values()) == {1}


def test_groups_are_spread() -> None:
    patients = cohort(40, groups=5)
    split = make_split(patients, "d", SplitConfig(val=5, test=10, folds=2), {})
    group = {patient.id: patient.group for patient in patients}
    for part in (split.folds[0].val, split.folds[0].test, *(f.train[:5] for f in split.folds)):
        counts = Counter(group[name] for name in part)
        assert len(counts) == 5
        assert len(set(counts.values())) == 1
    cv = make_split(patients, "d", SplitConfig(scheme="cv", folds=4), {})
    assert all(set(Counter(group[n] for n in f.test).values()) == {2} for f in cv.folds)


def test_seed_and_fold_matter() -> None:
    configs = [SplitConfig(test=8, seed=seed, folds=2) for seed in (0, 1)]
    first, second = (make_split(cohort(30), "d", config, {}) for config in configs)
    assert first.folds[0].test != second.folds[0].test
    assert first.folds[0].train != first.folds[1].train
    assert sorted(first.folds[0].train) == sorted(first.folds[1].train)


@pytest.mark.parametrize("dataset", ["acdc", "brats2019", "covid19"])
def test_public_splits(dataset: str) -> None:
    public = load_dataset(dataset).public_splits()
    (scheme,) = public
    lists = json.loads(public[scheme].read_text())
    patients = [Patient(name, True) for part in ("train", "val", "test") for name in lists[part]]
    extra = [Patient("not listed", True), Patient("no mask", False)]
    fold = make_split([*patients, *extra], dataset, SplitConfig(scheme=scheme), public).folds[0]
    assert fold.train == (*lists["train"], "no mask")
    assert (list(fold.val), list(fold.test)) == (lists["val"], lists["test"])
    with pytest.raises(DataError, match=f"names 1 patients .* {patients[2].id}; complete"):
        make_split(patients[:2] + patients[3:], dataset, SplitConfig(scheme=scheme), public)
    with pytest.raises(ConfigError, match="fixes its parts"):
        make_split(patients, dataset, SplitConfig(scheme=scheme, val=3), public)


def test_refusals() -> None:
    with pytest.raises(DataError, match=r"5 patients .* there, 8 are needed \(3 val, 4 test"):
        make_split(cohort(5), "d", SplitConfig(val=3, test=4), {})
    with pytest.raises(ConfigError, match="needs `test` of at least 1"):
        make_split(cohort(5), "d", SplitConfig(), {})
    with pytest.raises(ConfigError, match="needs `folds` of at least 2"):
        make_split(cohort(5), "d", SplitConfig(scheme="cv"), {})
    with pytest.raises(ConfigError, match="did you mean 'seeded'"):
        make_split(cohort(5), "d", SplitConfig(scheme="seded"), {})
    with pytest.raises(DataError, match="listed twice: p001"):
        make_split([*cohort(5), Patient("p001", True)], "d", SplitConfig(test=1), {})


def test_a_split_of_other_folds_is_refused() -> None:
    """Without validation too: half of the patients would never be tested."""
    made = make_split(cohort(12), "d", SplitConfig(scheme="cv", folds=6), {})
    refuse_other_split(made, SplitConfig(scheme="cv", folds=6))
    with pytest.raises(DataError, match="made with folds 6, not 3"):
        refuse_other_split(made, SplitConfig(scheme="cv", folds=3))


def test_file_round_trip_and_tampering(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    split = make_split(cohort(12), "d", SplitConfig(val=2, test=3, folds=2), {})
    with pytest.raises(DataError, match="no split file"):
        load_split(path)
    save_split(split, path)
    assert load_split(path) == split
    path.write_text(path.read_text().replace('"p003"', '"p099"'))
    with pytest.raises(DataError, match="changed after"):
        load_split(path)
    path.write_text('{"dataset": "d", "dataset": "d"}')  # as a merge leaves it
    with pytest.raises(
        DataError, match=r"no split file .*'dataset' stands twice.*benchmarks split"
    ):
        load_split(path)
    path.write_text("{}")
    with pytest.raises(DataError, match="no split file"):
        load_split(path)


def test_patient_in_two_parts_is_refused(tmp_path: Path) -> None:
    from datasets.preparing.split import sealed

    path = tmp_path / "split.json"
    split = sealed("d", SplitConfig(test=1), [Fold(("a", "b"), (), ("b",))])
    assert isinstance(split, Split)
    save_split(split, path)
    with pytest.raises(DataError, match="patients twice: b"):
        load_split(path)


def test_official_tests_exactly_the_sealed_part() -> None:
    patients = [Patient(p.id, True, p.group, sealed=i >= 8) for i, p in enumerate(cohort(12, 2))]
    config = SplitConfig(scheme="official", val=2, folds=3)
    split = make_split(patients, "d", config, {})
    assert {fold.test for fold in split.folds} == {("p008", "p009", "p010", "p011")}
    assert len({fold.val for fold in split.folds}) == 1 and len(split.folds[0].val) == 2
    assert {frozenset(fold.train) for fold in split.folds} == {
        frozenset(p.id for p in patients[:8]) - set(split.folds[0].val)
    }
    assert len({fold.train for fold in split.folds}) == 3
    with pytest.raises(DataError, match="no patient is of the publisher's test part"):
        make_split(cohort(5), "d", config, {})
    with pytest.raises(ConfigError, match="remove `test`"):
        make_split(patients, "d", SplitConfig(scheme="official", test=1), {})
