"""BraTS 2019: multi-parametric MRI of gliomas, 3D; files of BraTS 2020, 2021, 2023 are read alike.

BraTS 2023 calls the modalities t2f, t1n, t1c, t2w, separates them by a hyphen, numbers the time
points of a patient, and stores enhancing tumour as 3 in place of 4.

Preprocessing as SSL4MIS, per modality: crop to the box of non-zero voxels (with several modalities
the union of their boxes), clip at the 99.9 % quantile of the box, subtract mean and divide by
standard deviation of the voxels above 0. The background becomes (0 - mean) / std, as there.
Deviation: SSL4MIS cuts the last slice off each axis of the box; we keep it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from benchmarks.common.errors import DataError
from datasets.base import Access, Adapter, Box, DatasetInfo, RawCase, Volume, VolumeParams
from datasets.reading.hdf5 import read_hdf5
from datasets.reading.images import check_same_shape, map_labels, read_nifti

Modality = Literal["flair", "t1", "t1ce", "t2"]
MODALITIES: tuple[Modality, ...] = ("flair", "t1", "t1ce", "t2")
CLIP_QUANTILE = 0.999
# Suffixes of the files: up to 2021, and of 2023.
_SUFFIXES = {
    "flair": ("_flair", "-t2f"),
    "t1": ("_t1", "-t1n"),
    "t1ce": ("_t1ce", "-t1c"),
    "t2": ("_t2", "-t2w"),
    "seg": ("_seg", "-seg"),
}
_GLI = re.compile(r"(BraTS-[A-Z]+-\d+)-\d+$")
_RELEASE = "MICCAI_BraTS_2019_Data_Training"


class BraTSParams(VolumeParams):
    """Parameters of BraTS."""

    task: Literal["whole_tumour", "regions"] = Field(
        "whole_tumour", description="whole tumour against the rest, or the three tumour regions"
    )
    modalities: tuple[Modality, ...] | None = Field(
        None, min_length=1, description="channels; null: flair for whole_tumour, else all four"
    )

    @field_validator("modalities")
    @classmethod
    def _no_repeats(cls, value: tuple[Modality, ...] | None) -> tuple[Modality, ...] | None:
        if value is not None and len(set(value)) != len(value):
            raise ValueError("a modality is named twice")
        return value

    @property
    def channels(self) -> tuple[Modality, ...]:
        """Modalities in channel order."""
        if self.modalities is not None:
            return self.modalities
        return ("flair",) if self.task == "whole_tumour" else MODALITIES

    def mapping(self, case: str) -> dict[int, int]:
        """Class by stored label: 1 necrotic core, 2 oedema, 4 (in 2023: 3) enhancing tumour."""
        enhancing = 3 if _GLI.match(case) else 4
        if self.task == "whole_tumour":
            return {0: 0, 1: 1, 2: 1, enhancing: 1}
        return {0: 0, 1: 1, 2: 2, enhancing: 3}


class BraTS2019(Adapter[BraTSParams]):
    """335 training cases, 259 of high and 76 of low grade."""

    id = "brats2019"
    title = "BraTS 2019"
    modality = "brain MRI"
    citation = (
        "B. H. Menze et al., The Multimodal Brain Tumor Image Segmentation Benchmark (BRATS), "
        "IEEE TMI 34(10):1993-2024, 2015, doi:10.1109/TMI.2014.2377694; S. Bakas et al., Advancing "
        "The Cancer Genome Atlas glioma MRI collections with expert segmentation labels and "
        "radiomic features, Scientific Data 4:170117, 2017, doi:10.1038/sdata.2017.117"
    )
    intensity = (
        "per modality: clip at the 99.9 % quantile of the box of non-zero voxels, subtract mean and"
        " divide by standard deviation of the voxels above 0 in it"
    )
    licence = "research use after registration; terms on the organisers' page"
    access: ClassVar[Access] = "login"
    tolerance = 1.0  # our choice: one voxel
    Params = BraTSParams
    tree = """
