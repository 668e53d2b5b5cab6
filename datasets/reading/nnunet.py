"""Anybody's own data in the raw layout of nnU-Net v2 (Isensee et al. 2021, arXiv:1904.08128).

`python -m benchmarks datasets add` writes the few lines that make such a folder a data set. Every
channel is clipped to its 0.5 and 99.5 % quantile (or to `window`), then mean 0 and standard
deviation 1 over the case.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from benchmarks.common.errors import DataError
from benchmarks.common.schema import Strict
from datasets.base import Access, Adapter, DatasetInfo, RawCase, SliceParams, Volume, VolumeParams
from datasets.reading.bounded import time_limit
from datasets.reading.images import check_same_shape, map_labels, read_grey, read_nifti

_QUANTILES = (0.005, 0.995)
_CHANNEL = re.compile(r"(.+)_(\d{4})$")
# A search takes microseconds; some expressions need ages for some names.
_SEARCH_SECONDS = 2.0


class _Normalisation(Strict):
    window: tuple[float, float] | None = Field(
        None, description="intensities to clip to, such as [-1000, 400] HU; null: quantiles"
    )


class NnUNetSliceParams(SliceParams, _Normalisation):
    """Slices of own data."""


class NnUNetVolumeParams(VolumeParams, _Normalisation):
    """Volumes of own data."""


Q = TypeVar("Q", NnUNetSliceParams, NnUNetVolumeParams)


class NnUNet(Adapter[Q]):
    """Base of added data sets.

    Attributes:
        ndim: 2 where slices are the samples, 3 where volumes are.
        channels: names in file order.
        classes: names in the order of the stored values, background first.
        ending: of the files.
        patient: regular expression whose first group in a case's name is the patient; "": every
            case is a patient of its own.
    """

    ndim: ClassVar[Literal[2, 3]]
    channels: ClassVar[tuple[str, ...]]
    classes: ClassVar[tuple[str, ...]]
    ending: ClassVar[str]
    patient: ClassVar[str] = ""
    modality = "own data"
    citation = "own data"
    licence = "own data"
    intensity = (
        "per channel: clip to the 0.5 and 99.5 % quantile (or to `window` of the preparation), then"
        " mean 0 and standard deviation 1 over the case"
    )
    access: ClassVar[Access] = "login"
    tree = """
DIR/dataset.json                        nnU-Net v2: channel_names, labels, file_ending
DIR/imagesTr/<case>_0000.nii.gz         one file per channel: _0000, _0001, ...
DIR/labelsTr/<case>.nii.gz              mask of every case of imagesTr
DIR/imagesUn/<case>_0000.nii.gz         optional, without masks
"""
    steps = "it is your own folder"

    def info(self, params: Q) -> DatasetInfo:
        """As in `dataset.json` when the data set was added."""
        del params
        return DatasetInfo(self.ndim, self.channels, self.classes)

    def scan(self, raw: Path, params: Q) -> list[RawCase]:
        """List the cases of imagesTr and imagesUn; imagesTs is not read.

        Raises:
            DataError: no case, a channel or a mask is missing, or a name without patient.
        """
        del params
        cases = [
            RawCase(case, self._patient(case), images, raw / "labelsTr" / f"{case}{self.ending}")
            for case, images in self._images(raw, "imagesTr").items()
        ]
        bare = [case.label for case in cases if case.label and not case.label.is_file()]
        if bare:
            raise self.missing(
                raw, f"no mask '{bare[0]}'; images without a mask belong into imagesUn"
            )
        if not cases:
            found = f"'{raw / 'imagesTr'}' holds no <case>_0000{self.ending}"
            if any((raw / "imagesTr").glob(f"[!.]*{self.ending}")):
                found += (
                    ", but files without a channel number, as the Medical Segmentation Decathlon"
                    " has them: run `nnUNetv2_convert_MSD_dataset -i DIR`, or rename the files"
                )
            raise self.missing(raw, found)
        cases += [
            RawCase(case, self._patient(case), images, None)
            for case, images in self._images(raw, "imagesUn").items()
        ]
        return sorted(cases, key=lambda case: case.case)

    def _images(self, raw: Path, folder: str) -> dict[str, tuple[Path, ...]]:
        found: dict[str, dict[int, Path]] = defaultdict(dict)
        for path in sorted((raw / folder).glob(f"[!.]*{self.ending}")):
            match = _CHANNEL.match(path.name.removesuffix(self.ending))
            if match:
                found[match[1]][int(match[2])] = path
        wanted = set(range(len(self.channels)))
        for case, files in found.items():
            if files.keys() != wanted:
                numbers = ", ".join(f"_{n:04d}" for n in sorted(wanted ^ files.keys()))
                raise self.missing(
                    raw,
                    f"case '{case}' of {folder} needs {len(wanted)} channels; look at {numbers}",
                )
        return {case: tuple(files[n] for n in sorted(files)) for case, files in found.items()}

    def _patient(self, case: str) -> str:
        if not self.patient:
            return case
        with time_limit(_SEARCH_SECONDS, f"the patient pattern '{self.patient}' on '{case}'"):
            match = re.search(self.patient, case)
        if match is None or not match[1]:
            raise DataError(
                f"case '{case}' of {self.id} does not match the patient pattern '{self.patient}',"
                " or the pattern finds no name in it; `python -m benchmarks datasets add --nnunet"
                f" DIR --name {self.id} --patient REGEX --force` gives another"
            )
        return match[1]

    def remedy(self, raw: Path) -> str:
        """A folder that is there is mended, also while it is being added and not known yet."""
        return "mend it and give the same command again" if raw.exists() else super().remedy(raw)

    def read(self, case: RawCase, params: Q) -> Volume:
        """Read one case.

        Raises:
            DataError: a file is damaged, shapes differ, or a label is not of `dataset.json`.
        """
        first, known = case.images[0], self.ending != ".png"
        arrays, spacings = zip(*(self._array(path) for path in case.images), strict=True)
        for path, array in zip(case.images, arrays, strict=True):
            check_same_shape(first, path, (arrays[0].shape, array.shape))
        label = None
        if case.label is not None:
            mask, _ = self._array(case.label)
            check_same_shape(first, case.label, (arrays[0].shape, mask.shape))
            label = map_labels(mask, {k: k for k in range(len(self.classes))}, case.label)
        pairs = zip(arrays, case.images, strict=True)
        image = np.stack([_normalised(a, path, params.window) for a, path in pairs])
        return Volume(image, label, spacings[0], spacing_known=known)

    def _array(self, path: Path) -> tuple[NDArray[np.generic], tuple[float, float, float]]:
        if self.ending == ".png":
            return read_grey(path), (1.0, 1.0, 1.0)
        return read_nifti(path)


def _normalised(
    array: NDArray[np.generic], path: Path, window: tuple[float, float] | None
) -> NDArray[np.float32]:
    values = array.astype(np.float32)
    low, high = window or np.quantile(values, _QUANTILES)
    values = values.clip(low, high)
    spread = float(values.std(dtype=np.float64))
    if spread == 0:
        raise DataError(
            f"'{path}' is constant inside [{low:g}, {high:g}]; an image needs contrast, look at"
            " `window` or leave the case out"
        )
    return np.asarray((values - values.mean(dtype=np.float64)) / spread, dtype=np.float32)
