"""Findings in raw data: geometry, masks, duplicates; and the refusal of leaking splits."""

from __future__ import annotations

import gzip
import os
import struct
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from benchmarks.common.errors import DataError
from datasets import load_dataset
from datasets.acdc import ACDC, ACDCParams
from datasets.base import RawCase, Volume
from datasets.preparing.checks import Finding, check_raw
from datasets.preparing.divide import make_split, patients_of
from datasets.preparing.parts import refuse_bare_tests, refuse_leaks
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
    return check_raw(load_dataset("acdc"), raw, ACDCParams())


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
        prepare(load_dataset("acdc"), tmp_path, tmp_path / "out", ACDCParams(size=(16, 16)))
    assert not (tmp_path / "out").exists()


def test_shifted_mask_empty_mask_and_absent_class_are_warnings(tmp_path: Path) -> None:
    def without_three(_image: Array, mask: Array) -> None:
        mask[mask == 3] = 0

    def nothing(_image: Array, mask: Array) -> None:
        mask[:] = 0

    shifted = np.diag([1.5, 1.5, 10.0, 1.0])
    shifted[0, 3] = 0.5  # a third of a voxel
    write_patient(tmp_path, 1, edit=without_three)
    write_patient(tmp_path, 2, edit=nothing)
    write_patient(tmp_path, 3, edit=without_three, affine=shifted)
    found = {(f.level, f.case): f.text for f in findings(tmp_path)}
    assert found["warning", "patient002_frame01"] == "the mask is empty"
    assert "differ by 0.33 voxels" in found["warning", "patient003_frame01"]
    assert found["warning", "all"] == "class 3 (left ventricle) occurs in no mask"


def test_headers_that_contradict_are_errors_unless_trusted(tmp_path: Path) -> None:
    far = np.diag([1.5, 1.5, 10.0, 1.0])
    far[0, 3] = 60
    write_patient(tmp_path, 1, affine=far)
    write_patient(tmp_path, 2)
    write_patient(tmp_path, 3)
    for number, sizes in ((2, (1.0, 1.0, 10.0)), (3, (1.5, 0.0, 10.0))):
        for suffix in ("", "_gt"):
            path = tmp_path / f"patient{number:03d}/patient{number:03d}_frame01{suffix}.nii.gz"
            data = bytearray(gzip.decompress(path.read_bytes()))
            data[80:92] = struct.pack("<3f", *sizes)  # pixdim[1:4]; the sform stays
            path.write_bytes(gzip.compress(bytes(data)))
    texts = {f.case: f.text for f in reversed(findings(tmp_path)) if f.level == "error"}
    assert "have origins 40.0 voxels apart" in texts["patient001_frame01"]
    assert "1 x 1 x 10 mm by pixdim, 1.5 x 1.5 x 10 mm" in texts["patient002_frame01"]
    assert "voxel size 1.5 x 0 x 10 (pixdim)" in texts["patient003_frame01"]
    assert all("--trust-header" in text for text in texts.values())
    adapter = load_dataset("acdc")
    with pytest.raises(DataError, match="origins"):
        prepare(adapter, tmp_path, tmp_path / "out", ACDCParams(size=(16, 16)))
    trusting = ACDCParams(size=(16, 16), trust_header=True)
    assert {f.level for f in check_raw(adapter, tmp_path, trusting)} == {"warning"}
    made = prepare(adapter, tmp_path, tmp_path / "out", trusting)
    assert made.case("patient002_frame01").spacing == (10.0, 1.0, 1.0)
    assert "trust_header" not in ACDCParams().model_dump(), "other data keep their digest"


