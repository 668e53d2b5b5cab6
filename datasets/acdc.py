"""ACDC 2017: short-axis cine MRI of the heart, end diastole and end systole of each patient.

Preprocessing as SSL4MIS: min-max to [0, 1] over the whole volume, slices as 2D samples. Read are
the official archive (its test part, patients 101 to 150, where it is asked for) and the HDF5
volumes that SSL4MIS distributes, which have lost their voxel size: distances are in voxels there.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from benchmarks.common.errors import DataError
from datasets.base import (
    Access,
    Adapter,
    DatasetInfo,
    RawCase,
    SliceParams,
    Volume,
    first_alike,
)
from datasets.reading.hdf5 import read_hdf5
from datasets.reading.images import check_same_shape, map_labels, read_nifti, rescale

_FRAME = re.compile(r"^(patient\d+_frame\d+)(_gt)?\.nii(\.gz)?$")
_VOLUME = re.compile(r"^(patient\d+)_frame\d+\.h5$")
# Of the patient folders: given by hand, or inside the official archive.
_PLACES = ("", "training/", "database/training/", "ACDC/database/training/", "*/*/*/training/")
# Both frames of these two have equal images but other masks, as `datasets check acdc` finds.
_ALIKE = (("patient074", "patient076"),)
_TESTING = "testing/"  # beside `training/`
_LAST_TRAINING = 100  # the official training part is patient001 to patient100
# Of SSL4MIS's volumes: given by hand, or inside a checkout of it.
_HDF5_PLACES = ("", "data/", "ACDC/data/", "data/ACDC/data/")
_CLASSES = ("background", "right ventricle", "myocardium", "left ventricle")
_LABELS = {k: k for k in range(len(_CLASSES))}


class ACDCParams(SliceParams):
    """Which part of the official archive is read."""

    testing: bool = Field(
        False, description="read patients 101 to 150 too, for `split: {scheme: official}`"
    )
    # Left out where it is not set, so that it does not change the digest of other data.
    together: bool = Field(
        False,
        exclude_if=lambda given: not given,
        description="patients whose images are equal are one; cross-validation needs it",
    )


class ACDC(Adapter[ACDCParams]):
    """100 training and 50 test patients in five groups; the 4D cine files are not read."""

    id = "acdc"
    title = "ACDC"
    modality = "cardiac cine MRI"
    citation = (
        "O. Bernard, A. Lalande, C. Zotti, F. Cervenansky, et al., Deep Learning Techniques for "
        "Automatic MRI Cardiac Multi-structures Segmentation and Diagnosis: Is the Problem "
        "Solved?, IEEE TMI 37(11):2514-2525, 2018, doi:10.1109/TMI.2018.2837502"
    )
    licence = "CC BY-NC-SA 4.0"
    intensity = "min-max to [0, 1] over the whole volume"
    access: ClassVar[Access] = "open"
    # Our choice: one to two pixels in-plane (0.7 to 1.9 mm), below the distance of the slices.
    tolerance = 2.0
    Params = ACDCParams
    tree = """
