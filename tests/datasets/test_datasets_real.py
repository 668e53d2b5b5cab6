"""Adapters on subsets of the real data, where these are present."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks.common.errors import DataError
from datasets import load_dataset
from datasets.base import PrepareParams
from datasets.preparing.divide import patients_of
from datasets.preparing.prepare import prepare
from datasets.preparing.store import Prepared

DATA_ENV = "EGCL_DATA"
DATA = Path(os.environ.get(DATA_ENV, Path(__file__).parents[2].parent / "shared/data"))


def real(dataset: str, out: Path, params: PrepareParams | None = None) -> Prepared:
    raw = DATA / dataset
    if not raw.is_dir():
        pytest.skip(f"no real data at {raw}; set {DATA_ENV} to the folder that holds them")
    adapter = load_dataset(dataset)
    return prepare(adapter, raw, out, params or adapter.Params(), jobs=2)


def dice(made: Prepared, case: str) -> float:
    """Foreground Dice between the reference and the mask that went to the grid and back."""
    back = made.to_native(case, np.asarray(made.label(case))) > 0
    reference = made.reference(case) > 0
    return 2 * float((back & reference).sum()) / float(back.sum() + reference.sum())


def test_acdc(tmp_path: Path) -> None:
    """SSL4MIS names its labelled subsets by slices (methods.md A.1): 32, 68, 136, ... of 1312."""
    made = real("acdc", tmp_path / "out")
    assert len(made.cases) == 2 * len(patients_of(made)) == 160
    assert "patient090_frame04" in {case.case for case in made.cases}
    assert all(dice(made, case.case) > 0.98 for case in made.cases)
    for case in made.cases:
        image = made.image(case.case)
        assert image.shape[-2:] == (256, 256)
        assert 0 <= image.min() < image.max() <= 1

    lists = json.loads(load_dataset("acdc").public_splits()["ssl4mis"].read_text())
    slices = dict.fromkeys(lists["train"], 0)
    for record in made.of_patients(lists["train"]):
        slices[record.patient] += record.native_shape[0]
    running = list(itertools.accumulate(slices.values()))
    found = {patients: running[patients - 1] for patients in (1, 3, 7, 14, 21, 28, 35, 70)}
    assert found == {1: 32, 3: 68, 7: 136, 14: 256, 21: 396, 28: 512, 35: 664, 70: 1312}
    assert [len(lists[part]) for part in ("train", "val", "test")] == [70, 10, 20]


def test_msd_form_of_brats_cases_reads_the_same(tmp_path: Path) -> None:
    """Real cases written in the other layout, four channels in one file and labels renumbered."""
    if not (DATA / "brats2019").is_dir():
        pytest.skip(f"no real data at {DATA / 'brats2019'}; set {DATA_ENV}")
    brats, msd = load_dataset("brats2019"), load_dataset("msd_brain")
    params = brats.Params.model_validate({"task": "regions"})
    for case in brats.scan(DATA / "brats2019", params)[:2]:
        channels = [nib.nifti1.load(path) for path in case.images]
        image = np.stack([np.asarray(c.dataobj) for c in channels], axis=-1)
        assert case.label is not None
        stored = np.asarray(nib.nifti1.load(case.label).dataobj)
        mask = np.choose(stored, [0, 2, 1, 0, 3]).astype(np.uint8)
        for folder, array in (("imagesTr", image), ("labelsTr", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            file = tmp_path / folder / f"{case.case}.nii.gz"
            nib.save(nib.nifti1.Nifti1Image(array, channels[0].affine), file)
    written = brats.scan(DATA / "brats2019", params)[:2]
    for own, other in zip(msd.scan(tmp_path, params), written, strict=True):
        first, second = msd.read(own, params), brats.read(other, params)
        assert (first.box, first.spacing) == (second.box, second.spacing)
        assert np.array_equal(first.image, second.image)
        assert first.label is not None and second.label is not None
        assert np.array_equal(first.label, second.label)


def test_covid19_images(tmp_path: Path) -> None:
    made = real("covid19", tmp_path / "out")
    masked = [case for case in made.cases if case.labeled]
    assert (len(made.cases), len(masked), len(patients_of(made))) == (1674, 74, 94)
    assert not any(case.spacing_known for case in made.cases)
    assert min(dice(made, case.case) for case in masked) > 0.9


def test_brats2019(tmp_path: Path) -> None:
    params = load_dataset("brats2019").Params.model_validate({"task": "regions"})
    made = real("brats2019", tmp_path / "out", params)
    assert (len(made.cases), made.ndim, len(made.channels)) == (8, 3, 4)
    for case in made.cases:
        reference = made.reference(case.case)
        back = made.to_native(case.case, np.asarray(made.label(case.case)))
        # Nothing is resized, so only mask outside the brain's box can be lost.
        assert np.array_equal(back, reference)


def test_brats2015_labels_are_refused(tmp_path: Path) -> None:
    if not (DATA / "brats2015").is_dir():
        pytest.skip(f"no real data at {DATA / 'brats2015'}; set {DATA_ENV}")
    adapter = load_dataset("brats2019")
    with pytest.raises(DataError, match="label values 3; allowed: 0, 1, 2, 4"):
        prepare(adapter, DATA / "brats2015", tmp_path / "out", adapter.Params())
