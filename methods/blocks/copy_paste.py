"""Losses on mixed images of which each region has labels of its own, as in BCP."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.losses import masked_mean
from methods.blocks.pseudo import masked_dice_loss


def region_loss(logits: Tensor, label: Tensor, region: Tensor) -> Tensor:
    """`(Dice + CE) / 2` over a region (N, *S) bool, 0-d; 0 with a graph where it is empty."""
    ce = F.cross_entropy(logits.float(), label, reduction="none")
    return 0.5 * (masked_mean(ce, region) + masked_dice_loss(logits, label, region))


def halves(value: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """First and second half of `count` rows (N, ...), counted round; both have ceil(count / 2)."""
    index = torch.arange(2 * math.ceil(count / 2), device=value.device) % len(value)
    first, second = value[index].chunk(2)
    return first, second