DIR/[training/]patient001/patient001_frame01.nii.gz      image
DIR/[training/]patient001/patient001_frame01_gt.nii.gz   mask: 0, 1 RV, 2 myocardium, 3 LV
DIR/[training/]patient001/Info.cfg                       optional; Group is used
DIR/testing/patient101/...                               with `prepare: {testing: true}`
or the volumes of SSL4MIS, without voxel size
DIR/[data/]patient001_frame01.h5                         arrays image and label
"""
    steps = "https://humanheart-project.creatis.insa-lyon.fr/database/ (ACDC), unpack the archive"

    def info(self, params: ACDCParams) -> DatasetInfo:
        """One channel, four classes."""
        del params
        return DatasetInfo(ndim=2, channels=("mri",), classes=_CLASSES)

    def scan(self, raw: Path, params: ACDCParams) -> list[RawCase]:
        """List both frames of every patient.

        Raises:
            DataError: no patient folder, a patient without frames, a mask without its image, or no
                test part where it is asked for.
        """
        cases = self._folders(raw) or self._volumes(raw)
        if not cases:
            found = "it holds no patient folders" if raw.is_dir() else "there is no such folder"
            raise self.missing(raw, found)
        if params.together:
            cases = [replace(case, patient=first_alike(case.patient, _ALIKE)) for case in cases]
        if not params.testing:
            return [case for case in cases if not case.sealed]
        if not any(case.sealed for case in cases):
            raise self.missing(raw, "`testing: true` asks for patients 101 to 150; none is there")
        return cases

    def _folders(self, raw: Path) -> list[RawCase]:
        """Cases of the official layout; the test part stands beside the training part."""
        place = next((place for place in _PLACES if _patients(raw, place)), None)
        if place is None:
            return []
        folders = _patients(raw, place) + _patients(raw, place.removesuffix("training/") + _TESTING)
        return [case for folder in folders for case in self._patient(raw, folder)]

    def _volumes(self, raw: Path) -> list[RawCase]:
        """Cases of SSL4MIS's layout."""
        found = (sorted((raw / place).glob("patient*_frame*.h5")) for place in _HDF5_PLACES)
        paths = next(filter(None, found), [])
        named = [(path, match[1]) for path in paths if (match := _VOLUME.match(path.name))]
        return [
            RawCase(path.stem, patient, (path,), path, sealed=_sealed(patient))
            for path, patient in named
        ]

    def _patient(self, raw: Path, folder: Path) -> list[RawCase]:
        images: dict[str, Path] = {}
        masks: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            match = _FRAME.match(path.name)
            if match:
                (masks if match[2] else images)[match[1]] = path
        orphans = sorted(masks.keys() - images.keys())
        if orphans:
            raise self.missing(raw, f"'{masks[orphans[0]]}' has no image beside it")
        if not images:
            raise self.missing(raw, f"'{folder}' holds no {folder.name}_frameNN.nii.gz")
        group = _group(folder / "Info.cfg")
        return [
            RawCase(
                case, folder.name, (image,), masks.get(case), group, sealed=_sealed(folder.name)
            )
            for case, image in sorted(images.items())
        ]

    def read(self, case: RawCase, params: ACDCParams) -> Volume:
        """Read one frame.

        Raises:
            DataError: a file is damaged, the shapes differ, or a label is not 0 to 3.
        """
        del params
        path = case.images[0]
        if path.suffix == ".h5":
            stored, known = read_hdf5(path, "image"), read_hdf5(path, "label")
            check_same_shape(path, path, (stored.shape, known.shape))
            image, classes = rescale(stored, path)[None], map_labels(known, _LABELS, path)
            return Volume(image, classes, (1.0, 1.0, 1.0), spacing_known=False)
        array, spacing = read_nifti(path)
        label = None
        if case.label is not None:
            mask, _ = read_nifti(case.label)
            check_same_shape(path, case.label, (array.shape, mask.shape))
            label = map_labels(mask, _LABELS, case.label)
        return Volume(rescale(array, path)[None], label, spacing)


def _patients(raw: Path, place: str) -> list[Path]:
    """Patient folders at a place, sorted."""
    return sorted(p for p in raw.glob(f"{place}patient*") if p.is_dir())


def _sealed(patient: str) -> bool:
    """Whether a patient is of the official test part."""
    return int(patient.removeprefix("patient")) > _LAST_TRAINING


def _group(info: Path) -> str:
    """Diagnosis (NOR, DCM, HCM, MINF, RV) from Info.cfg, or ""."""
    if not info.is_file():
        return ""
    try:
        lines = info.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"'{info}' is no text file; copy it again or remove it") from None
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for key, _, value in pairs if key.strip() == "Group"), "")
