"""Task 1 of the Medical Segmentation Decathlon: the open relative of BraTS, never its substitute.

484 labelled cases of BraTS 2016 and 2017 under new names, so no public list of BraTS 2019 applies
and results must not be called BraTS 2019. Which cases come from one patient was not published:
every case counts as a patient. Preprocessing is that of `datasets/brats2019.py`.

The four modalities stand in one 4D file in the order FLAIR, T1, T1 with contrast, T2; labels are
1 oedema, 2 non-enhancing tumour, 3 enhancing tumour (its `dataset.json`).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from datasets.base import Access, Adapter, DatasetInfo, RawCase, Volume
from datasets.brats2019 import MODALITIES, BraTS2019, BraTSParams, normalise_brain, tumour_info
from datasets.reading.images import check_same_shape, map_labels, read_nifti, read_nifti_channels

_RELEASE = "Task01_BrainTumour"
_WHOLE = {0: 0, 1: 1, 2: 1, 3: 1}
_REGIONS = {0: 0, 1: 2, 2: 1, 3: 3}  # classes in the order of BraTS


class MSDBrain(Adapter[BraTSParams]):
    """Cases of `imagesTr`; `imagesTs` has no masks and is not read."""

    id = "msd_brain"
    title = "MSD Task01 Brain Tumour"
    modality = "brain MRI"
    citation = (
        "M. Antonelli et al., The Medical Segmentation Decathlon, Nature Communications 13:4128, "
        "2022, doi:10.1038/s41467-022-30695-9"
    )
    licence = "CC BY-SA 4.0"
    access: ClassVar[Access] = "open"
    intensity = BraTS2019.intensity
    tolerance = BraTS2019.tolerance
    Params = BraTSParams
    tree = """
DIR/imagesTr/BRATS_001.nii.gz    FLAIR, T1, T1 with contrast, T2 along the fourth axis
DIR/labelsTr/BRATS_001.nii.gz    0, 1 oedema, 2 non-enhancing, 3 enhancing tumour
"""
    steps = "http://medicaldecathlon.com (Task01_BrainTumour.tar); unpack it"

    def info(self, params: BraTSParams) -> DatasetInfo:
        """As for BraTS."""
        return tumour_info(params)

    def scan(self, raw: Path, params: BraTSParams) -> list[RawCase]:
        """List the labelled cases; files that macOS put beside them (`._*`) are left alone.

        Raises:
            DataError: no case, or a case without mask.
        """
        del params
        roots = (raw, raw / _RELEASE, raw / _RELEASE / _RELEASE)
        root = next((folder for folder in roots if (folder / "imagesTr").is_dir()), raw)
        cases = []
        for path in sorted((root / "imagesTr").glob("[!.]*.nii.gz")):
            mask, name = root / "labelsTr" / path.name, path.name.removesuffix(".nii.gz")
            if not mask.is_file():
                raise self.missing(raw, f"'{path}' has no mask '{mask}'")
            cases.append(RawCase(name, name, (path,), mask))
        if not cases:
            found = "imagesTr holds no .nii.gz file" if raw.is_dir() else "there is no such folder"
            raise self.missing(raw, found)
        return cases

    def read(self, case: RawCase, params: BraTSParams) -> Volume:
        """Read one case; `box` is the brain.

        Raises:
            DataError: a file is damaged or empty, shapes differ, or a label is not 0 to 3.
        """
        path = case.images[0]
        arrays, spacing = read_nifti_channels(path, len(MODALITIES))
        label = None
        if case.label is not None:
            mask, _ = read_nifti(case.label)
            check_same_shape(path, case.label, (arrays.shape[1:], mask.shape))
            classes = _WHOLE if params.task == "whole_tumour" else _REGIONS
            label = map_labels(mask, classes, case.label)
        chosen = [arrays[MODALITIES.index(name)] for name in params.channels]
        image, box = normalise_brain(chosen, [path] * len(chosen))
        return Volume(image, label, spacing, box)
