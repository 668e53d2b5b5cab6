"""Mixing two images by a box: CutMix and copy-paste."""

from __future__ import annotations

import torch
from torch import Tensor

# CutMix of UniMatch: share of the image that is replaced, and aspect ratio of the box.
_SHARE, _ASPECT = (0.02, 0.4), (0.3, 1 / 0.3)


def _within(first: Tensor, past: Tensor, size: torch.Size) -> Tensor:
    """Masks (N, 1, *S) of boxes from `first` up to, but not with, `past`, both (N, ndim)."""
    n, ndim = first.shape
    inside = torch.ones(n, 1, *size, dtype=torch.bool, device=first.device)
    for axis, extent in enumerate(size):
        place = torch.arange(extent, device=first.device)
        within = (place >= first[:, axis, None]) & (place < past[:, axis, None])
        inside &= within.view(n, 1, *[extent if a == axis else 1 for a in range(ndim)])
    return inside


def _extent(size: torch.Size, like: Tensor) -> Tensor:
    """A size (ndim,) float32 on a tensor's device, which is not waited for."""
    return torch.stack([torch.full((), float(s), device=like.device) for s in size])


def _boxes(sides: Tensor, size: torch.Size) -> Tensor:
    """Masks (N, 1, *S) of boxes with given sides (N, ndim, voxels) at uniform places."""
    extent = _extent(size, sides)
    side = sides.round().clamp(min=1).minimum(extent)
    place = torch.stack([torch.rand(len(sides), device=sides.device) for _ in size], 1)
    first = (place * (extent - side + 1)).floor()
    return _within(first, first + side, size)


def cutmix_boxes(image: Tensor, *, probability: float = 0.5) -> Tensor:
    """Boxes of random size and aspect; images that are not mixed get an empty one.

    Args:
        image: (N, C, *S).
        probability: of an image to be mixed.

    Returns:
        (N, 1, *S) bool.
    """
    n, size = len(image), image.shape[2:]
    extent = _extent(size, image)
    share = torch.empty(n, 1, device=image.device).uniform_(*_SHARE)
    stretch = torch.empty(n, len(size), device=image.device).uniform_(*_ASPECT).sqrt()
    stretch = stretch / stretch.log().mean(1, keepdim=True).exp()  # keeps the volume
    sides = extent * share ** (1 / len(size)) * stretch
    mixed = torch.rand(n, device=image.device) < probability
    return _boxes(sides, size) & mixed.view(n, 1, *[1] * len(size))


def half_boxes(image: Tensor, *, probability: float) -> Tensor:
    """Boxes of half of the image; images that are not mixed get an empty one.

    The last side is uniform from half of its axis on, what is left of the half is shared evenly by
    the other axes (`generate_cutout_mask` of github.com/Haochen-Wang409/U2PL at ab3d2be,
    `u2pl/dataset/augmentation.py`, in 2D).

    Args:
        image: (N, C, *S).
        probability: of an image to be mixed.

    Returns:
        (N, 1, *S) bool.
    """
    n, size = len(image), image.shape[2:]
    last = torch.empty(n, 1, device=image.device).uniform_(0.5, 1)
    others = (0.5 / last) ** (1 / (len(size) - 1))
    sides = torch.cat([others.expand(-1, len(size) - 1), last], 1) * _extent(size, image)
    chosen = torch.rand(n, device=image.device) < probability
    return _boxes(sides, size) & chosen.view(n, 1, *[1] * len(size))


def beta_boxes(image: Tensor) -> Tensor:
    """Boxes of one size per batch whose sides are `sqrt(1 - lam)` of the image's, lam ~ Beta(4, 4).

    Their centres are uniform in the last seven eighths of every axis, and the border may cut them
    (CutMix of AD-MT, github.com/ZhenZHAO/AD-MT, `dataloaders/mixaugs.py`).

    Args:
        image: (N, C, *S).

    Returns:
        (N, 1, *S) bool.
    """
    size = image.shape[2:]
    four = torch.full((), 4.0, device=image.device)
    beta = torch.distributions.Beta(four, four, validate_args=False)  # to check is to wait
    share = (1 - beta.sample()).sqrt()
    half = [(share * extent).floor().div(2).floor() for extent in size]
    centre = [torch.randint(s // 8, s, (len(image),), device=image.device) for s in size]
    first = torch.stack([c - h for c, h in zip(centre, half, strict=True)], 1)
    past = torch.stack([c + h for c, h in zip(centre, half, strict=True)], 1)
    return _within(first, past, size)


def paste_boxes(image: Tensor, *, side: float) -> Tensor:
    """Boxes whose sides are a fixed share of the image's, (N, 1, *S) bool.

    Args:
        image: (N, C, *S).
        side: share of every axis, in (0, 1].
    """
    size = image.shape[2:]
    sides = side * _extent(size, image)
    return _boxes(sides.expand(len(image), -1), size)


def mixed(boxes: Tensor, value: Tensor) -> Tensor:
    """Images (N, C, *S) or label maps (N, *S) with boxes (N, 1, *S) of the next of the batch."""
    return paste(boxes, value.roll(1, 0), value)


def paste(inside: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """`new` inside the boxes, `old` outside; images (N, C, *S) or label maps (N, *S)."""
    return torch.where(inside if new.ndim == inside.ndim else inside[:, 0], new, old)
