"""COVID-19 lung CT, infection against the rest, in one of two published forms.

Volumes: COVID-19-CT-Seg, 20 cases (Zenodo 3757476) from coronacases.org and Radiopaedia. The first
are stored in Hounsfield units, the others as 8-bit grey values; which of them a file holds is read
from its values, not its name. A volume with values below -200 is in Hounsfield units: clipped to
[-1250, 250] HU, then min-max to [0, 1]. Any other gets min-max on its stored values.

Images: COVID-SemiSeg (Inf-Net), single slices without voxel size or patient ids. Each labelled
slice counts as one patient, though slices of one patient are known to stand in both of its parts;
the unlabelled images name the CT volume they come from. Grey values are divided by 255.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from datasets.base import Access, Adapter, DatasetInfo, RawCase, SliceParams, Volume
from datasets.images import check_same_shape, map_labels, read_grey, read_nifti, rescale

HU_WINDOW = (-1250.0, 250.0)
HU_BELOW = -200.0  # air is -1000 HU; stored grey values start at 0
MASK_THRESHOLD = 128  # masks of the image form are 0 or 255
_SLICE = re.compile(r"^(?P<volume>.+)_\d+$")


class COVID19(Adapter[SliceParams]):
    """Volumes or single slices; the form is recognised by its folders."""

    id = "covid19"
    title = "COVID-19 CT"
    modality = "chest CT"
    citation = (
        "J. Ma et al., Toward Data-Efficient Learning: A Benchmark for COVID-19 CT Lung and "
        "Infection Segmentation, Medical Physics 48(3):1197-1210, 2021, doi:10.1002/mp.14676; "
        "image form: D.-P. Fan et al., Inf-Net: Automatic COVID-19 Lung Infection Segmentation "
        "from CT Images, IEEE TMI 39(8):2626-2637, 2020, doi:10.1109/TMI.2020.2996645"
    )
    licence = "volumes: see doi:10.5281/zenodo.3757476; image form: non-commercial research only"
    access: ClassVar[Access] = "open"
    Params = SliceParams
    tree = """
volumes
  DIR/COVID-19-CT-Seg_20cases/<case>.nii.gz
  DIR/Infection_Mask/<case>.nii.gz                                   0, 1 infection
or images
  DIR/TrainingSet/LungInfection-Train/Doctor-label/{Imgs/*.jpg,GT/*.png}
  DIR/TrainingSet/LungInfection-Train/Pseudo-label/Imgs/*.jpg        optional, unlabelled
  DIR/TestingSet/LungInfection-Test/{Imgs/*.jpg,GT/*.png}
"""
    steps = (
        "https://doi.org/10.5281/zenodo.3757476 (COVID-19-CT-Seg_20cases.zip, Infection_Mask.zip), "
        "or COVID-SemiSeg from https://github.com/DengPingFan/Inf-Net; unpack the archives"
    )

    def info(self, params: SliceParams) -> DatasetInfo:
        """One channel, two classes."""
        del params
        return DatasetInfo(ndim=2, channels=("ct",), classes=("background", "infection"))

    def scan(self, raw: Path, params: SliceParams) -> list[RawCase]:
        """List volumes or images.

        Raises:
            DataError: neither form is there, or a part of it is missing.
        """
        del params
        if (raw / "COVID-19-CT-Seg_20cases").is_dir():
            return self._volumes(raw)
        if (raw / "TrainingSet").is_dir():
            return self._images(raw)
        found = "neither COVID-19-CT-Seg_20cases nor TrainingSet is in it"
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

    def _images(self, raw: Path) -> list[RawCase]:
        train = raw / "TrainingSet/LungInfection-Train"
        doctor = train / "Doctor-label"
        cases = self._labeled(raw, doctor)
        test = raw / "TestingSet/LungInfection-Test"
        if test.is_dir():
            cases += self._labeled(raw, test)
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

    def read(self, case: RawCase, params: SliceParams) -> Volume:
        """Read one volume, or one image as a volume of one slice with unknown spacing.

        Raises:
            DataError: a file is damaged, the shapes differ, or a mask of a volume is not 0 or 1.
        """
        del params
        path = case.images[0]
        if path.suffix == ".jpg":
            grey = read_grey(path)
            image = grey.astype(np.float32) / np.float32(255)
            return Volume(image[None], _grey_mask(case, grey), (1.0, 1.0, 1.0), spacing_known=False)
        array, spacing = read_nifti(path)
        label = None
        if case.label is not None:
            mask, _ = read_nifti(case.label)
            check_same_shape(path, case.label, (array.shape, mask.shape))
            label = map_labels(mask, {0: 0, 1: 1}, case.label)
        if float(array.min()) < HU_BELOW:
            array = np.clip(array, *HU_WINDOW)
        return Volume(rescale(array, path)[None], label, spacing)


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
