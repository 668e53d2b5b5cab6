"""Prepared data that do not go with a benchmark's split or unit are refused before training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import pipeline
from benchmarks.common.errors import ConfigError, DataError
from benchmarks.common.schema import check
from benchmarks.common.workspace import prepared_folder, split_file
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import resolve
from benchmarks.plan.shares import counted
from datasets.preparing.store import Prepared, open_prepared
from tests.engine.small import build, make_config

PHANTOM = "phantom_acdc"


@pytest.fixture
def data(tmp_path: Path) -> Prepared:
    build(tmp_path, make_config())
    return open_prepared(prepared_folder(tmp_path, "small", PHANTOM))


def put(monkeypatch: pytest.MonkeyPatch, changed: Prepared) -> None:
    for module in ("benchmarks.pipeline", "benchmarks.plan.resolve"):
        monkeypatch.setattr(f"{module}.open_prepared", lambda _: changed)


def test_patients_in_both_parts_of_the_publisher_are_refused(
    tmp_path: Path, data: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = make_config().model_dump(mode="json")
    value["data"][PHANTOM]["split"] = {"scheme": "official", "seed": 0, "val": 1}
    config = check(BenchmarkConfig, value)
    first, second, third, *others = (case.case for case in data.cases)
    patient = data.cases[0].patient
    assert data.cases[1].patient == patient != data.cases[2].patient

    def sealed(*names: str) -> Prepared:
        cases = (replace(case, sealed=case.case in names) for case in data.cases)
        return replace(data, cases=tuple(cases))

    # The raw files are of other parts.
    monkeypatch.setattr("benchmarks.pipeline.refuse_changed", lambda *_: None)
    put(monkeypatch, sealed(first, second))
    pipeline.split_stage(config, PHANTOM, tmp_path)
    split = split_file(tmp_path, "small", PHANTOM)
    split.unlink()
    put(monkeypatch, sealed(second, third, others[0]))
    words = rf"holds cases of .*: {patient} \({second} to test, {first} to train\); leave .*seeded"
    with pytest.raises(DataError, match=words):
        pipeline.split_stage(config, PHANTOM, tmp_path)
    assert not split.exists()


@pytest.mark.usefixtures("data")
def test_more_labels_than_training_patients_are_refused_by_the_split(tmp_path: Path) -> None:
    """Six patients, of whom one validates and one tests; shares are of those that are left."""
    value = make_config().model_dump(mode="json")
    value["data"][PHANTOM]["labels"] = [2, 200, "100%"]
    split = split_file(tmp_path, "small", PHANTOM)
    before = split.read_bytes()
    config = counted(check(BenchmarkConfig, value), tmp_path)
    words = r"data\.phantom_acdc\.labels of 'small' names 200, .* 4 training .*: give 1 to 4"
    with pytest.raises(ConfigError, match=words):
        pipeline.split_stage(config, PHANTOM, tmp_path)
    assert split.read_bytes() == before
    value["data"][PHANTOM] |= {"labels": [2, "100%"], "split": {"val": 1, "test": 2}}
    older = check(BenchmarkConfig, value)
    block = counted(older, tmp_path).data[PHANTOM]
    assert block.labels == (2, 4)
    pipeline.split_stage(older.model_copy(update={"data": {PHANTOM: block}}), PHANTOM, tmp_path)
    assert counted(older, tmp_path).data[PHANTOM].labels == (2, 3)


def test_images_without_spacing_need_a_unit_before_they_are_trained_on(
    tmp_path: Path, data: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = tuple(replace(case, spacing_known=False) for case in data.cases)
    put(monkeypatch, replace(data, cases=cases))
    config = make_config()
    for stage in (
        lambda: pipeline.split_stage(config, PHANTOM, tmp_path),
        lambda: resolve(config, PHANTOM, "supervised", tmp_path),
    ):
        with pytest.raises(DataError, match=r"no voxel spacing.*set data\.phantom_acdc\.unit to"):
            stage()
