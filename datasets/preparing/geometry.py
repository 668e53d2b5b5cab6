"""Whether the headers of a case's files fit each other and themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from datasets.base import RawCase
from datasets.reading.images import Header, is_nifti, read_header

Level = Literal["error", "warning"]

_AFFINE_MM = 0.01
# Beyond half a voxel, voxels of equal index are not the same place any more.
_MOST_VOXELS = 0.5
_REMEDY = (
    "correct the header or obtain the files again; where array and pixdim are known to be right,"
    " set data.<dataset>.prepare.trust_header: true, or give --trust-header"
)


def check_headers(raw: RawCase, *, trust: bool) -> tuple[list[tuple[Level, str]], str]:
    """What is wrong with the headers of a case.

    Voxel sizes are read from pixdim, and files are matched voxel by voxel. So pixdim must hold
    three positive numbers and agree with the affine (sform or qform), and the affines of all files
    must lead to the same places, each within half a voxel at every corner of the image.

    Args:
        raw: the case; files that are no NIfTI are not looked at.
        trust: what is wrong is a warning, not an error.

    Returns:
        Level and text of each finding, and the axis codes of the first file, or "".

    Raises:
        DataError: a file is missing or damaged.
    """
    files = [*raw.images, *([raw.label] if raw.label else [])]
    if not all(is_nifti(path) for path in files):
        return [], ""
    import nibabel as nib

    headers = [read_header(path) for path in files]
    wrong: Level = "warning" if trust else "error"
    found: list[tuple[Level, str]] = []
    for path, header in zip(files, headers, strict=True):
        for text in _size_problems(path, header):
            found.append((wrong, f"{text}; {_REMEDY}"))
    for path, header in zip(files[1:], headers[1:], strict=True):
        names = f"'{path}' and '{files[0].name}'"
        beside = _displacement(headers[0], header)
        if not beside <= _MOST_VOXELS:
            rotated = not np.allclose(
                header.affine[:3, :3], headers[0].affine[:3, :3], atol=_AFFINE_MM
            )
            what = (
                "differ in direction or voxel size"
                if rotated
                else f"have origins {beside:.1f} voxels apart"
            )
            found.append((wrong, f"{names} {what}; {_REMEDY}"))
        elif not np.allclose(header.affine, headers[0].affine, atol=_AFFINE_MM):
            found.append(("warning", f"{names} differ by {beside:.2g} voxels in their affines"))
    return found, _orientation(nib, headers[0])


def _size_problems(path: Path, header: Header) -> Iterator[str]:
    sizes = np.array(header.sizes)
    shown = " x ".join(f"{size:g}" for size in header.sizes)
    if not (np.isfinite(sizes) & (sizes > 0)).all():
        yield f"'{path}' has the voxel size {shown} (pixdim); three positive numbers are needed"
    elif header.placed:
        lengths = np.linalg.norm(header.affine[:3, :3], axis=0)
        drift = np.abs(lengths - sizes) * (np.array(header.shape) - 1) / sizes
        if not (drift <= _MOST_VOXELS).all():
            other = " x ".join(f"{length:.6g}" for length in lengths)
            yield (
                f"'{path}' has the voxel size {shown} mm by pixdim, {other} mm by its affine (sform"
                " or qform)"
            )


def _displacement(first: Header, other: Header) -> float:
    """Largest distance between equal corners of two files, in voxels of the first; NaN: unknown."""
    corners: Sequence[tuple[int, ...]] = list(product(*((0, n - 1) for n in first.shape)))
    points: NDArray[Any] = np.array([(*corner, 1) for corner in corners], dtype=float)
    apart = points @ (other.affine - first.affine).T[:, :3]
    try:
        voxels = np.linalg.solve(first.affine[:3, :3], apart.T)
    except np.linalg.LinAlgError:
        return float("nan")
    return float(np.abs(voxels).max())


def _orientation(nib: Any, header: Header) -> str:
    if not np.isfinite(header.affine).all():
        return ""
    return "".join(str(code) for code in nib.orientations.aff2axcodes(header.affine))
