"""Adapters: what they read, and what they say about data they cannot use."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from benchmarks.common.errors import ConfigError, DataError
from benchmarks.common.schema import check
from datasets import dataset_ids, load_dataset
from datasets.brats2019 import BraTSParams
from datasets.phantoms.fields import save_nifti
from datasets.preparing.prepare import prepare
from datasets.reading.hdf5 import read_hdf5
from datasets.reading.images import read_nifti

SPACING = (8.0, 1.5, 1.25)
RNG = np.random.default_rng(0)


def acdc_folder(raw: Path, frames: tuple[int, ...] = (1, 9)) -> Path:
    folder = raw / "patient007"
    for frame in frames:
        stem = f"patient007_frame{frame:02d}"
        image = RNG.integers(5, 900, (4, 30, 26)).astype(np.int16)
        save_nifti(folder / f"{stem}.nii.gz", image, SPACING)
        label = RNG.integers(0, 4, image.shape).astype(np.uint8)
        save_nifti(folder / f"{stem}_gt.nii.gz", label, SPACING)
    return folder


def brats_folder(folder: Path, label: NDArray[np.uint8] | None = None) -> None:
    brain = np.zeros((10, 12, 14), dtype=np.int16)
    brain[2:9, 3:11, 1:12] = RNG.integers(1, 500, (7, 8, 11))
    for kind in ("flair", "t1", "t1ce", "t2"):
        save_nifti(folder / f"{folder.name}_{kind}.nii.gz", brain, (1.0, 1.0, 1.0))
    if label is None:
        label = RNG.choice(np.array([0, 1, 2, 4], dtype=np.uint8), brain.shape)
    save_nifti(folder / f"{folder.name}_seg.nii.gz", label, (1.0, 1.0, 1.0))


@pytest.mark.parametrize("dataset", dataset_ids())
def test_adapter_contract(dataset: str, tmp_path: Path) -> None:
    adapter = load_dataset(dataset)
    info = adapter.info(adapter.Params())
    assert adapter.id == dataset
    assert adapter.synthetic == dataset.startswith("phantom_")
    assert adapter.synthetic == adapter.title.endswith("(synthetic phantom)")
    assert info.classes[0] == "background"
    assert info.ndim == (3 if "bra" in dataset else 2)
    command = "fetch" if adapter.synthetic else "prepare"
    with pytest.raises(DataError, match=rf"no such folder(.|\n)*benchmarks {command} {dataset}"):
        adapter.scan(tmp_path / "none", adapter.Params())
    with pytest.raises(DataError, match="expected"):
        adapter.scan(tmp_path, adapter.Params())


def test_unknown_names() -> None:
    with pytest.raises(ConfigError, match="did you mean 'acdc'"):
        load_dataset("acdcc")
    with pytest.raises(ConfigError, match="shrink"):
        check(load_dataset("acdc").Params, {"shrink": 2})
    with pytest.raises(ConfigError, match="at least 16"):
        check(load_dataset("acdc").Params, {"size": [8, 64]})


def test_acdc_reads_both_frames_from_the_official_layout(tmp_path: Path) -> None:
    folder = acdc_folder(tmp_path / "training", frames=(4, 11))
    (folder / "Info.cfg").write_text("ED: 4\nES: 11\nGroup: HCM\n")
    (folder / "patient007_4d.nii.gz").write_bytes(b"not read")
    (folder / "patient007_frame11_gt.nii.gz").unlink()
    adapter = load_dataset("acdc")
    cases = adapter.scan(tmp_path, adapter.Params())
    assert [case.case for case in cases] == ["patient007_frame04", "patient007_frame11"]
    assert {(case.patient, case.group) for case in cases} == {("patient007", "HCM")}
    labeled, bare = (adapter.read(case, adapter.Params()) for case in cases)
    assert labeled.image.shape == (1, 4, 30, 26)
    assert labeled.spacing == pytest.approx(SPACING)
    assert (labeled.image.min(), labeled.image.max()) == (0, 1)
    assert bare.label is None


SHAPE = (4, 30, 26)
FAULTS: dict[str, tuple[bool, NDArray[np.generic], str]] = {
    "label": (True, np.full(SHAPE, 7, np.uint8), "label values 7; allowed: 0, 1, 2, 3"),
    "fraction": (True, np.full(SHAPE, 0.5, np.float32), r"label values 0\.5"),
    "shape": (True, np.zeros((4, 30, 25), np.uint8), r"\(4, 30, 26\) but .* has \(4, 30, 25\)"),
    "nan": (False, np.full(SHAPE, np.nan, np.float32), "3120 NaN or infinite values of 3120"),
    "constant": (False, np.full(SHAPE, 3, np.int16), "one value 3"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("jobs", [1, 2])
def test_bad_values_stop_preparation_and_leave_nothing(
    tmp_path: Path, fault: str, jobs: int
) -> None:
    folder = acdc_folder(tmp_path / "raw")
    mask, array, message = FAULTS[fault]
    path = folder / f"patient007_frame09{'_gt' if mask else ''}.nii.gz"
    save_nifti(path, array, SPACING)
    adapter = load_dataset("acdc")
    with pytest.raises(DataError, match=message) as caught:
        prepare(adapter, tmp_path / "raw", tmp_path / "out", adapter.Params(), jobs=jobs)
    assert path.name in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


@pytest.mark.parametrize("kept", [0, 20, 0.5, 0.98])
def test_truncated_file(tmp_path: Path, kept: float) -> None:
    path = acdc_folder(tmp_path) / "patient007_frame01.nii.gz"
    data = path.read_bytes()
    path.write_bytes(data[: int(kept if kept > 1 else kept * len(data))])
    adapter = load_dataset("acdc")
    with pytest.raises(DataError, match=r"frame01\.nii\.gz' is no readable NIfTI"):
        adapter.read(adapter.scan(tmp_path, adapter.Params())[0], adapter.Params())


@settings(max_examples=60)
@given(st.dictionaries(st.integers(0, 351), st.integers(0, 255), min_size=1, max_size=12))
def test_damaged_header_is_a_data_error_or_read(changes: dict[int, int]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "image.nii"
        save_nifti(path, np.ones((3, 4, 5), np.int16), SPACING)
        data = bytearray(path.read_bytes())
        for position, value in changes.items():
            data[position] = value
        path.write_bytes(data)
        try:
            array, spacing = read_nifti(path)
        except DataError:
            return
        assert array.ndim == len(spacing) == 3


def test_mask_without_image(tmp_path: Path) -> None:
    (acdc_folder(tmp_path) / "patient007_frame09.nii.gz").unlink()
    adapter = load_dataset("acdc")
    with pytest.raises(DataError, match="no image beside it"):
        adapter.scan(tmp_path, adapter.Params())


def test_covid_units_are_told_by_values(tmp_path: Path) -> None:
    hounsfield = np.array([-3000, -1250, -500, 250, 2000, 0], np.int16).reshape(1, 2, 3)
    grey = np.array([10, 20, 30, 40, 50, 60], np.uint8).reshape(1, 2, 3)
    for name, array in (("coronacases_001", hounsfield), ("radiopaedia_1", grey)):
        save_nifti(tmp_path / "COVID-19-CT-Seg_20cases" / f"{name}.nii.gz", array, SPACING)
    save_nifti(tmp_path / "Infection_Mask/radiopaedia_1.nii.gz", grey // 60, SPACING)
    adapter = load_dataset("covid19")
    cases = adapter.scan(tmp_path, adapter.Params())
    assert [(c.source, c.group) for c in cases] == [(s, s) for s in ("coronacases", "radiopaedia")]
    first, second = (adapter.read(case, adapter.Params()) for case in cases)
    expected = [0, 0, 0.5, 1, 1, 1250 / 1500]
    assert first.label is None
    assert first.image.ravel() == pytest.approx(expected, abs=1e-6)
    assert second.image.ravel() == pytest.approx(np.linspace(0, 1, 6))
    assert second.label is not None
    assert second.label.ravel().tolist() == [0, 0, 0, 0, 0, 1]


def test_covid_stack_is_a_hundred_patients_not_a_volume(tmp_path: Path) -> None:
    image = RNG.integers(-1400, 400, (3, 20, 24)).astype(np.float32)
    mask = np.zeros(image.shape, dtype=np.float32)
    mask[1, 0, :4] = (0, 1, 2, 3)
    adapter = load_dataset("covid19")
    save_nifti(tmp_path / "tr_im.nii.gz", image, (1.0, 1.0, 1.0))
    with pytest.raises(DataError, match=r"has no mask '.*tr_mask\.nii\.gz'"):
        adapter.scan(tmp_path, adapter.Params())
    save_nifti(tmp_path / "tr_mask.nii.gz", mask, (1.0, 1.0, 1.0))
    cases = adapter.scan(tmp_path, adapter.Params())
    assert [case.patient for case in cases] == ["slice_000", "slice_001", "slice_002"]
    volume = adapter.read(cases[1], adapter.Params())
    clipped = image[1].clip(-1250, 250)
    expected = (clipped - clipped.min()) / (clipped.max() - clipped.min())
    assert volume.image[0, 0] == pytest.approx(expected, abs=1e-6)
    assert not volume.spacing_known
    assert volume.label is not None
    assert volume.label[0, 0, :4].tolist() == [0, 1, 1, 0]
    assert volume.label.sum() == 2


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_msd_brain_reads_its_4d_files(tmp_path: Path, depth: int) -> None:
    brain = np.zeros((10, 12, 14, 4), dtype=np.int16)
    brain[2:9, 3:11, 1:12] = RNG.integers(1, 500, (7, 8, 11, 4))
    mask = np.zeros(brain.shape[:3], dtype=np.uint8)
    mask[4, 4, 4:7] = (1, 2, 3)
    root = tmp_path.joinpath(*["Task01_BrainTumour"] * depth)
    for folder, array in (("imagesTr", brain), ("labelsTr", mask)):
        (root / folder).mkdir(parents=True)
        nib.save(nib.nifti1.Nifti1Image(array, np.eye(4)), root / folder / "BRATS_001.nii.gz")
        (root / folder / "._BRATS_001.nii.gz").write_bytes(b"left by macOS")
    adapter = load_dataset("msd_brain")
    params = adapter.Params.model_validate({"task": "regions", "modalities": ["t2", "flair"]})
    (case,) = adapter.scan(tmp_path, params)
    volume = adapter.read(case, params)
    assert volume.image.shape == (2, 14, 12, 10)
    assert volume.box == ((1, 12), (3, 11), (2, 9))
    assert volume.label is not None
    assert volume.label[4:7, 4, 4].tolist() == [2, 1, 3]
    for place, channel in ((0, 3), (1, 0)):  # T2 is stored last
        pair = volume.image[place, 1:12, 5, 4], brain[4, 5, 1:12, channel]
        assert np.corrcoef(*pair)[0, 1] > 0.99
    nib.save(nib.nifti1.Nifti1Image(brain[..., :3], np.eye(4)), case.images[0])
    with pytest.raises(DataError, match=r"shape \(10, 12, 14, 3\); allowed: \(x, y, z, 4\)"):
        adapter.read(case, params)


def test_covid_images(tmp_path: Path) -> None:
    doctor = tmp_path / "TrainingSet/LungInfection-Train/Doctor-label"
    pseudo = tmp_path / "TrainingSet/LungInfection-Train/Pseudo-label/Imgs"
    for folder in (doctor / "Imgs", doctor / "GT", pseudo):
        folder.mkdir(parents=True)
    image = Image.fromarray(RNG.integers(0, 255, (20, 24)).astype(np.uint8))
    image.save(doctor / "Imgs/3.jpg")
    image.save(pseudo / "Data-1_coronacases_org_001_15.jpg")
    adapter = load_dataset("covid19")
    with pytest.raises(DataError, match=r"3\.jpg' has no mask"):
        adapter.scan(tmp_path, adapter.Params())
    image.point(lambda value: 255 * (value > 99)).save(doctor / "GT/3.png")
    bare, labeled = adapter.scan(tmp_path, adapter.Params())
    assert (bare.patient, bare.label) == ("Data-1_coronacases_org_001", None)
    volume = adapter.read(labeled, adapter.Params())
    assert volume.image.shape == (1, 1, 20, 24)
    assert volume.spacing == (1, 1, 1)
    assert not volume.spacing_known
    assert volume.label is not None
    assert set(np.unique(volume.label)) == {0, 1}


def test_brats_crops_and_normalises_the_brain(tmp_path: Path) -> None:
    brats_folder(tmp_path / "HGG/BraTS19_A_1")
    brats_folder(tmp_path / "LGG/BraTS19_B_1")
    adapter, params = load_dataset("brats2019"), BraTSParams(task="regions")
    cases = adapter.scan(tmp_path, params)
    assert [(case.case, case.group) for case in cases] == [
        ("BraTS19_A_1", "HGG"),
        ("BraTS19_B_1", "LGG"),
    ]
    volume = adapter.read(cases[0], params)
    assert volume.image.shape[0] == len(adapter.info(params).channels) == 4
    assert volume.box == ((2, 9), (3, 11), (1, 12))
    brain = volume.image[0][2:9, 3:11, 1:12]
    assert (brain.mean(), brain.std()) == pytest.approx((0, 1), abs=1e-5)
    assert volume.label is not None
    assert set(np.unique(volume.label)) == {0, 1, 2, 3}


def test_brats_missing_modality_and_foreign_label(tmp_path: Path) -> None:
    folder = tmp_path / "BraTS2021_1"
    brats_folder(folder, np.full((10, 12, 14), 3, np.uint8))
    (folder / "BraTS2021_1_t2.nii.gz").unlink()
    adapter = load_dataset("brats2019")
    with pytest.raises(DataError, match=r"no file for t2 \(it has flair, t1, t1ce\)"):
        adapter.scan(tmp_path, BraTSParams(task="regions"))
    with pytest.raises(DataError, match="label values 3; allowed: 0, 1, 2, 4"):
        adapter.read(adapter.scan(tmp_path, BraTSParams())[0], BraTSParams())


@pytest.mark.parametrize("dataset", [name for name in dataset_ids() if "phantom" in name])
def test_phantom_is_read_by_the_real_adapter(tmp_path: Path, dataset: str) -> None:
    adapter = load_dataset(dataset)
    params = adapter.FetchParams.model_validate({"patients": 2, "seed": 3, "matrix": 32})
    digests = []
    for _ in range(2):
        adapter.fetch(tmp_path / "raw", params)
        made = prepare(adapter, tmp_path / "raw", tmp_path / "out", adapter.Params())
        digests.append(made.digest)
    assert digests[0] == digests[1]
    assert len({case.patient for case in made.cases}) == 2
    assert all(case.labeled for case in made.cases)


def test_phantom_leaves_foreign_files_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    adapter = load_dataset("phantom_acdc")
    with pytest.raises(DataError, match="left alone"):
        adapter.fetch(tmp_path, adapter.FetchParams())
    with pytest.raises(DataError, match="left alone"):
        acdc_folder(tmp_path / "raw")
        real = load_dataset("acdc")
        prepare(real, tmp_path / "raw", tmp_path, real.Params())
    assert (tmp_path / "mine.txt").exists()


def hdf5_volume(path: Path, labels: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A volume as SSL4MIS stores it."""
    image = RNG.random((4, 20, 22)).astype(np.float32)
    label = RNG.integers(0, labels, image.shape).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as stored:
        stored["image"], stored["label"] = image, label
    return image, label


