"""The value of a contrastive term alone."""

from __future__ import annotations

from torch import Tensor

from methods.blocks.contrast import Pairs, Samples, contrasted


def pair_loss(
    anchors: Samples,
    positives: Samples,
    negatives: Samples,
    *,
    temperature: float,
    skip_self: bool = False,
) -> Tensor:
    pairs = Pairs(anchors, positives, negatives, skip_self)
    return contrasted(pairs, temperature=temperature).loss
