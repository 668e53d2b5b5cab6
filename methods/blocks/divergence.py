"""Divergences between predictions, and sharpening."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.entropy import entropy


def jeffreys(logits_a: Tensor, logits_b: Tensor) -> Tensor:
    """`(KL(a || b) + KL(b || a)) / 2` over the class axis, (N, *S) float32, at least 0."""
    log_a, log_b = (F.log_softmax(z.float(), dim=1) for z in (logits_a, logits_b))
    return 0.5 * ((log_a.exp() - log_b.exp()) * (log_a - log_b)).sum(1)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """`H((p + q) / 2) - (H(p) + H(q)) / 2` in nats, (N, *S) float32 in [0, ln 2]."""
    # Rounding can make the difference of equal predictions slightly negative.
    return (entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2).clamp(min=0)


def kl_from_mean(mean: Tensor, logits: Tensor) -> Tensor:
    """`KL(mean || softmax(logits))` over the class axis, (N, *S) float32, at least 0."""
    cross = -(mean * F.log_softmax(logits.float(), dim=1)).sum(1)
    return (cross - entropy(mean)).clamp(min=0)


def soft_cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    """`-mean_i sum_k target_ik ln softmax(logits)_ik` with a probability as target, 0-d."""
    return -(target * F.log_softmax(logits.float(), dim=1)).sum(1).mean()


def sharpen(logits: Tensor, temperature: float) -> Tensor:
    """`p_k^{1/T} / sum_j p_j^{1/T}` of `p = softmax(logits)`, (N, K, *S) float32."""
    return torch.softmax(logits.float() / temperature, dim=1)


def sharpen_binary(probability: Tensor, temperature: float) -> Tensor:
    """`p^{1/T} / (p^{1/T} + (1 - p)^{1/T})` for every class by itself; rows need not sum to 1."""
    return torch.sigmoid(probability.float().clamp(1e-6, 1 - 1e-6).logit() / temperature)