def test_hdf5_volumes_of_ssl4mis_are_read_without_voxel_size(tmp_path: Path) -> None:
    image, label = hdf5_volume(tmp_path / "data/patient003_frame02.h5", 4)
    adapter = load_dataset("acdc")
    (case,) = adapter.scan(tmp_path, adapter.Params())
    assert (case.case, case.patient) == ("patient003_frame02", "patient003")
    volume = adapter.read(case, adapter.Params())
    assert not volume.spacing_known and volume.label is not None
    np.testing.assert_array_equal(volume.label, label)
    np.testing.assert_allclose(volume.image[0] * np.ptp(image) + image.min(), image, atol=1e-6)
    brats = load_dataset("brats2019")
    image, label = hdf5_volume(tmp_path / "brats/data/BraTS19_CBICA_AAB_1.h5", 2)
    (case,) = brats.scan(tmp_path / "brats", brats.Params())
    volume = brats.read(case, brats.Params())
    np.testing.assert_array_equal(volume.image[0], image)
    assert not volume.spacing_known
    with pytest.raises(DataError, match="FLAIR and the whole tumour only"):
        brats.scan(tmp_path / "brats", BraTSParams(task="regions"))
    case.images[0].write_bytes(case.images[0].read_bytes()[:600])
    with pytest.raises(DataError, match="no readable HDF5 file"):
        brats.read(case, brats.Params())
    with h5py.File(tmp_path / "slice.h5", "w") as stored:
        stored["image"] = image[0]
    with pytest.raises(
        DataError, match=r"no array 'image' of three axes; it holds image \(20, 22\)"
    ):
        read_hdf5(tmp_path / "slice.h5", "image")


