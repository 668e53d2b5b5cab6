"""Reading and checking of image and mask files."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.errors import DataError

Spacing = tuple[float, float, float]

# Deflate makes its input at most so many times smaller (zlib's own documentation).
_DEFLATE = 1032
_FLOAT64 = 8  # bytes of a voxel that is scaled while it is read


@dataclass(frozen=True)
class Header:
    """Geometry of a NIfTI file as it is stored, in the order (x, y, z).

    Attributes:
        shape: of the first three axes.
        sizes: of a voxel in mm, by pixdim; nibabel would put 1 in place of 0.
        affine: (4, 4), of sform or qform, else made from pixdim.
        placed: sform or qform is set.
    """

    shape: tuple[int, int, int]
    sizes: tuple[float, float, float]
    affine: NDArray[np.float64]
    placed: bool


def is_nifti(path: Path) -> bool:
    """Whether a file is one by its name."""
    return path.name.endswith((".nii", ".nii.gz"))


def read_header(path: Path) -> Header:
    """Geometry of a NIfTI file, without its values.

    Raises:
        DataError: the file is missing or damaged, or has fewer than three axes.
    """
    import nibabel as nib
    from nibabel.openers import ImageOpener

    image = _opened(path)
    if len(image.shape) < 3:
        raise DataError(f"'{path}' has shape {image.shape}; three axes are needed")
    with ImageOpener(path) as stream:
        stored = nib.nifti1.Nifti1Header.from_fileobj(stream, check=False)
    rows, columns, depth = (int(n) for n in image.shape[:3])
    x, y, z = (float(size) for size in stored["pixdim"][1:4])
    return Header(
        (rows, columns, depth),
        (x, y, z),
        np.asarray(image.affine, dtype=np.float64),
        bool(stored["sform_code"] > 0 or stored["qform_code"] > 0),
    )


def read_nifti(path: Path) -> tuple[NDArray[np.generic], Spacing]:
    """Read a 3D NIfTI file.

    Args:
        path: `.nii` or `.nii.gz`, axes (x, y, z) with slices along z.

    Returns:
        Array (D, H, W) in the stored type with slope and intercept applied, all finite, and the
        spacing (D, H, W) in mm.

    Raises:
        DataError: the file is missing, damaged, not 3D, not finite or without a positive spacing.
    """
    array, spacing = _stored(path)
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or 0 in array.shape:
        raise DataError(f"'{path}' has shape {array.shape}; three non-empty axes are needed")
    return array.transpose(2, 1, 0), spacing


def read_nifti_channels(path: Path, channels: int) -> tuple[NDArray[np.generic], Spacing]:
    """Read a 4D NIfTI file whose last axis counts channels.

    Args:
        path: `.nii` or `.nii.gz`, axes (x, y, z, C).
        channels: that must be there.

    Returns:
        Array (C, D, H, W) and spacing (D, H, W) in mm, as in `read_nifti`.

    Raises:
        DataError: as in `read_nifti`, or another number of channels.
    """
    array, spacing = _stored(path)
    if array.ndim != 4 or 0 in array.shape or array.shape[3] != channels:
        raise DataError(f"'{path}' has shape {array.shape}; allowed: (x, y, z, {channels})")
    return array.transpose(3, 2, 1, 0), spacing


def count_slices(path: Path) -> int:
    """Length of the third axis of a NIfTI file, read from its header.

    Raises:
        DataError: the file is missing, damaged or has no third axis.
    """
    shape = _opened(path).shape
    if len(shape) < 3:
        raise DataError(f"'{path}' has shape {shape}; a stack of slices is needed")
    return int(shape[2])


def _opened(path: Path, *, whole: bool = False) -> Any:
    """The nibabel image, its values read if `whole`."""
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    damage: tuple[type[Exception], ...] = (OSError, EOFError, ValueError, OverflowError, zlib.error)
    damage += (ImageFileError, HeaderDataError, WrapStructError, MemoryError)
    refuse_irregular(path)
    try:
        image = nib.nifti1.load(path)
        _refuse_size(path, image)
        if whole:
            return np.asanyarray(image.dataobj), image.header.get_zooms()[:3]
        return image
    except FileNotFoundError:
        raise DataError(f"no file '{path}'; obtain it again from its source") from None
    except damage as error:
        raise DataError(
            f"'{path}' is no readable NIfTI file ({error}); it may be cut off: copy it again"
        ) from None


def refuse_irregular(path: Path) -> None:
    """Raise a DataError for what could be read for ever, such as a pipe."""
    if path.exists() and not path.is_file():
        raise DataError(f"'{path}' is a folder, pipe or device; put the file itself there")


def _refuse_size(path: Path, image: Any) -> None:
    """Refuse more values than the file can hold, or than memory can."""
    voxels = math.prod(int(n) for n in image.shape)
    room = path.stat().st_size * (_DEFLATE if path.name.endswith(".gz") else 1)
    if voxels * image.get_data_dtype().itemsize > room:
        raise DataError(
            f"'{path}' has shape {image.shape} by its header, more than a file of"
            f" {path.stat().st_size} bytes can hold; it may be cut off: copy it again"
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if voxels * _FLOAT64 > memory // 2:
        raise DataError(
            f"'{path}' has shape {image.shape}, {voxels * _FLOAT64 / 2**30:.0f} GB in memory, of"
            f" which this machine has {memory / 2**30:.0f} GB; cut it into parts, or correct its"
            " header"
        )


def _stored(path: Path) -> tuple[NDArray[np.generic], Spacing]:
    """All values, finite, in the order of the file, and the spacing (D, H, W)."""
    array, sizes = _opened(path, whole=True)
    zooms = [float(size) for size in sizes]
    if len(zooms) != 3 or not all(np.isfinite(size) and size > 0 for size in zooms):
        raise DataError(f"'{path}' has voxel size {zooms} mm; three positive numbers are needed")
    return check_finite(array, path), (zooms[2], zooms[1], zooms[0])


def read_grey(path: Path) -> NDArray[np.uint8]:
    """Read an 8-bit grey or palette image (JPEG, PNG) as a volume of one slice.

    Returns:
        (1, H, W) uint8 in [0, 255]; of a palette image the indices.

    Raises:
        DataError: the file is missing, damaged or of another kind.
    """
    from PIL import Image

    refuse_irregular(path)
    damage = (OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError)
    try:
        with Image.open(path) as image:
            mode = image.mode
            array = np.array(image.convert("L") if mode == "RGB" else image)
    except damage as error:
        raise DataError(f"'{path}' is no readable image ({error}); copy it again") from None
    if mode not in {"L", "P", "RGB"}:
        raise DataError(f"'{path}' has mode {mode}; allowed: 8-bit grey (L), palette (P), RGB")
    return array[np.newaxis]


def check_finite(array: NDArray[np.generic], path: Path) -> NDArray[np.generic]:
    """Return `array`, or raise a DataError that counts its NaN and infinite values."""
    if array.dtype.kind not in "iuf":
        raise DataError(f"'{path}' holds {array.dtype} values; numbers are needed")
    if array.dtype.kind == "f":
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            raise DataError(
                f"'{path}' holds {bad} NaN or infinite values of {array.size}; "
                "all must be finite: obtain the file again or leave the case out"
            )
    return array


def map_labels(
    array: NDArray[np.generic],
    mapping: Mapping[int, int],
    path: Path,
    advice: str = "Correct the mask or leave the case out",
) -> NDArray[np.uint8]:
    """Replace stored label values by class indices.

    Args:
        array: (D, H, W), any numeric type.
        mapping: class index in [0, K) by stored value.
        path: file, for the message.
        advice: what mends a wrong value.

    Returns:
        (D, H, W) uint8.

    Raises:
        DataError: a stored value has no class.
    """
    values, index = np.unique(array, return_inverse=True)
    wrong = [float(value) for value in values if float(value) not in mapping]
    if wrong:
        shown = ", ".join(f"{value:g}" for value in wrong[:5])
        allowed = ", ".join(str(value) for value in sorted(mapping))
        raise DataError(
            f"'{path}' holds label values {shown}{', ...' if len(wrong) > 5 else ''}; "
            f"allowed: {allowed}. {advice}"
        )
    classes = np.array([mapping[int(value)] for value in values], dtype=np.uint8)
    return np.asarray(classes[index].reshape(array.shape))


def check_same_shape(first: Path, second: Path, shapes: tuple[object, object]) -> None:
    """Raise a DataError unless two files of one case have equal shapes."""
    if shapes[0] != shapes[1]:
        raise DataError(
            f"'{first}' has shape (D, H, W) {shapes[0]} but '{second}' has {shapes[1]}; "
            "files of one case must match: obtain both again from one source"
        )


def rescale(array: NDArray[np.generic], path: Path) -> NDArray[np.float32]:
    """Min-max to [0, 1] over the whole volume, as SSL4MIS does for ACDC.

    Args:
        array: (D, H, W) finite.
        path: file, for the message.

    Raises:
        DataError: all values are equal.
    """
    values = array.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if high <= low:
        raise DataError(f"'{path}' holds the one value {low:g}; an image needs contrast")
    return np.asarray((values - low) / (high - low), dtype=np.float32)
