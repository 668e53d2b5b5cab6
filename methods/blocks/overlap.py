"""Dice losses of the code of MC-Net and SS-Net, for those who want its figures.

Source: github.com/ycwu1997/MC-Net at fee453c and github.com/ycwu1997/SS-Net at c0a8bf6,
`code/utils/losses.py`.
"""

from __future__ import annotations

from torch import Tensor

from methods.blocks.losses import dice_loss, one_hot, softmax32


def joint_dice_loss(p: Tensor, q: Tensor, *, smooth: float = 1e-8) -> Tensor:
    """`1 - (2 sum p q + s) / (sum p + sum q + s)` over all elements, `Binary_dice_loss` there.

    Without squares it is not 0 for equal maps unless they are 0 or 1: it also sharpens.

    Args:
        p: any shape, in [0, 1].
        q: same shape.
        smooth: `s`.

    Returns:
        0-d float32 in [0, 1].
    """
    p, q = p.float(), q.float()
    return 1 - (2 * (p * q).sum() + smooth) / (p.sum() + q.sum() + smooth)


def foreground_dice_loss(probability: Tensor, label: Tensor) -> Tensor:
    """`joint_dice_loss` of all classes but the background, the supervision of the 3D code.

    Args:
        probability: (N, K, *S) in [0, 1].
        label: (N, *S) int64 in [0, K).

    Returns:
        0-d float32 in [0, 1].
    """
    return joint_dice_loss(probability[:, 1:], one_hot(label, probability.shape[1])[:, 1:])


def literal_dice_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Supervision of MC-Net's code: in 3D without squares, in 2D without the factor 2.

    The latter is `1 - sum p y / (sum p^2 + sum y^2 + s)` for every class, at least 1/2.

    Args:
        logits: (N, K, *S).
        label: (N, *S) int64 in [0, K).

    Returns:
        0-d float32 in [0, 1].
    """
    p = softmax32(logits)
    if p.ndim == 5:
        return foreground_dice_loss(p, label)
    return (1 + dice_loss(p, label, smooth=1e-10)) / 2