def test_the_official_test_part_of_acdc_is_read_only_where_asked_for(tmp_path: Path) -> None:
    acdc_folder(tmp_path / "database/training")
    adapter = load_dataset("acdc")
    asked = check(adapter.Params, {"testing": True})
    with pytest.raises(DataError, match="patients 101 to 150; none is there"):
        adapter.scan(tmp_path, asked)
    test = acdc_folder(tmp_path / "database/testing")
    sealed = test.with_name("patient120")
    test.rename(sealed)
    for path in sorted(sealed.iterdir()):
        path.rename(path.with_name(path.name.replace("patient007", "patient120")))
    assert {c.patient for c in adapter.scan(tmp_path, adapter.Params())} == {"patient007"}
    parts = {c.patient: c.sealed for c in adapter.scan(tmp_path, asked)}
    assert parts == {"patient007": False, "patient120": True}


def test_patients_of_equal_images_count_as_one_where_asked_for(tmp_path: Path) -> None:
    for name in ("patient074", "patient075", "patient076"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}_frame01.nii.gz").touch()
    adapter = load_dataset("acdc")
    counted = [c.patient for c in adapter.scan(tmp_path, check(adapter.Params, {"together": True}))]
    assert counted == ["patient074", "patient075", "patient074"]
    assert len({c.patient for c in adapter.scan(tmp_path, adapter.Params())}) == 3


def test_slices_of_one_known_patient_count_as_one_where_asked_for(tmp_path: Path) -> None:
    for part, numbers in (("Doctor-label", (4, 10, 12)), ("test", (91,))):
        folder = tmp_path / "TrainingSet/LungInfection-Train/Doctor-label"
        if part == "test":
            folder = tmp_path / "TestingSet/LungInfection-Test"
        for number in numbers:
            for kind, suffix in (("Imgs", "jpg"), ("GT", "png")):
                path = folder / kind / f"{number}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(RNG.integers(0, 255, (20, 20)).astype(np.uint8)).save(path)
    adapter = load_dataset("covid19")
    asked = adapter.scan(tmp_path, check(adapter.Params, {"together": True}))
    assert {c.case: c.patient for c in asked} == {
        "slice_004": "slice_004",
        "slice_010": "slice_010",
        "slice_012": "slice_012",
        "slice_091": "slice_004",
    }
    alone = adapter.scan(tmp_path, adapter.Params())
    assert [c.patient for c in alone] == [c.case for c in alone]
    assert [c.case for c in alone if c.sealed] == ["slice_091"]
