"""Jitter of brightness and contrast, as torchvision's `ColorJitter` does it to a grey image."""

from __future__ import annotations

import torch
from torch import Tensor


def color_jitter(
    image: Tensor, *, brightness: float, contrast: float, probability: float
) -> Tensor:
    """Brightness and contrast in random order, drawn per image, each followed by clipping.

    Brightness: `b x`, contrast: `c x + (1 - c) mean(x)`, with b in [1 - brightness, 1 + brightness]
    and c likewise. Black and white, there 0 and 1, are the extremes of each channel here, so that
    any intensity unit will do. Saturation and hue leave a grey image as it is.

    Args:
        image: (N, C, *S) float32.
        brightness: largest change of the factor b, in [0, 1].
        contrast: largest change of the factor c, in [0, 1].
        probability: of an image to be changed.
    """
    if len(image) == 0:
        return image
    one = (len(image), *[1] * (image.ndim - 1))
    axes = tuple(range(2, image.ndim))
    black, white = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
    b, c, first, chance = (torch.rand(one, device=image.device) for _ in range(4))
    b, c = 1 + brightness * (2 * b - 1), 1 + contrast * (2 * c - 1)

    def brighter(x: Tensor) -> Tensor:
        return (black + b * (x - black)).clamp(black, white)

    def stronger(x: Tensor) -> Tensor:
        return (x.mean(axes, keepdim=True) * (1 - c) + c * x).clamp(black, white)

    changed = torch.where(first < 0.5, brighter(stronger(image)), stronger(brighter(image)))
    return torch.where(chance < probability, changed, image)
