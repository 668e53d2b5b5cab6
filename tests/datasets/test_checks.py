"""Findings in raw data: geometry, masks, duplicates; and the refusal of leaking splits."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from benchmarks.common.errors import DataError
from datasets import load_dataset
from datasets.base import SliceParams
from datasets.preparing.checks import Finding, check_raw, refuse_leaks
from datasets.preparing.divide import make_split, patients_of
from datasets.preparing.prepare import prepare
from datasets.preparing.split import SplitConfig
from datasets.preparing.store import open_prepared

Array = np.ndarray[Any, Any]
DATA = Path(os.environ.get("EGCL_DATA", Path(__file__).parents[2].parent / "shared/data"))


def write_patient(raw: Path, number: int, *, edit: Callable[[Array, Array], None] | None = None,
                  seed: int | None = None, affine: Array | None = None) -> None:  # fmt: skip
    """One frame with a block of each class; `edit` changes image and mask in place."""
    rng = np.random.default_rng(number if seed is None else seed)
    image = rng.normal(100, 20, (24, 20, 3)).astype(np.int16)
    mask = np.zeros(image.shape, np.uint8)
    for label in (1, 2, 3):
        mask[4 * label : 4 * label + 3, 5:9] = label
    if edit:
        edit(image, mask)
    folder = raw / f"patient{number:03d}"
    folder.mkdir(parents=True)
    own = np.diag([1.5, 1.5, 10.0, 1.0])
    stem = folder / f"patient{number:03d}_frame01"
    nib.save(nib.nifti1.Nifti1Image(image, own), f"{stem}.nii.gz")
    where = own if affine is None else affine
    nib.save(nib.nifti1.Nifti1Image(mask, where), f"{stem}_gt.nii.gz")


def findings(raw: Path) -> list[Finding]:
    return check_raw(load_dataset("acdc"), raw, SliceParams())


def test_sound_data_have_no_findings(tmp_path: Path) -> None:
    for number in range(1, 4):
        write_patient(tmp_path, number)
    assert findings(tmp_path) == []


def test_damage_and_geometry_are_errors(tmp_path: Path) -> None:
    for number in range(1, 4):
        write_patient(tmp_path, number)
    write_patient(tmp_path, 4, affine=np.diag([-1.5, 1.5, 10.0, 1.0]))
    (tmp_path / "patient002/patient002_frame01.nii.gz").write_bytes(b"")
    found = findings(tmp_path)
    assert [(f.level, f.case) for f in found[:2]] == [
        ("error", "patient002_frame01"),
        ("error", "patient004_frame01"),
    ]
    assert "differ in direction or voxel size" in found[1].text
    with pytest.raises(DataError, match="patient002_frame01"):
        prepare(load_dataset("acdc"), tmp_path, tmp_path / "out", SliceParams(size=(16, 16)))
    assert not (tmp_path / "out").exists()


def test_shifted_mask_empty_mask_and_absent_class_are_warnings(tmp_path: Path) -> None:
    def without_three(_image: Array, mask: Array) -> None:
        mask[mask == 3] = 0

    def nothing(_image: Array, mask: Array) -> None:
        mask[:] = 0

    shifted = np.diag([1.5, 1.5, 10.0, 1.0])
    shifted[0, 3] = 5
    write_patient(tmp_path, 1, edit=without_three)
    write_patient(tmp_path, 2, edit=nothing)
    write_patient(tmp_path, 3, edit=without_three, affine=shifted)
    found = {(f.level, f.case): f.text for f in findings(tmp_path)}
    assert found["warning", "patient002_frame01"] == "the mask is empty"
    assert "different origins" in found["warning", "patient003_frame01"]
    assert found["warning", "all"] == "class 3 (left ventricle) occurs in no mask"


def test_equal_and_similar_images_across_patients(tmp_path: Path) -> None:
    def smooth(image: Array, _mask: Array) -> None:
        x, y, _ = np.indices(image.shape)
        image[:] = 100 * np.sin(x / 4) * np.cos(y / 5)

    def nearly(image: Array, mask: Array) -> None:
        smooth(image, mask)
        image[0, 0] += 9

    write_patient(tmp_path, 1, seed=7)
    write_patient(tmp_path, 2, seed=7)
    write_patient(tmp_path, 3, edit=smooth)
    write_patient(tmp_path, 4, edit=nearly)
    found = findings(tmp_path)
    assert {(f.level, f.case) for f in found} == {
        ("warning", "patient001_frame01, patient002_frame01"),
        ("warning", "patient003_frame01, patient004_frame01"),
    }
    prepared = prepare(load_dataset("acdc"), tmp_path, tmp_path / "out", SliceParams(size=(16, 16)))
    text = (tmp_path / "out/dataset.json").read_text()
    assert "keep them in one part" in text and "nearly equal images" in text
    assert open_prepared(tmp_path / "out").digest == prepared.digest


def test_equal_images_in_two_parts_are_refused(tmp_path: Path) -> None:
    for number in range(1, 6):
        write_patient(tmp_path, number, seed=7 if number < 3 else number)
    data = prepare(load_dataset("acdc"), tmp_path, tmp_path / "out", SliceParams(size=(16, 16)))
    config = SplitConfig(val=0, test=2)
    outcomes = set()
    for seed in range(8):
        chosen = config.model_copy(update={"seed": seed})
        split = make_split(patients_of(data), "acdc", chosen, {})
        together = len({p in split.folds[0].test for p in ("patient001", "patient002")}) == 1
        outcomes.add(together)
        if together:
            refuse_leaks(data, split)
            continue
        with pytest.raises(DataError, match=r"patient001 \(\w+\), patient002 \(\w+\)"):
            refuse_leaks(data, split)
    assert outcomes == {True, False}
    alone = replace(data, cases=data.cases[2:])
    refuse_leaks(alone, make_split(patients_of(alone), "acdc", config, {}))


@pytest.mark.skipif(not (DATA / "covid19").is_dir(), reason="no real data here")
def test_known_leak_of_the_covid_slices_is_found() -> None:
    """Slices of one patient on both sides of the public partition, and two near duplicates."""
    adapter = load_dataset("covid19")
    found = check_raw(adapter, DATA / "covid19", adapter.Params(), jobs=2)
    pairs = {f.case for f in found}
    assert {"slice_010, slice_043", "slice_005, slice_093", "slice_017, slice_091"} <= pairs
    suspects = {4, 5, 10, 17, 43, 46, 91, 93}
    named = {int(name.split("_")[1]) for pair in pairs for name in pair.split(", ")}
    assert named == suspects
