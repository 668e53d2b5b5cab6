"""Losses on pseudo-labels of which only a part is trusted."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.losses import one_hot, soft_dice_loss, softmax32


@torch.no_grad()
def pseudo_label(probability: Tensor) -> tuple[Tensor, Tensor]:
    """Most probable class (N, *S) int64 and its probability (N, *S) of (N, K, *S)."""
    confidence, label = probability.max(1)
    return label, confidence


def masked_cross_entropy(logits: Tensor, label: Tensor, keep: Tensor) -> Tensor:
    """Cross-entropy of the kept pixels, divided by the number of all pixels (FixMatch, eq. 4).

    Pixels that are not kept have no influence; they do not turn into background.

    Args:
        logits: (N, K, *S).
        label: (N, *S) int64.
        keep: (N, *S) bool.

    Returns:
        0-d float32; 0 with a graph where nothing is kept.
    """
    return (F.cross_entropy(logits.float(), label, reduction="none") * keep).mean()


def masked_dice_loss(
    logits: Tensor, label: Tensor, keep: Tensor, *, smooth: float = 1e-5
) -> Tensor:
    """Soft Dice loss over the kept pixels of the whole batch, squared denominator.

    Args:
        logits: (N, K, *S).
        label: (N, *S) int64.
        keep: (N, *S) bool.
        smooth: as in `dice_loss`; where nothing is kept the loss is 0.

    Returns:
        0-d float32 in [0, 1].
    """
    p, trusted = softmax32(logits), keep[:, None]
    return soft_dice_loss(p * trusted, one_hot(label, p.shape[1]) * trusted, smooth=smooth)
