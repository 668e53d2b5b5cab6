from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.phantoms.chest import write_chest

FOLDERS = ("COVID-19-CT-Seg_20cases", "Infection_Mask", "Lung_Mask", "Lung_and_Infection_Mask")
IMAGES, INFECTION, LUNGS, BOTH = FOLDERS
MATRIX = 48


def _content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.nii.gz")}


def _array(root: Path, folder: str, name: str) -> NDArray[Any]:
    return np.asarray(nib.nifti1.load(root / folder / name).dataobj)


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("chest")
    write_chest(root, patients=6, seed=5, matrix=MATRIX)
    return root


def _names(root: Path) -> list[str]:
    return sorted(path.name for path in (root / IMAGES).iterdir())


def test_same_arguments_give_same_bytes_and_fewer_patients_a_subset(
    chest: Path, tmp_path: Path
) -> None:
    write_chest(tmp_path, patients=3, seed=5, matrix=MATRIX)
    full, part = _content(chest), _content(tmp_path)
    assert len(full) == 24
    assert len(part) == 12
    assert all(full[name] == data for name, data in part.items())


def test_seed_and_variation_change_the_image(chest: Path, tmp_path: Path) -> None:
    name = f"{IMAGES}/coronacases_001.nii.gz"
    for folder, seed, variation in (("seed", 6, 1.0), ("variation", 5, 0.5)):
        write_chest(tmp_path / folder, patients=1, seed=seed, matrix=MATRIX, variation=variation)
        assert _content(tmp_path / folder)[name] != _content(chest)[name]


def test_masks_agree_and_infection_lies_in_the_lungs(chest: Path) -> None:
    for name in _names(chest):
        lungs, both = _array(chest, LUNGS, name), _array(chest, BOTH, name)
        infection = _array(chest, INFECTION, name)
        assert lungs.dtype == infection.dtype == both.dtype == np.uint8
        assert lungs.shape == _array(chest, IMAGES, name).shape
        assert set(np.unique(lungs)) == {0, 1, 2}
        assert set(np.unique(infection)) == {0, 1}
        assert (lungs[infection == 1] > 0).all()
        np.testing.assert_array_equal(both, np.where(infection == 1, 3, lungs))


def test_left_lung_is_on_the_left_of_the_header(chest: Path) -> None:
    for name in _names(chest):
        image = nib.nifti1.load(chest / LUNGS / name)
        assert nib.orientations.aff2axcodes(image.affine) == ("R", "A", "S")
        lungs = np.asarray(image.dataobj)
        left, right = (np.nonzero(lungs == label)[0].mean() for label in (1, 2))
        assert left < right


def test_sources_alternate_with_their_storage_rule(chest: Path) -> None:
    names = _names(chest)
    assert [name.split("_")[0] for name in names] == ["coronacases"] * 3 + ["radiopaedia"] * 3
    for name in names:
        image, lungs = _array(chest, IMAGES, name), _array(chest, LUNGS, name)
        assert image.shape[:2] == (MATRIX, MATRIX)
        assert 12 <= image.shape[2] <= 20
        healthy = float(np.median(image[(lungs > 0) & (_array(chest, INFECTION, name) == 0)]))
        if name.startswith("coronacases"):
            assert image.dtype == np.int16
            assert image.min() < -950
            assert image.max() > 150
            assert -960 < healthy < -650
        else:
            assert image.dtype == np.uint8
            assert image.max() == 255
            assert 35 < healthy < 120


def test_infection_is_denser_than_healthy_lung(chest: Path) -> None:
    for name in _names(chest):
        image = _array(chest, IMAGES, name).astype(np.float64)
        lungs, infection = _array(chest, LUNGS, name) > 0, _array(chest, INFECTION, name) == 1
        gap = np.median(image[infection]) - np.median(image[lungs & ~infection])
        assert gap > (100 if name.startswith("coronacases") else 17)


@pytest.mark.parametrize(
    "change", [{"patients": 0}, {"seed": -1}, {"matrix": 31}, {"variation": 1.6}]
)
def test_numbers_outside_their_range_are_refused(
    tmp_path: Path, change: dict[str, int | float]
) -> None:
    arguments: dict[str, int | float] = {"patients": 1, "seed": 0} | change
    with pytest.raises(ValueError, match="need patients"):
        write_chest(tmp_path, **arguments)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
