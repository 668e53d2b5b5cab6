"""Images as a grid of equal patches, and exchanging patches between two views."""

from __future__ import annotations

import torch
from torch import Tensor


def to_patches(value: Tensor, count: int) -> Tensor:
    """Cut every axis into `count` equal parts, the last axis running fastest.

    Args:
        value: (N, C, *S); every side is a multiple of `count`.
        count: patches per axis.

    Returns:
        (N, P, C, *S / count) with P = count^ndim.

    Raises:
        ValueError: a side is no multiple of `count`.
    """
    n, channels, *size = value.shape
    if any(side % count for side in size):
        raise ValueError(f"images of {size} cannot be cut into {count} equal patches per axis")
    ndim = len(size)
    parts = [part for side in size for part in (count, side // count)]
    grid, inner = range(2, 2 + 2 * ndim, 2), range(3, 3 + 2 * ndim, 2)
    cut = value.reshape(n, channels, *parts).permute(0, *grid, 1, *inner)
    return cut.flatten(1, ndim)


def from_patches(patches: Tensor, count: int) -> Tensor:
    """Undo `to_patches`: (N, P, C, *s) to (N, C, *s * count)."""
    n, _, channels, *size = patches.shape
    ndim = len(size)
    grid = patches.reshape(n, *[count] * ndim, channels, *size)
    axes = [axis for i in range(ndim) for axis in (1 + i, 2 + ndim + i)]
    return grid.permute(0, 1 + ndim, *axes).reshape(n, channels, *[s * count for s in size])


def patch_means(value: Tensor, count: int) -> Tensor:
    """Mean of every channel of (N, C, *S) over every patch, (N, P, C) float32."""
    return to_patches(value.float(), count).flatten(3).mean(3)


def exchanged(
    first: Tensor,
    second: Tensor,
    *,
    to: tuple[Tensor, Tensor],
    source: tuple[Tensor, Tensor],
    count: int,
) -> Tensor:
    """Put one patch of each of two views of every image into the other, the first view first.

    Args:
        first: (N, C, *S).
        second: the same of the other view.
        to: numbers (N,) int64 of the patches that are replaced in the first and the second view;
            -1 where none is.
        source: numbers (N,) of the patches that are taken from the first and the second view.
        count: patches per axis.

    Returns:
        (2 N, C, *S), the first views before the second ones.
    """
    x, y = to_patches(first, count), to_patches(second, count)
    x = _put(x, to[0], _take(y, source[1]))
    y = _put(y, to[1], _take(x, source[0]))
    return from_patches(torch.cat([x, y]), count)


def _take(patches: Tensor, index: Tensor) -> Tensor:
    """(N, 1, ...) of (N, P, ...)."""
    return patches[torch.arange(len(index), device=index.device), index][:, None]


def _put(patches: Tensor, index: Tensor, new: Tensor) -> Tensor:
    chosen = torch.arange(patches.shape[1], device=index.device) == index[:, None]
    return torch.where(chosen.view(*chosen.shape, *[1] * (patches.ndim - 2)), new, patches)
