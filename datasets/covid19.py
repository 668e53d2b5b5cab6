"""COVID-19 lung CT, infection against the rest, in one of three published forms.

Volumes: COVID-19-CT-Seg, 20 cases (Zenodo 3757476) from coronacases.org and Radiopaedia. The first
are stored in Hounsfield units, the others as 8-bit grey values; which of them a file holds is read
from its values, not its name. A volume with values below -200 is in Hounsfield units: clipped to
[-1250, 250] HU, then min-max to [0, 1]. Any other gets min-max on its stored values.

Stack: the 100 slices of medicalsegmentation.com (MedSeg set 1, figshare 13521488), one slice from
each of many scans stored as if they were a volume. Every slice counts as one patient, since the
patients are not told. Ground glass (1) and consolidation (2) are infection; pleural effusion (3),
which lies outside the lung, is background: our choice. Intensities as for volumes, slice by slice.

Images: COVID-SemiSeg (Inf-Net), the same slices as JPEG, without voxel size or patient ids. Each
labelled slice counts as one patient, though slices of one patient are known to stand in both of its
parts; `together: true` makes one patient of those that `datasets check` finds alike. The unlabelled
images name the CT volume they come from. Grey values are divided by 255.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from benchmarks.common.schema import Strict
from datasets.base import (
    Access,
    Adapter,
    DatasetInfo,
    RawCase,
    SliceParams,
    Volume,
    first_alike,
)
from datasets.reading.images import (
    Spacing,
    check_same_shape,
    count_slices,
    map_labels,
    read_grey,
    read_nifti,
    rescale,
)

HU_WINDOW = (-1250.0, 250.0)
HU_BELOW = -200.0  # air is -1000 HU; stored grey values start at 0
MASK_THRESHOLD = 128  # masks of the image form are 0 or 255
# Of COVID-SemiSeg: thumbnails correlate by at least 0.93, as `datasets check covid19` finds.
_ALIKE = (
    ("slice_004", "slice_005", "slice_017", "slice_046", "slice_091", "slice_093"),
    ("slice_010", "slice_043"),
)
_SLICE = re.compile(r"^(?P<volume>.+)_\d+$")
_STACK, _STACK_MASK = "tr_im.nii.gz", "tr_mask.nii.gz"
_VOLUME_CLASSES = {0: 0, 1: 1}
_STACK_CLASSES = {0: 0, 1: 1, 2: 1, 3: 0}


class COVIDFetchParams(Strict):
    """Which open form is downloaded where none is there."""

    form: Literal["volumes", "stack"] = Field(
        "volumes", description="20 volumes (Zenodo) or the stack of 100 slices (figshare)"
    )


class COVIDParams(SliceParams):
    """How slices without patient ids are counted."""

    together: bool = Field(
        False, description="COVID-SemiSeg: slices that are known to be of one patient are one"
    )


class COVID19(Adapter[COVIDParams]):
    """Volumes, a stack or images; the form is recognised by its files."""

    id = "covid19"
    title = "COVID-19 CT"
    modality = "chest CT"
    citation = (
        "J. Ma et al., Toward Data-Efficient Learning: A Benchmark for COVID-19 CT Lung and "
        "Infection Segmentation, Medical Physics 48(3):1197-1210, 2021, doi:10.1002/mp.14676; "
        "image form: D.-P. Fan et al., Inf-Net: Automatic COVID-19 Lung Infection Segmentation "
        "from CT Images, IEEE TMI 39(8):2626-2637, 2020, doi:10.1109/TMI.2020.2996645"
    )
    licence = (
        "volumes: see doi:10.5281/zenodo.3757476; stack: see doi:10.6084/m9.figshare.13521488; "
        "image form: non-commercial research only"
    )
    intensity = (
        "a volume or slice with values below -200 is clipped to [-1250, 250] HU; then min-max to"
        " [0, 1]. Grey values of JPEG images are divided by 255"
    )
    access: ClassVar[Access] = "open"
    # Of infection in Ma et al. (JunMa11/COVID-19-CT-Seg-Benchmark on GitHub, "LesionNSD-3mm", there
    # weighted by area). Stack and images are measured in pixels, where 3 is our choice.
    tolerance = 3.0
    Params = COVIDParams
    FetchParams: ClassVar[type[Strict]] = COVIDFetchParams
    tree = """
volumes
  DIR/COVID-19-CT-Seg_20cases/<case>.nii.gz
  DIR/Infection_Mask/<case>.nii.gz                                   0, 1 infection
or the stack of 100 slices
  DIR/tr_im.nii.gz
  DIR/tr_mask.nii.gz                                                 0, 1, 2 infection, 3
