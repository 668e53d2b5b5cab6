"""Strong intensity views: the geometry stays, so pseudo-labels of the weak view hold."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# Range of the strong view for grey-scale images: jitter of brightness and contrast by half, gamma
# in [1/1.5, 1.5], blur of 0.1 to 2 voxels (the strengths of UniMatch's medical version).
_JITTER, _GAMMA, _BLUR = 0.5, 1.5, (0.1, 2.0)
_RADIUS = 4


def strong_view(image: Tensor, *, jitter: float = 0.8, blur: float = 0.5) -> Tensor:
    """Brightness, contrast and gamma jitter, then Gaussian blur, drawn per image.

    Args:
        image: (N, C, *S) float32 in any intensity unit.
        jitter: probability of the jitter.
        blur: probability of the blur.

    Returns:
        Same shape. Each channel keeps its own mean and spread as the reference of the jitter.
    """
    if len(image) == 0:
        return image
    changed = torch.where(_chance(image, jitter), _jittered(image), image)
    return torch.where(_chance(image, blur), _blurred(changed), changed)


def _draw(image: Tensor, low: float, high: float) -> Tensor:
    """One number per image, (N, 1, 1, ...)."""
    shape = (len(image), *[1] * (image.ndim - 1))
    return low + (high - low) * torch.rand(shape, device=image.device)


def _chance(image: Tensor, probability: float) -> Tensor:
    return _draw(image, 0, 1) < probability


def _jittered(image: Tensor) -> Tensor:
    axes = tuple(range(2, image.ndim))
    low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
    span = (high - low).clamp(min=1e-6)
    gamma = _GAMMA ** _draw(image, -1, 1)
    image = ((image - low) / span).clamp(1e-6, 1) ** gamma * span + low
    mean, spread = image.mean(axes, keepdim=True), image.std(axes, keepdim=True)
    contrast = _draw(image, 1 - _JITTER, 1 + _JITTER)
    return mean + (image - mean) * contrast + _draw(image, -_JITTER, _JITTER) * spread


def _blurred(image: Tensor) -> Tensor:
    """Separable Gaussian blur with one width per image, edges repeated."""
    n, channels, ndim = len(image), image.shape[1], image.ndim - 2
    sigma = _draw(image, *_BLUR).flatten()
    offset = torch.arange(-_RADIUS, _RADIUS + 1, device=image.device)
    kernel = torch.exp(-0.5 * (offset / sigma[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    conv = F.conv3d if ndim == 3 else F.conv2d
    flat = image.reshape(1, n * channels, *image.shape[2:])
    for axis in range(ndim):
        pad = [_RADIUS if a == axis else 0 for a in reversed(range(ndim)) for _ in (0, 1)]
        shape = [len(offset) if a == axis else 1 for a in range(ndim)]
        weight = kernel.view(n * channels, 1, *shape)
        flat = conv(F.pad(flat, pad, mode="replicate"), weight, groups=n * channels)
    return flat.reshape(image.shape)