DIR/{HGG,LGG}/<case>/<case>_{flair,t1,t1ce,t2,seg}.nii.gz    BraTS19_* ids, or
DIR/<case>/<case>_{flair,t1,t1ce,t2,seg}.nii.gz              BraTS20_*, BraTS2021_* ids, or
DIR/<case>/<case>-{t2f,t1n,t1c,t2w,seg}.nii.gz               BraTS-GLI-* ids, or
DIR/[data/]<case>.h5                                         SSL4MIS: whole tumour in FLAIR
"""
    steps = "register at https://www.med.upenn.edu/cbica/brats2019/ and unpack the training set"

    def info(self, params: BraTSParams) -> DatasetInfo:
        """Channels are the modalities; two classes, or four for regions."""
        return tumour_info(params)

    def scan(self, raw: Path, params: BraTSParams) -> list[RawCase]:
        """List every case folder; the grade is the group where folders give it.

        Raises:
            DataError: no case folder, or a case without one of the modalities.
        """
        root = raw / _RELEASE if (raw / _RELEASE).is_dir() else raw
        grades = [grade for grade in ("HGG", "LGG") if (root / grade).is_dir()]
        cases = [
            self._case(raw, folder, grade, params)
            for grade in grades or [""]
            for folder in (root / grade).glob("*")
            if any(_file(folder, kind) for kind in (*MODALITIES, "seg"))
        ]
        cases = cases or self._volumes(raw, params)
        if not cases:
            found = "it holds no case folders" if raw.is_dir() else "there is no such folder"
            raise self.missing(raw, found)
        return sorted(cases, key=lambda case: case.case)

    def _volumes(self, raw: Path, params: BraTSParams) -> list[RawCase]:
        """Cases of SSL4MIS's layout: FLAIR after its preprocessing, whole tumour, no voxel size."""
        paths = sorted([*raw.glob("BraTS*.h5"), *raw.glob("data/BraTS*.h5")])
        if paths and (params.task, params.channels) != ("whole_tumour", ("flair",)):
            raise self.missing(raw, "HDF5 volumes hold FLAIR and the whole tumour only")
        return [RawCase(path.stem, path.stem, (path,), path) for path in paths]

    def _case(self, raw: Path, folder: Path, grade: str, params: BraTSParams) -> RawCase:
        images = [_file(folder, modality) for modality in params.channels]
        present = tuple(path for path in images if path is not None)
        if len(present) < len(images):
            absent = [m for m, path in zip(params.channels, images, strict=True) if path is None]
            there = [m for m in MODALITIES if _file(folder, m)]
            raise self.missing(
                raw,
                f"'{folder}' has no file for {', '.join(absent)} (it has {', '.join(there)}); "
                "complete it or choose other `modalities`",
            )
        visit = _GLI.match(folder.name)
        patient = visit[1] if visit else folder.name
        return RawCase(folder.name, patient, present, _file(folder, "seg"), grade)

    def read(self, case: RawCase, params: BraTSParams) -> Volume:
        """Read one case; `box` is the brain.

        Raises:
            DataError: a file is damaged or empty, shapes differ, or a label is none of its year.
        """
        first = case.images[0]
        if first.suffix == ".h5":  # preprocessed by SSL4MIS
            stored, mask = read_hdf5(first, "image"), read_hdf5(first, "label")
            check_same_shape(first, first, (stored.shape, mask.shape))
            known = map_labels(mask, {0: 0, 1: 1}, first)
            values = stored.astype(np.float32)[None]
            return Volume(values, known, (1.0, 1.0, 1.0), spacing_known=False)
        arrays, spacings = zip(*(read_nifti(path) for path in case.images), strict=True)
        for path, array in zip(case.images, arrays, strict=True):
            check_same_shape(first, path, (arrays[0].shape, array.shape))
        label = None
        if case.label is not None:
            mask, _ = read_nifti(case.label)
            check_same_shape(first, case.label, (arrays[0].shape, mask.shape))
            label = map_labels(mask, params.mapping(case.case), case.label)
        image, box = normalise_brain(arrays, case.images)
        return Volume(image, label, spacings[0], box)


def tumour_info(params: BraTSParams) -> DatasetInfo:
    """Channels and classes of a task."""
    regions = ("necrotic core", "oedema", "enhancing tumour")
    tumour = ("whole tumour",) if params.task == "whole_tumour" else regions
    return DatasetInfo(ndim=3, channels=params.channels, classes=("background", *tumour))


def normalise_brain(
    arrays: Sequence[NDArray[np.generic]], paths: Sequence[Path]
) -> tuple[NDArray[np.float32], Box]:
    """Clip and z-score every modality inside the brain's box.

    Args:
        arrays: (D, H, W) per modality, 0 outside the brain.
        paths: their files, for messages.

    Returns:
        Image (C, D, H, W) and the box of the brain.

    Raises:
        DataError: a modality is empty or constant.
    """
    box = _brain_box(arrays, paths[0])
    pairs = zip(arrays, paths, strict=True)
    return np.stack([_normalise(array, box, path) for array, path in pairs]), box


def _file(folder: Path, kind: str) -> Path | None:
    paths = (
        folder / f"{folder.name}{name}{suffix}"
        for name in _SUFFIXES[kind]
        for suffix in (".nii.gz", ".nii")
    )
    return next((path for path in paths if path.is_file()), None)


def _brain_box(arrays: Sequence[NDArray[np.generic]], path: Path) -> Box:
    """[low, high) per axis of the voxels that are non-zero in any modality."""
    brain = np.any([array != 0 for array in arrays], axis=0)
    if not brain.any():
        raise DataError(f"'{path}' holds only zeros; obtain the file again")
    bounds = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        where = np.flatnonzero(brain.any(axis=others))
        bounds.append((int(where[0]), int(where[-1]) + 1))
    return bounds[0], bounds[1], bounds[2]


def _normalise(array: NDArray[np.generic], box: Box, path: Path) -> NDArray[np.float32]:
    """Clip and z-score one modality (D, H, W); see the module's docstring."""
    values = array.astype(np.float32)
    inside = values[tuple(slice(*bounds) for bounds in box)]
    top = np.quantile(inside, CLIP_QUANTILE, method="inverted_cdf")
    values = np.minimum(values, top)
    brain = values[values > 0].astype(np.float64)
    spread = float(brain.std()) if brain.size else 0.0
    if spread == 0:
        raise DataError(f"'{path}' has no contrast above 0; obtain the file again")
    return np.asarray((values - brain.mean()) / spread, dtype=np.float32)
