"""Largest connected components of pseudo-labels."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


def largest_components(label: Tensor, *, classes: int) -> Tensor:
    """Keep the largest component of every foreground class of every image, the rest is background.

    Runs on the CPU, so a device is waited for. Components touch by faces, edges or corners (8
    neighbours in 2D, 26 in 3D), the default of `skimage.measure.label`, which BCP's code uses.

    Args:
        label: (N, *S) int64 in [0, classes).
        classes: K.
    """
    maps = label.cpu().numpy()
    kept = np.zeros_like(maps)
    touching = np.ones((3,) * (maps.ndim - 1))
    for source, target in zip(maps, kept, strict=True):
        for k in range(1, classes):
            parts, count = ndimage.label(source == k, structure=touching)
            if count:
                sizes = np.bincount(parts.ravel())[1:]
                target[parts == 1 + sizes.argmax()] = k
    return torch.from_numpy(kept).to(label.device)