or images
  DIR/TrainingSet/LungInfection-Train/Doctor-label/{Imgs/*.jpg,GT/*.png}
  DIR/TrainingSet/LungInfection-Train/Pseudo-label/Imgs/*.jpg        optional, unlabelled
  DIR/TestingSet/LungInfection-Test/{Imgs/*.jpg,GT/*.png}
"""
    steps = (
        "https://doi.org/10.5281/zenodo.3757476 (COVID-19-CT-Seg_20cases.zip, Infection_Mask.zip), "
        "https://doi.org/10.6084/m9.figshare.13521488 (tr_im.nii.gz, tr_mask.nii.gz), "
        "or COVID-SemiSeg from https://github.com/DengPingFan/Inf-Net; unpack the archives"
    )

    def info(self, params: COVIDParams) -> DatasetInfo:
        """One channel, two classes."""
        del params
        return DatasetInfo(ndim=2, channels=("ct",), classes=("background", "infection"))

    def open_source(self, params: Strict) -> str:
        """Volumes and stack have entries of their own."""
        stack = isinstance(params, COVIDFetchParams) and params.form == "stack"
        return "medseg" if stack else self.id

    def scan(self, raw: Path, params: COVIDParams) -> list[RawCase]:
        """List volumes, slices of the stack or images.

        Raises:
            DataError: no form is there, or a part of it is missing.
        """
        if (raw / "COVID-19-CT-Seg_20cases").is_dir():
            return self._volumes(raw)
        if (raw / _STACK).is_file():
            return self._stack(raw)
        if (raw / "TrainingSet").is_dir():
            return self._images(raw, params)
        found = f"none of COVID-19-CT-Seg_20cases, {_STACK} and TrainingSet is in it"
        raise self.missing(raw, found if raw.is_dir() else "there is no such folder")

    def _volumes(self, raw: Path) -> list[RawCase]:
        images = {_stem(path): path for path in _niftis(raw / "COVID-19-CT-Seg_20cases")}
        masks = {_stem(path): path for path in _niftis(raw / "Infection_Mask")}
        if not images or not masks:
            folder = "Infection_Mask" if images else "COVID-19-CT-Seg_20cases"
            raise self.missing(raw, f"'{folder}' holds no .nii.gz file")
        orphans = sorted(masks.keys() - images.keys())
        if orphans:
            raise self.missing(raw, f"'{masks[orphans[0]]}' has no image of that name")
        cases = []
        for name, path in sorted(images.items()):
            source = _source(name)
            cases.append(RawCase(name, name, (path,), masks.get(name), source, source))
        return cases

    def _stack(self, raw: Path) -> list[RawCase]:
        image, mask = raw / _STACK, raw / _STACK_MASK
        if not mask.is_file():
            raise self.missing(raw, f"'{image}' has no mask '{mask}'")
        names = (f"slice_{number:03d}" for number in range(count_slices(image)))
        return [RawCase(name, name, (image,), mask, "", "medseg") for name in names]

    def _images(self, raw: Path, params: COVIDParams) -> list[RawCase]:
        train = raw / "TrainingSet/LungInfection-Train"
        doctor = train / "Doctor-label"
        cases = self._labeled(raw, doctor)
        test = raw / "TestingSet/LungInfection-Test"
        if test.is_dir():
            cases += [replace(case, sealed=True) for case in self._labeled(raw, test)]
        if params.together:
            cases = [replace(case, patient=first_alike(case.case, _ALIKE)) for case in cases]
        for path in sorted((train / "Pseudo-label/Imgs").glob("*.jpg")):
            match = _SLICE.match(path.stem)
            patient = match["volume"] if match else path.stem
            cases.append(RawCase(path.stem, patient, (path,), None, "", _source(path.stem)))
        return sorted(cases, key=lambda case: case.case)

    def _labeled(self, raw: Path, folder: Path) -> list[RawCase]:
        images = sorted((folder / "Imgs").glob("*.jpg"))
        if not images:
            raise self.missing(raw, f"'{folder / 'Imgs'}' holds no .jpg file")
        cases = []
        for path in images:
            mask = folder / "GT" / f"{path.stem}.png"
            if not mask.is_file():
                raise self.missing(raw, f"'{path}' has no mask '{mask}'")
            name = f"slice_{path.stem.zfill(3)}"
            cases.append(RawCase(name, name, (path,), mask, "", "medseg"))
        return cases

    def read(self, case: RawCase, params: COVIDParams) -> Volume:
        """Read one volume, or one slice as a volume; slices have no known spacing.

        Raises:
            DataError: a file is damaged, the shapes differ, or a mask holds another label.
        """
        del params
        path = case.images[0]
        if path.suffix == ".jpg":
            grey = read_grey(path)
            image = grey.astype(np.float32) / np.float32(255)
            return Volume(image[None], _grey_mask(case, grey), (1.0, 1.0, 1.0), spacing_known=False)
        stack = path.name == _STACK
        read = _read_stack if stack else read_nifti
        array, spacing = read(path)
        mask = None
        if case.label is not None:
            mask, _ = read(case.label)
            check_same_shape(path, case.label, (array.shape, mask.shape))
        if stack:
            number = int(case.case.removeprefix("slice_"))
            array, mask = array[number][None], None if mask is None else mask[number][None]
            spacing = (1.0, 1.0, 1.0)
        label = None
        if mask is not None and case.label is not None:
            classes = _STACK_CLASSES if stack else _VOLUME_CLASSES
            label = map_labels(mask, classes, case.label)
        if float(array.min()) < HU_BELOW:
            array = np.clip(array, *HU_WINDOW)
        return Volume(rescale(array, path)[None], label, spacing, spacing_known=not stack)


@lru_cache(maxsize=2)
def _read_stack(path: Path) -> tuple[NDArray[np.generic], Spacing]:
    """Image or mask of the stack, kept because each of its slices is a case."""
    return read_nifti(path)


def _grey_mask(case: RawCase, grey: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    if case.label is None:
        return None
    mask = read_grey(case.label)
    check_same_shape(case.images[0], case.label, (grey.shape, mask.shape))
    return (mask >= MASK_THRESHOLD).astype(np.uint8)


def _niftis(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.nii.gz"), *folder.glob("*.nii")])


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _source(name: str) -> str:
    return next((known for known in ("coronacases", "radiopaedia") if known in name), "other")
