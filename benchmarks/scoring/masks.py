"""Masks that somebody else's program wrote, brought to the geometry in which all are scored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.errors import DataError
from datasets.preparing.store import Case, Prepared
from datasets.reading.images import map_labels, read_grey, read_nifti

_ENDINGS = (".nii.gz", ".nii", ".png")
# nnU-Net v2 keeps the predictions of a fold's validation cases in `fold_<k>/validation`.
_FOLD = re.compile(r"fold_(\d+)$")
_VALIDATION = "validation"
# Of voxel sizes, and of affines in mm; programs round them when they write a file.
_SIZE_TOLERANCE, _PLACE_TOLERANCE = 1e-3, 1e-2
_ADVICE = "Write the mask with these values: every test case counts, so none can be left out"


@dataclass(frozen=True)
class MaskFile:
    """One mask.

    Attributes:
        path: of the file.
        fold: of nnU-Net's cross-validation that predicted it, or None.
    """

    path: Path
    fold: int | None = None


def find_masks(folder: Path) -> dict[str, MaskFile]:
    """The masks in a folder by case: `<case>.nii.gz`, `.nii` or `.png`.

    The folder is a plain one, one that nnU-Net predicted into, the folder of one of its trainers
    with `fold_<k>/validation`, or one such fold.

    Args:
        folder: to look into.

    Raises:
        DataError: the folder is missing, holds no mask, or a case twice.
    """
    if not folder.is_dir():
        raise DataError(f"no folder '{folder}'; --masks takes a folder of <case>.nii.gz")
    found: dict[str, MaskFile] = {}
    for mask in _files(folder):
        ending = next(e for e in _ENDINGS if mask.path.name.endswith(e))
        case = mask.path.name.removesuffix(ending)
        if case in found:
            raise DataError(f"case '{case}' is there twice: '{found[case].path}', '{mask.path}'")
        found[case] = mask
    if not found:
        raise DataError(
            f"'{folder}' holds no mask: expected <case>.nii.gz, .nii or .png, or the folder of an"
            " nnU-Net trainer with fold_<k>/validation"
        )
    return found


def _files(folder: Path) -> Iterator[MaskFile]:
    parts: list[tuple[re.Match[str] | None, Path]] = [(None, folder)]
    folds = [(_FOLD.match(path.name), path) for path in sorted(folder.glob("fold_*"))]
    if any((path / _VALIDATION).is_dir() for _, path in folds):
        parts = [(match, path / _VALIDATION) for match, path in folds if match]
    elif (folder / _VALIDATION).is_dir():
        parts = [(_FOLD.match(folder.resolve().name), folder / _VALIDATION)]
    for match, part in parts:
        for path in sorted(part.glob("*")) if part.is_dir() else ():
            if path.is_file() and path.name.endswith(_ENDINGS):
                yield MaskFile(path, int(match[1]) if match else None)


def native_mask(
    mask: MaskFile, data: Prepared, case: Case, image: Path | None
) -> NDArray[np.uint8]:
    """A mask in the native geometry of its case.

    A mask on the prepared grid is resampled to native voxels as the suite's own predictions are.
    Where the raw image is given, axes that the mask stores in another order or direction are
    turned to those of the image.

    Args:
        mask: the file.
        data: the prepared data set.
        case: one of it.
        image: raw NIfTI image of the case, or None.

    Returns:
        (D, H, W) uint8 in [0, K).

    Raises:
        DataError: the file is damaged, of another shape, voxel size or place than the image, or
            holds values that are no classes.
    """
    if mask.path.name.endswith(".png"):
        array: NDArray[np.generic] = read_grey(mask.path)
    else:
        array, spacing = read_nifti(mask.path)
        if image is not None:
            array, spacing = _turned(mask.path, image, array, spacing)
        on_grid = array.shape == case.grid_shape != case.native_shape
        if case.spacing_known and not on_grid:
            _check_spacing(mask.path, spacing, case)
    classes = {k: k for k in range(len(data.classes))}
    labels = map_labels(array, classes, mask.path, advice=_ADVICE)
    if labels.shape == case.native_shape:
        return labels
    if labels.shape == case.grid_shape:
        return data.to_native(case.case, labels)
    raise DataError(
        f"'{mask.path}' has shape {labels.shape}; the image of {case.case} has"
        f" {case.native_shape} (slices, rows, columns): write the mask with the shape of the image"
    )


def _turned(
    path: Path, image: Path, array: NDArray[np.generic], spacing: tuple[float, float, float]
) -> tuple[NDArray[np.generic], tuple[float, float, float]]:
    """Array (D, H, W) and spacing with the axes of the image.

    Raises:
        DataError: the mask lies elsewhere than the image.
    """
    import nibabel as nib
    from nibabel.orientations import (
        apply_orientation,
        inv_ornt_aff,
        io_orientation,
        ornt_transform,
    )

    own, wanted = nib.nifti1.load(path), nib.nifti1.load(image)
    if np.allclose(own.affine, wanted.affine, atol=_PLACE_TOLERANCE):
        return array, spacing
    turn = ornt_transform(io_orientation(own.affine), io_orientation(wanted.affine))
    affine = own.affine @ inv_ornt_aff(turn, own.shape[:3])
    if not np.allclose(affine, wanted.affine, atol=_PLACE_TOLERANCE):
        if _on_grid(own.shape, wanted.shape):
            return array, spacing
        raise DataError(
            f"'{path}' lies elsewhere than '{image}': their affines differ, also after the axes are"
            " turned; write the mask with the affine of its image"
        )
    turned = apply_orientation(array.transpose(2, 1, 0), turn).transpose(2, 1, 0)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    return turned, (float(sizes[2]), float(sizes[1]), float(sizes[0]))


def _on_grid(own: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """A mask of another shape than its image is one of the prepared grid, or refused later."""
    return own[:3] != wanted[:3]


def _check_spacing(path: Path, spacing: tuple[float, float, float], case: Case) -> None:
    if not np.allclose(spacing, case.spacing, rtol=_SIZE_TOLERANCE):
        own, wanted = (" x ".join(f"{v:g}" for v in s) for s in (spacing, case.spacing))
        raise DataError(
            f"'{path}' has voxels of {own} mm; those of {case.case} are {wanted} mm (slices, rows,"
            " columns): write the mask with the affine of its image"
        )
