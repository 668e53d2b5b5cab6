"""Weak augmentation of a whole batch on its device, replayable from a generator.

The policy is that of SSL4MIS (`dataloaders/dataset.py`): with probability 1/2 a rotation by
k * 90 degrees followed by a flip of one axis, otherwise a rotation by an integer angle in
[-20, 19] degrees. In 3D it is the first branch for every sample (the 3D protocol), in the plane of
the last two axes, with a flip along any axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def weak(
    image: Tensor,
    label: Tensor | None,
    *,
    policy: str,
    generator: torch.Generator,
    quarter_turns: bool = True,
) -> tuple[Tensor, Tensor | None]:
    """Augment a batch; image and label share the geometry.

    Args:
        image: (N, C, *S) float32.
        label: (N, *S) integer, or None.
        policy: `suite` (images interpolated linearly), `ssl4mis` (nearest) or `none`.
        generator: CPU generator; its state alone decides what is drawn.
        quarter_turns: False turns by no multiple of 90 degrees; flips within the plane are then
            along the last axis alone, since flips along the two axes differ by a half turn.

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
    if not quarter_turns:
        turns, axis = torch.zeros_like(turns), torch.where(axis == ndim - 2, ndim - 1, axis)
    right_angle = (draw[:, 0] < 0.5) if ndim == 2 else torch.ones(n, dtype=torch.bool)
    height, width = image.shape[-2:]
    # Right angles of square planes move voxels without arithmetic; the rest is interpolated.
    moved = right_angle & ((turns % 2 == 0) | (height == width))
    theta = _affine(
        turns * right_angle * 90 + degrees * ~right_angle,
        torch.where(right_angle, axis, -1),
        ndim=ndim,
        aspect=height / width,
    )[~moved]
    grid = _grid(theta.to(image.device), image.shape[2:])
    mode = "nearest" if policy == "ssl4mis" else "bilinear"
    steps = list(zip(moved.tolist(), turns.tolist(), axis.tolist(), strict=True))
    image = _apply(image, steps, grid, mode)
    if label is not None:
        label = _apply(label[:, None], steps, grid, "nearest")[:, 0]
    return image, label


def _apply(stack: Tensor, steps: list[tuple[bool, int, int]], grid: Tensor, mode: str) -> Tensor:
    """Turn and flip those samples (N, C, *S) that are only moved, and sample the others."""
    out = torch.empty_like(stack)
    rest = [index for index, (moved, _, _) in enumerate(steps) if not moved]
    if rest:
        chosen = stack[rest].to(grid.dtype)
        sampled = F.grid_sample(chosen, grid, mode=mode, align_corners=False)
        out[rest] = sampled.to(stack.dtype)
    for index, (moved, turns, axis) in enumerate(steps):
        if moved:
            out[index] = stack[index].rot90(turns, (-2, -1)).flip(axis + 1)
    return out


def _grid(theta: Tensor, shape: Sequence[int]) -> Tensor:
    """Sampling points (N, *S, ndim) in [-1, 1], those of `affine_grid` without translation.

    Broadcasting takes less time than its matrix product over all points.
    """
    ndim = len(shape)
    terms = []
    for place, size in enumerate(reversed(shape)):  # x is the last axis
        centres = (torch.arange(size, device=theta.device) * 2 + 1) / size - 1
        view = [1] * ndim
        view[ndim - 1 - place] = size
        terms.append(centres.view(1, *view))
    rows = [
        sum(theta[:, row, column].view(-1, *[1] * ndim) * terms[column] for column in range(ndim))
        for row in range(ndim)
    ]
    return torch.stack([row for row in rows if isinstance(row, Tensor)], dim=-1)


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
