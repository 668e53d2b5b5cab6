"""Weak augmentation of a whole batch on its device, replayable from a generator.

The policy is that of SSL4MIS (`dataloaders/dataset.py`): with probability 1/2 a rotation by
k * 90 degrees followed by a flip of one axis, otherwise a rotation by an integer angle in
[-20, 19] degrees. In 3D it is the first branch for every sample (the 3D protocol), in the plane of
the last two axes, with a flip along any axis.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def weak(
    image: Tensor, label: Tensor | None, *, policy: str, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Augment a batch; image and label share the geometry.

    Args:
        image: (N, C, *S) float32.
        label: (N, *S) integer, or None.
        policy: `suite` (images interpolated linearly), `ssl4mis` (nearest) or `none`.
        generator: CPU generator; its state alone decides what is drawn.

    Returns:
        Image and label of the same shapes; labels are always nearest.
    """
    if policy == "none" or len(image) == 0:
        return image, label
    n, ndim = len(image), image.ndim - 2
    draw = torch.rand(n, 4, generator=generator)
    turns = (draw[:, 1] * 4).long()
    axis = (draw[:, 2] * ndim).long()
    degrees = (draw[:, 3] * 40).floor() - 20
    right_angle = (draw[:, 0] < 0.5) if ndim == 2 else torch.ones(n, dtype=torch.bool)
    theta = _affine(
        turns * right_angle * 90 + degrees * ~right_angle,
        torch.where(right_angle, axis, -1),
        ndim=ndim,
        aspect=image.shape[-2] / image.shape[-1],
    ).to(image.device)
    grid = F.affine_grid(theta, [n, 1, *image.shape[2:]], align_corners=False)
    mode = "nearest" if policy == "ssl4mis" else "bilinear"
    image = F.grid_sample(image, grid, mode=mode, align_corners=False)
    if label is not None:
        nearest = F.grid_sample(
            label[:, None].to(image.dtype), grid, mode="nearest", align_corners=False
        )
        label = nearest[:, 0].to(label.dtype)
    return image, label


def _affine(degrees: Tensor, flip: Tensor, *, ndim: int, aspect: float) -> Tensor:
    """Sampling matrices (N, ndim, ndim + 1): rotation in the plane of the last two axes, one flip.

    Args:
        degrees: (N,) rotation.
        flip: (N,) spatial axis to mirror, -1 for none.
        ndim: 2 or 3.
        aspect: H / W in voxels, so that the rotation is rigid on non-square images.
    """
    angle = degrees.double() * math.pi / 180
    cos, sin = angle.cos(), angle.sin()
    theta = torch.zeros(len(degrees), ndim, ndim + 1, dtype=torch.float64)
    # affine_grid orders coordinates x (last axis), y, z and scales each to [-1, 1].
    theta[:, 0, 0], theta[:, 0, 1] = cos, -sin * aspect
    theta[:, 1, 0], theta[:, 1, 1] = sin / aspect, cos
    if ndim == 3:
        theta[:, 2, 2] = 1
    for axis in range(ndim):
        row = theta[:, :, ndim - 1 - axis]
        theta[:, :, ndim - 1 - axis] = torch.where((flip == axis)[:, None], -row, row)
    # Exact zeros keep right angles free of interpolation.
    return torch.where(theta.abs() < 1e-12, 0.0, theta).float()
