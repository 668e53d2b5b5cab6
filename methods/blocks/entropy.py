"""Predictive entropy."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def entropy(probability: Tensor) -> Tensor:
    """Shannon entropy `-sum_k p_k ln p_k` over the class axis, in nats, with 0 ln 0 = 0.

    Args:
        probability: (N, K, *S) in [0, 1], summing to 1 over K.

    Returns:
        (N, *S) float32 in [0, ln K].
    """
    p = probability.float()
    # Unlike that of xlogy, this gradient is finite where softmax underflows to 0.
    return -(p * p.clamp_min(torch.finfo(p.dtype).tiny).log()).sum(1)


def normalized_entropy(probability: Tensor) -> Tensor:
    """Entropy divided by ln K.

    Args:
        probability: (N, K, *S) in [0, 1], summing to 1 over K, K at least 2.

    Returns:
        (N, *S) float32 in [0, 1]: 0 for one-hot, 1 for uniform.
    """
    return entropy(probability) / math.log(probability.shape[1])
