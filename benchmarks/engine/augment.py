"""Weak augmentation of a whole batch on its device, replayable from a generator.

The policy is that of SSL4MIS (`dataloaders/dataset.py`): with probability 1/2 a rotation by
k * 90 degrees followed by a flip of one axis, otherwise a rotation by an integer angle in
[-20, 19] degrees. In 3D it is the first branch for every sample (the 3D protocol), in the plane of
the last two axes, with a flip along any axis. The policy `rotate` is the second branch for every
sample, in 3D too: it keeps the orientation that all images of a scanner share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

DRAWS = 4  # uniform numbers in [0, 1) that decide how a sample is moved


@dataclass(frozen=True)
class Moves:
    """How samples are moved.

    Attributes:
        exact: (N,) bool, whether the sample is turned and flipped, which moves voxels without
            arithmetic; the others are interpolated.
        turns: (N,) int64, quarter turns of the last two axes, then
        axis: (N,) int64, the spatial axis that is flipped.
        theta: (N, ndim, ndim + 1) float32, the same motion, or the rotation, as sampling matrix.
    """

    exact: Tensor
    turns: Tensor
    axis: Tensor
    theta: Tensor

    def to(self, device: torch.device) -> Moves:
        """The same on a device, which is not waited for."""
        parts = (self.exact, self.turns, self.axis, self.theta)
        pinned = (part.pin_memory() if device.type == "cuda" else part for part in parts)
        return Moves(*(part.to(device, non_blocking=True) for part in pinned))

    def rows(self, chosen: slice) -> Moves:
        """Some of the samples."""
        parts = (self.exact, self.turns, self.axis, self.theta)
        return Moves(*(part[chosen] for part in parts))


def plan_moves(
    draw: Tensor, shape: Sequence[int], *, quarter_turns: bool = True, upright: bool = False
) -> Moves:
    """What the drawn numbers mean.

    Args:
        draw: (N, DRAWS) float32 in [0, 1), on the CPU.
        shape: *S of the samples.
        quarter_turns: False turns by no multiple of 90 degrees; flips within the plane are then
            along the last axis alone, since flips along the two axes differ by a half turn.
        upright: every sample is only rotated by an integer angle in [-20, 19] degrees.
    """
    ndim, (height, width) = len(shape), shape[-2:]
    turns = (draw[:, 1] * 4).long()
    axis = (draw[:, 2] * ndim).long()
    degrees = (draw[:, 3] * 40).floor() - 20
    if not quarter_turns:
        turns, axis = torch.zeros_like(turns), torch.where(axis == ndim - 2, ndim - 1, axis)
    # Of volumes all, of slices half.
    right_angle = draw[:, 0] < (0.0 if upright else 0.5 if ndim == 2 else 1.0)
    theta = _affine(
        turns * right_angle * 90 + degrees * ~right_angle,
        torch.where(right_angle, axis, -1),
        ndim=ndim,
        aspect=height / width,
    )
    return Moves(right_angle & ((turns % 2 == 0) | (height == width)), turns, axis, theta)


def weak(
    image: Tensor, label: Tensor | None, moves: Moves, *, policy: str
) -> tuple[Tensor, Tensor | None]:
    """Augment a batch; image and label share the geometry.

    The same kernels run for every batch of a shape, and no device is waited for.

    Args:
        image: (N, C, *S) float32.
        label: (N, *S) integer, or None.
        moves: of the samples, on their device.
        policy: `suite` (images interpolated linearly), `ssl4mis` (nearest), `rotate` (linearly,
            with `upright` moves) or `none`.

    Returns:
        Image and label of the same shapes; labels are always nearest.
    """
    if policy == "none" or len(image) == 0:
        return image, label
    shape = image.shape[2:]
    source = _source(moves, shape)
    # Every sample of a volume with square planes is moved without arithmetic.
    always = len(shape) == 3 and shape[-2] == shape[-1] and policy != "rotate"
    grid = None if always else _grid(moves.theta, shape)
    mode = "nearest" if policy == "ssl4mis" else "bilinear"
    image = _apply(image, moves.exact, source, grid, mode)
    if label is not None:
        label = _apply(label[:, None], moves.exact, source, grid, "nearest")[:, 0]
    return image, label


def _apply(stack: Tensor, exact: Tensor, source: Tensor, grid: Tensor | None, mode: str) -> Tensor:
    """Move those samples (N, C, *S) that are only turned and flipped, and sample the others."""
    index = source.flatten(1)[:, None].expand(-1, stack.shape[1], -1)
    moved = stack.flatten(2).gather(2, index).view(stack.shape)
    if grid is None:
        return moved
    sampled = F.grid_sample(stack.to(grid.dtype), grid, mode=mode, align_corners=False)
    return torch.where(exact.view(-1, *[1] * (stack.ndim - 1)), moved, sampled.to(stack.dtype))


def _source(moves: Moves, shape: Sequence[int]) -> Tensor:
    """Flat index (N, *S) of the voxel that comes to every place by the turns and the flip."""
    ndim, device = len(shape), moves.turns.device
    places = []
    for number, size in enumerate(shape):
        place = torch.arange(size, device=device).expand(len(moves.turns), size)
        flipped = (moves.axis == number)[:, None]
        place = torch.where(flipped, size - 1 - place, place)
        places.append(place.view(-1, *[size if a == number else 1 for a in range(ndim)]))
    turns = moves.turns.view(-1, *[1] * ndim)
    (height, width), (row, column) = shape[-2:], places[-2:]
    # rot90(x)[i, j] = x[j, W - 1 - i]; planes that are turned by 90 or 270 degrees are square.
    row, column = torch.where(turns % 2 == 1, column, row), torch.where(turns % 2 == 1, row, column)
    row = torch.where(turns >= 2, height - 1 - row, row)
    column = torch.where((turns == 1) | (turns == 2), width - 1 - column, column)
    # Odd turns of other planes are sampled; their index only has to exist.
    flat = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
    return flat if ndim == 2 else places[0] * (height * width) + flat


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
