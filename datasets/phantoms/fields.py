"""Random fields and file writing shared by the phantom generators."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Volume = NDArray[np.float32]
Label = NDArray[np.uint8]


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], sigma: float | tuple[float, ...]
) -> Volume:
    """Gaussian random field with zero mean and unit standard deviation.

    Args:
        rng: source of randomness.
        shape: (*S), any number of axes.
        sigma: correlation length in voxels, one number or one per axis.

    Returns:
        (*S) float32.
    """
    white = rng.standard_normal(shape).astype(np.float32)
    field = ndimage.gaussian_filter(white, sigma, mode="wrap")
    field -= field.mean()
    return np.asarray(field / max(float(field.std()), 1e-6), dtype=np.float32)


def enlarge(coarse: Volume, shape: tuple[int, ...]) -> Volume:
    """Linear interpolation axis by axis, the corners of both grids aligned.

    Args:
        coarse: (*C) float32, at least two samples along every axis.
        shape: (*S), as many axes as `coarse` has.

    Returns:
        (*S) float32, within the range of `coarse`.
    """
    for axis, size in enumerate(shape):
        if coarse.shape[axis] == size:
            continue
        position = np.linspace(0, coarse.shape[axis] - 1, size)
        below = np.minimum(position.astype(np.intp), coarse.shape[axis] - 2)
        column = (size,) + (1,) * (len(shape) - axis - 1)
        weight = (position - below).astype(np.float32).reshape(column)
        low = coarse.take(below, axis)
        coarse = low + weight * (coarse.take(below + 1, axis) - low)
    return coarse


def broad_noise(
    rng: np.random.Generator, shape: tuple[int, ...], sigma: tuple[float, ...]
) -> Volume:
    """`smooth_noise` drawn on a coarser grid along axes where the correlation length allows it.

    Much faster for wide fields; the standard deviation falls short of 1 by up to a tenth.

    Args:
        rng: source of randomness.
        shape: (*S), at least two voxels along every axis.
        sigma: correlation length in voxels, one number per axis.

    Returns:
        (*S) float32.
    """
    # Below about 1.15 coarse voxels linear interpolation would show as facets.
    steps = [max(1, int(length / 1.15)) for length in sigma]
    coarse = tuple((size - 2) // step + 2 for size, step in zip(shape, steps, strict=True))
    scaled = tuple(
        length * (few - 1) / (size - 1)
        for length, few, size in zip(sigma, coarse, shape, strict=True)
    )
    return enlarge(smooth_noise(rng, coarse, scaled), shape)


def bias_field(rng: np.random.Generator, shape: tuple[int, ...], strength: float) -> Volume:
    """Multiplicative coil-sensitivity field, smooth over the whole image, with mean about 1.

    Args:
        rng: source of randomness.
        shape: (*S).
        strength: standard deviation of the logarithm; 0 gives a constant 1.

    Returns:
        (*S) float32, positive.
    """
    sigma = tuple(max(size / 3.0, 1.0) for size in shape)
    return np.asarray(np.exp(strength * smooth_noise(rng, shape, sigma)), dtype=np.float32)


def rician(rng: np.random.Generator, image: Volume, sigma: float) -> Volume:
    """Magnitude of `image` with complex Gaussian noise: the noise of magnitude MRI.

    Args:
        rng: source of randomness.
        image: (*S) float32, non-negative.
        sigma: standard deviation of either channel, in image units.

    Returns:
        (*S) float32, non-negative.
    """
    real = image + sigma * rng.standard_normal(image.shape)
    imaginary = sigma * rng.standard_normal(image.shape)
    return np.hypot(real, imaginary).astype(np.float32)


def save_nifti(path: Path, array: NDArray[np.generic], spacing: tuple[float, float, float]) -> None:
    """Write a (D, H, W) array as NIfTI in (x, y, z) order; the same array gives the same bytes.

    Args:
        path: target ending in `.nii` or `.nii.gz`; parents are made.
        array: (D, H, W) int16 or uint8.
        spacing: (D, H, W) in mm.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([spacing[2], spacing[1], spacing[0], 1.0])
    image = nib.nifti1.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), affine)
    image.header.set_xyzt_units("mm")
    data = image.to_bytes()
    # A fixed time stamp keeps the digest of a regenerated phantom equal.
    path.write_bytes(gzip.compress(data, 6, mtime=0) if path.suffix == ".gz" else data)
