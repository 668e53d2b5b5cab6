"""File names and labels of BraTS 2023 beside those of the years before."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.common.errors import DataError
from datasets import load_dataset
from datasets.brats2019 import BraTSParams


def write(folder: Path, names: dict[str, str], enhancing: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for suffix in names.values():
        array = rng.integers(1, 500, (8, 8, 8)).astype(np.int16)
        if suffix.endswith("seg"):
            array = np.zeros((8, 8, 8), np.int16)
            array[1:3], array[3:5], array[5:7] = 1, 2, enhancing
        image = nib.nifti1.Nifti1Image(array, np.eye(4))
        nib.save(image, folder / f"{folder.name}{suffix}.nii.gz")


OLD = {k: f"_{k}" for k in ("flair", "t1", "t1ce", "t2", "seg")}
NEW = {"flair": "-t2f", "t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "seg": "-seg"}


@pytest.mark.parametrize(
    ("case", "patient", "names", "enhancing"),
    [
        ("BraTS19_CBICA_AAB_1", "BraTS19_CBICA_AAB_1", OLD, 4),
        ("BraTS20_Training_001", "BraTS20_Training_001", OLD, 4),
        ("BraTS-GLI-00005-001", "BraTS-GLI-00005", NEW, 3),
    ],
)
def test_case_of_every_year(
    tmp_path: Path, case: str, patient: str, names: dict[str, str], enhancing: int
) -> None:
    write(tmp_path / case, names, enhancing)
    adapter, params = load_dataset("brats2019"), BraTSParams(task="regions")
    [raw] = adapter.scan(tmp_path, params)
    assert (raw.case, raw.patient, len(raw.images)) == (case, patient, 4)
    volume = adapter.read(raw, params)
    assert volume.label is not None
    assert [int((volume.label == k).sum()) for k in (1, 2, 3)] == [2 * 64] * 3
    whole = adapter.read(adapter.scan(tmp_path, BraTSParams())[0], BraTSParams())
    assert whole.label is not None and int(whole.label.sum()) == 6 * 64


def test_label_of_another_year_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "BraTS19_X_1", OLD, enhancing=3)
    adapter, params = load_dataset("brats2019"), BraTSParams()
    with pytest.raises(DataError, match="holds label values 3"):
        adapter.read(adapter.scan(tmp_path, params)[0], params)


def test_visits_of_one_patient_stay_together(tmp_path: Path) -> None:
    for visit in ("000", "001"):
        write(tmp_path / f"BraTS-GLI-00005-{visit}", NEW, enhancing=3)
    cases = load_dataset("brats2019").scan(tmp_path, BraTSParams())
    assert len(cases) == 2 and {case.patient for case in cases} == {"BraTS-GLI-00005"}
