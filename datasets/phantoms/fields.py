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
