"""ACDC 2017: short-axis cine MRI of the heart, end diastole and end systole of each patient.

Preprocessing as SSL4MIS: min-max to [0, 1] over the whole volume, slices as 2D samples.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from benchmarks.common.errors import DataError
from datasets.base import Access, Adapter, DatasetInfo, RawCase, SliceParams, Volume
from datasets.reading.images import check_same_shape, map_labels, read_nifti, rescale

_FRAME = re.compile(r"^(patient\d+_frame\d+)(_gt)?\.nii(\.gz)?$")
# Of the patient folders: given by hand, or inside the official archive. Its test part is not read.
_PLACES = ("", "training/", "database/training/", "ACDC/database/training/", "*/*/*/training/")
_CLASSES = ("background", "right ventricle", "myocardium", "left ventricle")


class ACDC(Adapter[SliceParams]):
    """100 public training patients in five groups; the 4D cine files are not read."""

    id = "acdc"
    title = "ACDC"
    modality = "cardiac cine MRI"
    citation = (
        "O. Bernard, A. Lalande, C. Zotti, F. Cervenansky, et al., Deep Learning Techniques for "
        "Automatic MRI Cardiac Multi-structures Segmentation and Diagnosis: Is the Problem "
        "Solved?, IEEE TMI 37(11):2514-2525, 2018, doi:10.1109/TMI.2018.2837502"
    )
    licence = "CC BY-NC-SA 4.0"
    access: ClassVar[Access] = "open"
    # Our choice: one to two pixels in-plane (0.7 to 1.9 mm), below the distance of the slices.
    tolerance = 2.0
    Params = SliceParams
    tree = """
DIR/[training/]patient001/patient001_frame01.nii.gz      image
DIR/[training/]patient001/patient001_frame01_gt.nii.gz   mask: 0, 1 RV, 2 myocardium, 3 LV
DIR/[training/]patient001/Info.cfg                       optional; Group is used
"""
    steps = "https://humanheart-project.creatis.insa-lyon.fr/database/ (ACDC), unpack the archive"

    def info(self, params: SliceParams) -> DatasetInfo:
        """One channel, four classes."""
        del params
        return DatasetInfo(ndim=2, channels=("mri",), classes=_CLASSES)

    def scan(self, raw: Path, params: SliceParams) -> list[RawCase]:
        """List both frames of every patient.

        Raises:
            DataError: no patient folder, a patient without frames, or a mask without its image.
        """
        del params
        folders = next(filter(None, (_patients(raw, place) for place in _PLACES)), [])
        if not folders:
            found = "it holds no patient folders" if raw.is_dir() else "there is no such folder"
            raise self.missing(raw, found)
        return [case for folder in folders for case in self._patient(raw, folder)]

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
            RawCase(case, folder.name, (image,), masks.get(case), group)
            for case, image in sorted(images.items())
        ]

    def read(self, case: RawCase, params: SliceParams) -> Volume:
        """Read one frame.

        Raises:
            DataError: a file is damaged, the shapes differ, or a label is not 0 to 3.
        """
        del params
        path = case.images[0]
        array, spacing = read_nifti(path)
        label = None
        if case.label is not None:
            mask, _ = read_nifti(case.label)
            check_same_shape(path, case.label, (array.shape, mask.shape))
            label = map_labels(mask, {k: k for k in range(len(_CLASSES))}, case.label)
        return Volume(rescale(array, path)[None], label, spacing)


def _patients(raw: Path, place: str) -> list[Path]:
    """Patient folders at a place, sorted."""
    return sorted(p for p in raw.glob(f"{place}patient*") if p.is_dir())


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
