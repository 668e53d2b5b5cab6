"""Losses that weigh pixels by agreement and confidence (MetaSSL, arXiv:2509.01144).

Regions: unanimous (U) or discrepant (D), confident (C) or suspicious (S). Formulas of the code,
github.com/HiLab-git/MetaSSL at 4c58a66.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.losses import one_hot

# Of UC, US, DC, DS.
Weights = tuple[float, float, float, float]

# On unlabelled images with Mean Teacher and in 3D: w, w / r, w / (r f)^3, w / (r^2 f) with w 50,
# r 1.25, f 5 (`code_3D/train_MetaSSL_CPS_3D.py`: 364-367).
CODE_UNLABELED: Weights = (50, 50 / 1.25, 50 / (1.25 * 5) ** 3, 50 / (1.25**2 * 5))


def falling(first: float, rate: float) -> Weights:
    """`first exp(-(j rate)^3)` for j = 0 to 3 (`code/train_MetaSSL_CPS_2D.py`: 343-352)."""
    uc, us, dc, ds = (first * math.exp(-((j * rate) ** 3)) for j in range(4))
    return uc, us, dc, ds


def powers(first: float, ratio: float) -> Weights:
    """`w, w / r, w / r^3, w / r^2` (`code_3D/train_MetaSSL_CPS_3D.py`: 418-421)."""
    return first, first / ratio, first / ratio**3, first / ratio**2


def class_confidence(label: Tensor, confidence: Tensor, classes: int) -> Tensor:
    """Confidence of the pixels of each class, `sum / (count + 1)`, (K,) float32.

    Args:
        label: (N, *S) int64 in [0, classes).
        confidence: (N, *S).
        classes: K.
    """
    of_class = one_hot(label, classes).movedim(1, -1).flatten(0, -2)
    return (of_class * confidence.flatten()[:, None]).sum(0) / (of_class.sum(0) + 1)


def regions(own: Tensor, reference: Tensor, sure: Tensor) -> list[Tensor]:
    """Masks (N, *S): UC foreground, UC background, US, DC, DS."""
    same, foreground = own == reference, reference > 0
    unanimous = same & sure
    return [
        unanimous & foreground,
        unanimous & ~foreground,
        same & ~sure,
        ~same & sure,
        ~same & ~sure,
    ]


def heterogeneous_loss(z: Tensor, label: Tensor, masks: list[Tensor], weights: Weights) -> Tensor:
    """H of logits (N, K, *S) and targets (N, *S), 0-d."""
    ce = F.cross_entropy(z.float(), label, reduction="none")
    of_mask = (weights[0], *weights)
    parts = [w * (ce * m).sum() / (m.sum() + 1) for w, m in zip(of_mask, masks, strict=True)]
    return torch.stack(parts).sum()