@pytest.mark.parametrize("values", [(3e38, -3e38), (1e300, 0.0), (-1e300, 5.0)])
def test_values_too_large_to_normalise_are_errors(
    tmp_path: Path, values: tuple[float, float]
) -> None:
    write_patient(tmp_path, 1)
    write_patient(tmp_path, 2)
    path = tmp_path / "patient002/patient002_frame01.nii.gz"
    image = nib.nifti1.load(path)
    array = image.get_fdata()
    array[0, 0, :2] = values
    nib.save(nib.nifti1.Nifti1Image(array, image.affine), path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = [f for f in findings(tmp_path) if f.level == "error"]
    assert "patient002_frame01.nii.gz' has values too large to normalise" in found.text
    with pytest.raises(DataError, match="became NaN or infinite"):
        prepare(load_dataset("acdc"), tmp_path, tmp_path / "out", ACDCParams(size=(16, 16)))


def test_outliers_that_take_the_contrast_are_told(tmp_path: Path) -> None:
    def hot(image: Array, _mask: Array) -> None:
        image[:] = np.clip(image, 90, 110)
        image[3, 3, 1] = 32_000

    write_patient(tmp_path, 1, edit=hot)
    write_patient(tmp_path, 2)
    (found,) = findings(tmp_path)
    assert (found.level, found.case) == ("warning", "patient001_frame01")
    assert "a few outliers take the contrast" in found.text


class Careless(ACDC):
    """An adapter that returns what none may."""

    wrong: Any = None

    def read(self, case: RawCase, params: ACDCParams) -> Volume:
        return replace(super().read(case, params), **self.wrong)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"label": np.full((3, 20, 24), 200, np.uint8)}, "class 200, there are 4 classes"),
        ({"label": np.zeros((3, 20, 24), np.int64)}, "mask int64"),
        ({"label": np.zeros((3, 20, 23), np.uint8)}, r"mask uint8 \(3, 20, 23\)"),
        ({"image": np.ones((1, 3, 20, 24))}, "image float64"),
        ({"image": np.ones((2, 3, 20, 24), np.float32)}, r"image float32 \(2, 3, 20, 24\)"),
    ],
)
def test_what_an_adapter_returns_is_checked(
    tmp_path: Path, wrong: dict[str, Array], words: str
) -> None:
    write_patient(tmp_path, 1)
    adapter = Careless()
    adapter.wrong = wrong
    with pytest.raises(DataError, match=words):
        prepare(adapter, tmp_path, tmp_path / "out", ACDCParams(size=(16, 16)))


def test_a_tested_patient_with_an_image_without_mask_is_refused(tmp_path: Path) -> None:
    for number in range(1, 5):
        write_patient(tmp_path, number)
    second = tmp_path / "patient001/patient001_frame02.nii.gz"
    nib.save(nib.nifti1.load(tmp_path / "patient002/patient002_frame01.nii.gz"), second)
    assert any("no mask, but other cases of 'patient001'" in f.text for f in findings(tmp_path))
    data = prepare(load_dataset("acdc"), tmp_path, tmp_path / "out", ACDCParams(size=(16, 16)))
    for seed in range(8):
        config = SplitConfig(val=0, test=1, seed=seed)
        split = make_split(patients_of(data), "acdc", config, {})
        if "patient001" in split.folds[0].test:
            with pytest.raises(DataError, match=r"'patient001' is tested.*patient001_frame02"):
                refuse_bare_tests(data, split)
            return
        refuse_bare_tests(data, split)
    raise AssertionError("no seed tests this patient")


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
    prepared = prepare(load_dataset("acdc"), tmp_path, tmp_path / "out", ACDCParams(size=(16, 16)))
    text = (tmp_path / "out/dataset.json").read_text()
    assert "keep them in one part" in text and "nearly equal images" in text
    assert open_prepared(tmp_path / "out").digest == prepared.digest


def test_equal_images_in_two_parts_are_refused(tmp_path: Path) -> None:
    for number in range(1, 6):
        write_patient(tmp_path, number, seed=7 if number < 3 else number)
    data = prepare(load_dataset("acdc"), tmp_path, tmp_path / "out", ACDCParams(size=(16, 16)))
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
