"""Mixing two images by a box: CutMix and copy-paste."""

from __future__ import annotations

import torch
from torch import Tensor

# CutMix of UniMatch: share of the image that is replaced, and aspect ratio of the box.
_SHARE, _ASPECT = (0.02, 0.4), (0.3, 1 / 0.3)


def _boxes(sides: Tensor, size: torch.Size) -> Tensor:
    """Masks (N, 1, *S) of boxes with given sides (N, ndim, voxels) at uniform places."""
    n, ndim = sides.shape
    inside = torch.ones(n, 1, *size, dtype=torch.bool, device=sides.device)
    for axis, extent in enumerate(size):
        side = sides[:, axis].round().clamp(1, extent)
        first = (torch.rand(n, device=sides.device) * (extent - side + 1)).floor()
        place = torch.arange(extent, device=sides.device)
        within = (place >= first[:, None]) & (place < (first + side)[:, None])
        inside &= within.view(n, 1, *[extent if a == axis else 1 for a in range(ndim)])
    return inside


def cutmix_boxes(image: Tensor, *, probability: float = 0.5) -> Tensor:
    """Boxes of random size and aspect; images that are not mixed get an empty one.

    Args:
        image: (N, C, *S).
        probability: of an image to be mixed.

    Returns:
        (N, 1, *S) bool.
    """
    n, size = len(image), image.shape[2:]
    extent = torch.tensor(size, device=image.device, dtype=torch.float32)
    share = torch.empty(n, 1, device=image.device).uniform_(*_SHARE)
    stretch = torch.empty(n, len(size), device=image.device).uniform_(*_ASPECT).sqrt()
    stretch = stretch / stretch.log().mean(1, keepdim=True).exp()  # keeps the volume
    sides = extent * share ** (1 / len(size)) * stretch
    mixed = torch.rand(n, device=image.device) < probability
    return _boxes(sides, size) & mixed.view(n, 1, *[1] * len(size))


def paste_boxes(image: Tensor, *, side: float) -> Tensor:
    """Boxes whose sides are a fixed share of the image's, (N, 1, *S) bool.

    Args:
        image: (N, C, *S).
        side: share of every axis, in (0, 1].
    """
    size = image.shape[2:]
    sides = side * torch.tensor(size, device=image.device, dtype=torch.float32)
    return _boxes(sides.expand(len(image), -1), size)


def paste(inside: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """`new` inside the boxes, `old` outside; images (N, C, *S) or label maps (N, *S)."""
    return torch.where(inside if new.ndim == inside.ndim else inside[:, 0], new, old)
