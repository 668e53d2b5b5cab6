"""Perturbations of encoder and decoder maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# CCT's ranges: uniform noise of 30 %, attention threshold between 0.7 and 0.9 of the maximum.
_NOISE, _ATTENTION = 0.3, (0.7, 0.9)


def feature_noise(feature: Tensor) -> Tensor:
    """`f (1 + n)`, n uniform in [-0.3, 0.3], one map for the whole batch; (N, F, *G)."""
    noise = torch.empty_like(feature[:1]).uniform_(-_NOISE, _NOISE)
    return feature * (1 + noise)


def feature_drop(feature: Tensor) -> Tensor:
    """Silence the most active positions: channel mean above a random share of its maximum."""
    attention = feature.detach().mean(1, keepdim=True)
    highest = attention.amax(tuple(range(1, feature.ndim)), keepdim=True)
    share = torch.empty_like(highest).uniform_(*_ATTENTION)
    return feature * (attention < share * highest)


def unit_dropout(feature: Tensor, probability: float = 0.3) -> Tensor:
    """Dropout of single values, always active."""
    return F.dropout(feature, probability, training=True)


def channel_dropout(levels: Sequence[Tensor], probability: float = 0.5) -> list[Tensor]:
    """Dropout of whole channels on every level, always active.

    Args:
        levels: encoder maps (N, F_i, ...).
        probability: of a channel to be silenced.
    """
    kept = [F.dropout(x.new_ones(x.shape[:2]), probability, training=True) for x in levels]
    return [x * k.view(*k.shape, *[1] * (x.ndim - 2)) for x, k in zip(levels, kept, strict=True)]


def complementary_dropout(levels: Sequence[Tensor], whole: float) -> list[Tensor]:
    """Multiply the first half of the batch by `2 M`, the second by `2 (1 - M)` (UniMatch V2).

    M ~ Bernoulli(1/2) per image and channel (Yang et al. 2024, arXiv:2410.10777).

    Args:
        levels: encoder maps (2N, F_i, ...), two views of N images.
        whole: probability of an image to keep its maps.
    """
    n = len(levels[0]) // 2
    kept = torch.rand(n, 1, device=levels[0].device) < whole
    out = []
    for x in levels:
        m = torch.randint(0, 2, (n, x.shape[1]), device=x.device).to(x.dtype) * 2
        m = torch.where(kept, torch.ones_like(m), m)
        out.append(x * torch.cat([m, 2 - m]).view(*x.shape[:2], *[1] * (x.ndim - 2)))
    return out
