"""The synthetic cardiac patients: layout, determinism and anatomy."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from datasets.phantoms.cardiac import write_cardiac

_PATIENTS = 5
_MATRIX = 64


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("cardiac")
    write_cardiac(out, patients=_PATIENTS, seed=3, matrix=_MATRIX)
    return out


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _info(folder: Path) -> dict[str, str]:
    lines = (folder / "Info.cfg").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def _masks(folder: Path) -> list[NDArray[np.uint8]]:
    """Masks of end diastole and end systole, found through `Info.cfg`."""
    info = _info(folder)
    paths = [folder / f"{folder.name}_frame{int(info[key]):02d}_gt.nii.gz" for key in ("ED", "ES")]
    return [np.asarray(nib.nifti1.load(path).dataobj) for path in paths]


def test_patients_depend_on_seed_and_index_only(root: Path, tmp_path: Path) -> None:
    write_cardiac(tmp_path / "few", patients=2, seed=3, matrix=_MATRIX)
    few, many = _contents(tmp_path / "few"), _contents(root)
    assert len(few) == 10
    assert few == {name: many[name] for name in few}
    write_cardiac(tmp_path / "other", patients=1, seed=4, matrix=_MATRIX)
    other = _contents(tmp_path / "other")
    assert all(few.get(name) != data for name, data in other.items() if name.endswith(".gz"))


def test_layout_is_that_of_acdc(root: Path) -> None:
    folders = sorted(root.iterdir())
    assert [folder.name for folder in folders] == [f"patient{k:03d}" for k in range(1, 6)]
    assert {_info(folder)["Group"] for folder in folders} == {"NOR", "DCM", "HCM", "MINF", "RV"}
    for folder in folders:
        info = _info(folder)
        assert list(info) == ["ED", "ES", "Group", "Height", "NbFrame", "Weight"]
        assert 1 == int(info["ED"]) < int(info["ES"]) < int(info["NbFrame"])
        for key in ("ED", "ES"):
            stem = folder / f"{folder.name}_frame{int(info[key]):02d}"
            image = nib.nifti1.load(f"{stem}.nii.gz")
            mask = nib.nifti1.load(f"{stem}_gt.nii.gz")
            assert image.get_data_dtype() == np.int16
            assert mask.get_data_dtype() == np.uint8
            assert image.shape == mask.shape
            assert max(image.shape[:2]) == _MATRIX
            assert 6 <= image.shape[2] <= 10
            across, _, gap = image.header.get_zooms()
            assert 250 <= across * _MATRIX <= 330
            assert 5 <= gap <= 10
            assert np.ptp(np.asarray(image.dataobj)) > 50


def test_every_volume_has_the_four_labels(root: Path) -> None:
    for folder in root.iterdir():
        for mask in _masks(folder):
            assert set(np.unique(mask)) == {0, 1, 2, 3}
            assert 0.005 < np.mean(mask > 0) < 0.2


def test_systole_empties_the_cavities_and_thickens_the_wall(root: Path) -> None:
    for folder in root.iterdir():
        diastole, systole = _masks(folder)
        assert np.sum(systole == 3) < 0.95 * np.sum(diastole == 3)
        assert np.sum(systole == 1) < 0.95 * np.sum(diastole == 1)
        walls = [np.sum(mask == 2) / np.sum(mask >= 2) for mask in (diastole, systole)]
        assert walls[1] > walls[0]


def test_wall_encloses_the_left_ventricle(root: Path) -> None:
    cross = ndimage.generate_binary_structure(2, 1)
    for folder in root.iterdir():
        for mask in _masks(folder):
            leaks = edge = 0
            for plane in np.moveaxis(mask, 2, 0):
                around = ndimage.binary_dilation(plane == 3, cross) & (plane != 3)
                edge += int(around.sum())
                leaks += int((around & (plane != 2)).sum())
            assert edge > 0
            assert leaks <= 0.1 * edge


@pytest.mark.parametrize(
    "bad", [{"patients": 0}, {"seed": -1}, {"matrix": 16}, {"variation": 2.0}, {"variation": -0.1}]
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, bad: dict[str, float]) -> None:
    arguments = {"patients": 1, "seed": 0, "matrix": 64, "variation": 1.0} | bad
    with pytest.raises(ValueError, match="need patients"):
        write_cardiac(tmp_path, **arguments)  # type: ignore[arg-type]
