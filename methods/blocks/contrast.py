"""Pixel contrast between groups of pixels: sampling, memory and the pair loss.

A *group* is a set of pixels split by class, for instance the low-entropy pixels. Sizes are fixed by
the caps, not by the image, and nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Stands for a missing key in a log-sum-exp: exp of it is 0, and unlike -inf its gradient is finite.
_NEVER = -1e4


@dataclass(frozen=True)
class Samples:
    """Sampled embeddings of one group.

    Attributes:
        vectors: (K, M, D) float32 unit vectors, one row per class.
        valid: (K, M) bool; False marks an empty slot.
    """

    vectors: Tensor
    valid: Tensor

    def detach(self) -> Samples:
        """The same samples without gradient."""
        return Samples(self.vectors.detach(), self.valid)

    def first(self, count: int) -> Samples:
        """The first `count` of each class."""
        return Samples(self.vectors[:, :count], self.valid[:, :count])

    def extended(self, other: Samples) -> Samples:
        """Own samples followed by the other's."""
        return Samples(
            torch.cat([self.vectors, other.vectors], 1), torch.cat([self.valid, other.valid], 1)
        )


def nearest_at(value: Tensor, size: Sequence[int]) -> Tensor:
    """Read a map at the points of a coarser grid, without averaging.

    Args:
        value: (N, ..., *S).
        size: *G, no axis larger than in *S.

    Returns:
        (N, ..., *G): the pixel at the centre of each grid cell, floor((index + 1/2) S / G).
    """
    first = value.ndim - len(size)
    for axis, points in enumerate(size):
        full = value.shape[first + axis]
        if full != points:
            index = (2 * torch.arange(points, device=value.device) + 1) * full // (2 * points)
            value = value.index_select(first + axis, index)
    return value


def sample_group(
    vectors: Tensor, label: Tensor, member: Tensor, *, classes: int, count: int, least: int
) -> Samples:
    """Draw at most `count` members of every class, uniformly without replacement.

    The order of the drawn samples is random, so a prefix is itself a uniform draw.

    Args:
        vectors: (P, D) embeddings of all pixels.
        label: (P,) int64 class of each pixel in [0, K).
        member: (P,) bool, the pixels of the group.
        classes: K.
        count: cap per class.
        least: classes with fewer members are left empty.
    """
    of_class = (label == torch.arange(classes, device=label.device)[:, None]) & member
    of_class &= of_class.sum(1, keepdim=True) >= least
    key = (
        torch.rand(label.shape, device=label.device).expand_as(of_class).masked_fill(~of_class, -1)
    )
    score, index = key.topk(min(count, len(label)), dim=1)
    return Samples(vectors[index], score >= 0)


def pair_loss(
    anchors: Samples,
    positives: Samples,
    negatives: Samples,
    *,
    temperature: float,
    skip_self: bool = False,
) -> Tensor:
    """Supervised InfoNCE, one positive per denominator (ContrastiveSeg, arXiv:2101.11939).

    `l(a) = (1/|P_a|) sum_{k in P_a} [ln(e^{s_ak} + sum_{n in N_a} e^{s_an}) - s_ak]` with
    `s_ak = <z_a, z_k> / temperature`; P_a are the positives of the anchor's class, N_a the
    negatives of all other classes. Averaged over the anchors of a class, then over the classes.

    Args:
        anchors: (K, A, D).
        positives: (K, M, D).
        negatives: (K, M', D).
        temperature: above 0.
        skip_self: the anchors are the first slots of `positives`; none is its own positive.

    Returns:
        0-d float32, at least 0; exactly 0, with a graph, if no anchor has both a positive and a
        negative.
    """
    classes, count, _ = anchors.vectors.shape
    a = anchors.vectors / temperature
    # Similarities are divided by a small temperature, so half precision would lose them.
    with torch.autocast(a.device.type, enabled=False):
        near = torch.einsum("cad,ckd->cak", a, positives.vectors)
        far = torch.einsum("cad,ekd->caek", a, negatives.vectors)
    other = ~torch.eye(classes, dtype=torch.bool, device=a.device)
    usable = other[:, None, :, None] & negatives.valid[None, None]
    log_negative = far.masked_fill(~usable, _NEVER).flatten(2).logsumexp(2)
    is_positive = positives.valid[:, None].expand(-1, count, -1)
    if skip_self:
        slots = torch.arange(positives.valid.shape[1], device=a.device)
        is_positive = is_positive & (slots[:count, None] != slots)
    loss = F.softplus(log_negative[..., None] - near) * is_positive
    positive_count = is_positive.sum(2)
    loss = loss.sum(2) / positive_count.clamp(min=1)
    active = anchors.valid & (positive_count > 0) & usable.flatten(2).any(2)
    per_class = (loss * active).sum(1) / active.sum(1).clamp(min=1)
    return per_class.sum() / active.any(1).sum().clamp(min=1)


class Memory(nn.Module):
    """Ring buffer of past embeddings per group and class; slots never written are never read.

    Args:
        groups: number of groups.
        classes: K.
        size: slots per group and class; 0 makes a memory that stays empty.
        dim: D.
    """

    vectors: Tensor
    written: Tensor

    def __init__(self, *, groups: int, classes: int, size: int, dim: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("vectors", torch.zeros(groups, classes, size, dim))
        self.register_buffer("written", torch.zeros(groups, classes, dtype=torch.int64))

    def read(self, group: int) -> Samples:
        """All slots of a group, those not yet written marked invalid."""
        slots = torch.arange(self.size, device=self.written.device)
        return Samples(self.vectors[group].clone(), slots < self.written[group, :, None])

    @torch.no_grad()
    def write(self, group: int, samples: Samples) -> None:
        """Store the valid samples of a group, overwriting the oldest."""
        if self.size == 0:
            return
        keep = samples.first(self.size)
        for row, vectors, valid in zip(
            range(len(keep.valid)), keep.vectors.detach(), keep.valid, strict=True
        ):
            # Valid slots come first, so slot i goes to the position i after the last written one.
            slot = (
                self.written[group, row] + torch.arange(len(valid), device=valid.device)
            ) % self.size
            old = self.vectors[group, row, slot]
            self.vectors[group, row, slot] = torch.where(valid[:, None], vectors, old)
        self.written[group] += keep.valid.sum(1)
