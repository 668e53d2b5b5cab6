"""Pixel contrast between groups of pixels: sampling, memory and the pair loss.

A *group* is a set of pixels split by class, such as the low-entropy pixels. Sizes are fixed by the
caps, not by the image, and nothing waits for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.blocks.traits import Traits

# Stands for a missing key in a log-sum-exp: exp of it is 0, and unlike -inf its gradient is finite.
_NEVER = -1e4
# Keeps a class without a single weighted pixel at 0 instead of 0 / 0.
_EPS = 1e-12


class Rows(Protocol):
    """Embeddings of P pixels: a tensor (P, D), or what computes those rows that are read."""

    def __getitem__(self, index: Tensor, /) -> Tensor:
        """Unit vectors (*I, D) of the pixels `index` (*I) int64."""


@dataclass(frozen=True)
class Samples:
    """Sampled embeddings of one group.

    Attributes:
        vectors: (K, M, D) float32 unit vectors, one row per class.
        valid: (K, M) bool; False marks an empty slot.
        traits: of shape (K, M); None for neutral ones.
    """

    vectors: Tensor
    valid: Tensor
    traits: Traits | None = None

    @property
    def known(self) -> Traits:
        """The traits, neutral where none are kept."""
        return self.traits or Traits.neutral(self.valid)

    def detach(self) -> Samples:
        """The same samples without gradient."""
        return Samples(self.vectors.detach(), self.valid, self.traits)

    def first(self, count: int) -> Samples:
        """The first `count` of each class."""
        traits = self.traits and self.traits.take((slice(None), slice(count)))
        return Samples(self.vectors[:, :count], self.valid[:, :count], traits)

    def extended(self, other: Samples) -> Samples:
        """Own samples followed by the other's."""
        a, b = self.known, other.known
        return Samples(
            torch.cat([self.vectors, other.vectors], 1),
            torch.cat([self.valid, other.valid], 1),
            Traits(
                torch.cat([a.emphasis, b.emphasis], 1),
                torch.cat([a.trust, b.trust], 1),
                torch.cat([a.second, b.second], 1),
            ),
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
    vectors: Rows,
    label: Tensor,
    member: Tensor,
    *,
    classes: int,
    count: int,
    least: int,
    traits: Traits | None = None,
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
        traits: of shape (P,), kept with the drawn pixels.
    """
    of_class = (label == torch.arange(classes, device=label.device)[:, None]) & member
    of_class &= of_class.sum(1, keepdim=True) >= least
    return sample_masks(vectors, of_class, count=count, traits=traits)


def sample_masks(
    vectors: Rows, of_class: Tensor, *, count: int, traits: Traits | None = None
) -> Samples:
    """Draw at most `count` pixels of every class; a pixel may belong to several.

    Args:
        vectors: (P, D) embeddings of all pixels.
        of_class: (K, P) bool.
        count: cap per class.
        traits: of shape (P,), kept with the drawn pixels.
    """
    pixels = of_class.shape[1]
    key = torch.rand(pixels, device=of_class.device).expand_as(of_class)
    score, index = key.masked_fill(~of_class, -1).topk(min(count, pixels), dim=1)
    return Samples(vectors[index], score >= 0, traits and traits.take(index))


def prototype_loss(
    anchors: Samples, centre: Tensor, negatives: Samples, *, temperature: float
) -> Tensor:
    """InfoNCE with one positive per class and negatives of that class (U2PL, arXiv:2203.03884).

    `l(a) = ln(e^{<a, c_k> / T} + sum_n e^{<a, n_k> / T}) - <a, c_k> / T`, averaged over the anchors
    of a class, then over the classes that have anchors and negatives.

    Args:
        anchors: (K, A, D).
        centre: (K, D) unit vectors.
        negatives: (K, M, D), in row k what is not of class k.
        temperature: T, above 0.

    Returns:
        0-d float32, at least 0; exactly 0, with a graph, if no class has both.
    """
    with torch.autocast(centre.device.type, enabled=False):
        a = anchors.vectors.float() / temperature
        near = torch.einsum("cad,cd->ca", a, centre.float())
        far = torch.einsum("cad,cmd->cam", a, negatives.vectors.float())
    log_negative = far.masked_fill(~negatives.valid[:, None], _NEVER).logsumexp(2)
    active = anchors.valid & negatives.valid.any(1, keepdim=True)
    loss = F.softplus(log_negative - near) * active
    per_class = loss.sum(1) / active.sum(1).clamp(min=1)
    return per_class.sum() / active.any(1).sum().clamp(min=1)


@dataclass(frozen=True)
class Pairs:
    """What a contrastive term compares; rows are classes.

    Attributes:
        anchors: (K, A, D).
        positives: (K, M, D).
        negatives: (K, M', D).
        skip_self: the anchors are the first slots of `positives`; none is its own positive.
    """

    anchors: Samples
    positives: Samples
    negatives: Samples
    skip_self: bool = False


@dataclass(frozen=True)
class Contrasted:
    """A contrastive term and what it rests on; all 0-d.

    Attributes:
        loss: float32, at least 0; exactly 0, with a graph, where `anchors` is 0.
        anchors: number of anchors that have a positive and a negative; no other counts.
        classes: number of classes that have such anchors.
        skipped: share of the drawn anchors that lack one of them; 0 where none is drawn.
    """

    loss: Tensor
    anchors: Tensor
    classes: Tensor
    skipped: Tensor


def contrasted(pairs: Pairs, *, temperature: float) -> Contrasted:
    """Supervised InfoNCE, one positive per denominator (ContrastiveSeg, arXiv:2101.11939).

    `l(a) = (1/|P_a|) sum_{k in P_a} [ln(e^{s_ak} + sum_{n in N_a} e^{s_an}) - s_ak]` with
    `s_ak = <z_a, z_k> / temperature`; P_a are the positives of the anchor's class, N_a the
    negatives of all other classes, without those whose second most probable class is the anchor's.
    Averaged over the anchors of a class, then over the classes; positives count by their trust,
    anchors by their emphasis.

    Args:
        pairs: anchors, positives, negatives.
        temperature: above 0.
    """
    anchors, positives, negatives = pairs.anchors, pairs.positives, pairs.negatives
    classes, count, _ = anchors.vectors.shape
    a = anchors.vectors / temperature
    # Similarities are divided by a small temperature, so half precision would lose them.
    with torch.autocast(a.device.type, enabled=False):
        near = torch.einsum("cad,ckd->cak", a, positives.vectors)
        far = torch.einsum("cad,ekd->caek", a, negatives.vectors)
    own = torch.arange(classes, device=a.device)[:, None, None]
    other = own != own.view(1, classes, 1)
    usable = (other & negatives.valid & (negatives.known.second != own))[:, None]
    log_negative = far.masked_fill(~usable, _NEVER).flatten(2).logsumexp(2)
    weight = (positives.known.trust * positives.valid)[:, None].expand(-1, count, -1)
    if pairs.skip_self:
        slots = torch.arange(weight.shape[2], device=a.device)
        weight = weight * (slots[:count, None] != slots)
    total = weight.sum(2)
    loss = (F.softplus(log_negative[..., None] - near) * weight).sum(2)
    loss = loss / total.clamp(min=_EPS)
    active = anchors.valid & (total > 0) & usable.flatten(2).any(2)
    share = anchors.known.emphasis * active
    per_class = (loss * share).sum(1) / share.sum(1).clamp(min=_EPS)
    used, present, drawn = active.sum(), active.any(1).sum(), anchors.valid.sum()
    mean = per_class.sum() / present.clamp(min=1)
    return Contrasted(mean, used, present, (drawn - used) / drawn.clamp(min=1))


class Memory(nn.Module):
    """Ring buffer of past embeddings per group and class; slots never written are never read.

    Args:
        groups: number of groups.
        classes: K.
        size: slots per group and class; 0 makes a memory that stays empty.
        dim: D.
    """

    vectors: Tensor
    trust: Tensor
    second: Tensor
    written: Tensor

    def __init__(self, *, groups: int, classes: int, size: int, dim: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("vectors", torch.zeros(groups, classes, size, dim))
        self.register_buffer("trust", torch.ones(groups, classes, size))
        self.register_buffer("second", torch.full((groups, classes, size), -1))
        self.register_buffer("written", torch.zeros(groups, classes, dtype=torch.int64))

    def read(self, group: int) -> Samples:
        """All slots of a group with their traits, those not yet written marked invalid."""
        slots = torch.arange(self.size, device=self.written.device)
        vectors, trust, second = (
            kept[group].clone() for kept in (self.vectors, self.trust, self.second)
        )
        traits = Traits(torch.ones_like(trust), trust, second)  # what is read is never an anchor
        return Samples(vectors, slots < self.written[group, :, None], traits)

    @torch.no_grad()
    def write(self, group: int, samples: Samples) -> None:
        """Store the valid samples of a group, overwriting the oldest."""
        if self.size == 0:
            return
        keep = samples.first(self.size)
        # Valid slots come first, so slot i goes to the position i after the last written one.
        offset = torch.arange(keep.valid.shape[1], device=self.written.device)
        slot = (self.written[group, :, None] + offset) % self.size
        row = torch.arange(len(slot), device=slot.device)[:, None]
        stored, known = (self.vectors, self.trust, self.second), keep.known
        for kept, new in zip(stored, (keep.vectors, known.trust, known.second), strict=True):
            valid = keep.valid.view(*slot.shape, *[1] * (new.ndim - 2))
            kept[group, row, slot] = torch.where(valid, new.to(kept.dtype), kept[group, row, slot])
        self.written[group] += keep.valid.sum(1)
