"""The brain phantom: layout, labels, contrasts and reproducibility."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from datasets.phantoms.brain import write_brain

Array = NDArray[np.float64]
SCANS = ("flair", "t1", "t1ce", "t2")
MATRIX = 48


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("brain")
    write_brain(out, patients=4, seed=7, matrix=MATRIX)
    return out


def _cases(root: Path) -> list[Path]:
    return sorted(root.glob("*GG/*"))


def _read(case: Path, kind: str) -> Array:
    return np.asarray(nib.load(case / f"{case.name}_{kind}.nii.gz").dataobj, dtype=np.float64)


def _bytes(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*.nii.gz")}


def test_layout_is_that_of_the_official_release(phantom: Path) -> None:
    assert len(list(phantom.glob("HGG/BraTS19_*"))) == 3
    assert len(list(phantom.glob("LGG/BraTS19_*"))) == 1
    with (phantom / "name_mapping.csv").open(encoding="utf-8") as file:
        listed = {(r["Grade"], r["BraTS_2019_subject_ID"]) for r in csv.DictReader(file)}
    assert listed == {(c.parent.name, c.name) for c in _cases(phantom)}
    for case in _cases(phantom):
        names = {p.name for p in case.iterdir()}
        assert names == {f"{case.name}_{kind}.nii.gz" for kind in (*SCANS, "seg")}


def test_same_arguments_give_the_same_bytes_and_more_patients_extend_the_set(
    phantom: Path, tmp_path: Path
) -> None:
    write_brain(tmp_path / "fewer", patients=2, seed=7, matrix=MATRIX)
    write_brain(tmp_path / "other", patients=1, seed=8, matrix=MATRIX)
    full, fewer = _bytes(phantom), _bytes(tmp_path / "fewer")
    assert len(fewer) == 10
    assert all(full[name] == data for name, data in fewer.items())
    assert all(full[name] != data for name, data in _bytes(tmp_path / "other").items())


def test_scans_share_a_brain_on_zero_background_that_holds_the_tumour(phantom: Path) -> None:
    labels: set[float] = set()
    for case in _cases(phantom):
        images = {kind: nib.load(case / f"{case.name}_{kind}.nii.gz") for kind in (*SCANS, "seg")}
        assert {str(images[k].get_data_dtype()) for k in SCANS} == {"int16"}
        assert images["seg"].get_data_dtype() == np.uint8
        brain = _read(case, "flair") != 0
        seg = _read(case, "seg")
        for kind in SCANS:
            assert images[kind].shape == (MATRIX, MATRIX, 32)
            np.testing.assert_array_equal(images[kind].affine, images["seg"].affine)
            np.testing.assert_array_equal(_read(case, kind) > 0, brain)
        assert 0.1 < brain.mean() < 0.4
        assert not (seg.astype(bool) & ~brain).any()
        assert 0.002 < (seg > 0).mean() < 0.05
        labels |= set(np.unique(seg))
    assert labels == {0, 1, 2, 4}


def test_tissue_and_tumour_contrasts_follow_the_modality(tmp_path: Path) -> None:
    write_brain(tmp_path, patients=2, seed=3, matrix=MATRIX, variation=0.3)
    for case in _cases(tmp_path):
        scan = {kind: _read(case, kind) for kind in SCANS}
        seg = _read(case, "seg")
        healthy = (scan["flair"] > 0) & (seg == 0)
        # Without a tumour T2 orders the tissues: white matter < grey matter < fluid.
        low, middle, high = np.quantile(scan["t2"][healthy], (0.4, 0.75, 0.96))
        white = healthy & (scan["t2"] < low)
        grey = healthy & (scan["t2"] > middle) & (scan["t2"] < high)
        fluid = healthy & (scan["t2"] > high)
        assert scan["t1"][white].mean() > scan["t1"][grey].mean() > scan["t1"][fluid].mean()
        assert scan["flair"][fluid].mean() < scan["flair"][white].mean()
        for kind in ("flair", "t2"):
            assert scan[kind][seg == 2].mean() > 1.15 * scan[kind][white].mean()
        ring, core = (scan["t1ce"][seg == value].mean() for value in (4, 1))
        assert ring > 1.2 * scan["t1ce"][healthy].mean() > 1.2 * core


@pytest.mark.parametrize("bad", [{"patients": 0}, {"seed": -1}, {"matrix": 16}, {"variation": 2.5}])
def test_arguments_out_of_range_are_refused(tmp_path: Path, bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="need patients"):
        write_brain(tmp_path, **{"patients": 1, "seed": 0, **bad})
