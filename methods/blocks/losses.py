"""Supervised and consistency losses."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.base import Scalar


def soft_dice_loss(p: Tensor, q: Tensor, *, smooth: float = 1e-5) -> Tensor:
    """Soft Dice loss of two maps, with squared denominator, summed over the whole batch.

    `(1/K) sum_k [1 - (2 sum p_k q_k + s) / (sum p_k^2 + sum q_k^2 + s)]`, the form and the `s` of
    the SSL4MIS code base (github.com/HiLab-git/SSL4MIS, `utils/losses.py`).

    Args:
        p: (N, K, *S) in [0, 1].
        q: same shape.
        smooth: `s`; a class absent from both sides costs nothing.

    Returns:
        0-d float32 in [0, 1].
    """
    p, q = (value.float().transpose(0, 1).flatten(1) for value in (p, q))
    intersect, sizes = (p * q).sum(1), p.square().sum(1) + q.square().sum(1)
    return (1 - (2 * intersect + smooth) / (sizes + smooth)).mean()


def one_hot(label: Tensor, classes: int) -> Tensor:
    """(N, K, *S) float32 of (N, *S) int64 in [0, K)."""
    empty = torch.zeros(len(label), classes, *label.shape[1:], device=label.device)
    return empty.scatter_(1, label[:, None], 1.0)  # `F.one_hot` reads the labels' range


def dice_loss(probability: Tensor, label: Tensor, *, smooth: float = 1e-5) -> Tensor:
    """`soft_dice_loss` against a label map, background included.

    Args:
        probability: (N, K, *S) in [0, 1].
        label: (N, *S) int64 in [0, K).
        smooth: of `soft_dice_loss`.

    Returns:
        0-d float32 in [0, 1].
    """
    return soft_dice_loss(probability, one_hot(label, probability.shape[1]), smooth=smooth)


def supervised_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Half the sum of cross-entropy and soft Dice, the supervised loss of every method here.

    Args:
        logits: (N, K, *S).
        label: (N, *S) int64 in [0, K).

    Returns:
        0-d float32, at least 0.
    """
    logits = logits.float()
    return 0.5 * (F.cross_entropy(logits, label) + dice_loss(logits.softmax(1), label))


def consistency_mse(probability: Tensor, target: Tensor) -> Tensor:
    """Mean over pixels and classes of the squared difference of two predictions.

    Args:
        probability: (N, K, *S) in [0, 1].
        target: same shape; detach it where no gradient is wanted.

    Returns:
        0-d float32 in [0, 1]; 0 for an empty batch.
    """
    if probability.numel() == 0:
        return probability.sum()
    return F.mse_loss(probability.float(), target.float())


def masked_mean(value: Tensor, mask: Tensor) -> Tensor:
    """Mean of `value` where `mask` holds; 0 with a graph where it holds nowhere.

    Args:
        value: any shape, finite.
        mask: bool, same shape.

    Returns:
        0-d tensor.
    """
    weight = mask.to(value.dtype)
    return (value * weight).sum() / weight.sum().clamp(min=1)


def softmax32(logits: Tensor) -> Tensor:
    """Softmax over the class axis (N, K, *S) in float32, also under autocast."""
    return torch.softmax(logits.float(), dim=1)


def certain_mse(
    probability: Tensor, target: Tensor, uncertainty: Tensor, *, threshold: Scalar, norm: float
) -> tuple[Tensor, Tensor]:
    """Squared difference where the uncertainty is below a threshold (UA-MT, arXiv:1907.07034).

    Args:
        probability: (N, K, *S), of the student.
        target: (N, K, *S), of the teacher.
        uncertainty: (N, *S) in nats.
        threshold: in nats.
        norm: divisor `c` of the class sum.

    Returns:
        Loss (0-d) and the share of pixels below the threshold (0-d, in [0, 1]).
    """
    certain = uncertainty < threshold
    squared = (probability - target).square().sum(1) / norm
    return masked_mean(squared, certain), certain.float().mean()
