"""Attraction of pixels to a memory of their class, by learned selectors (Alonso et al. 2021).

arXiv:2104.13415, in the form of SS-Net's code (github.com/ycwu1997/SS-Net at c0a8bf6,
`utils/contrastive_losses.py`, `utils/feature_memory.py`, `networks/unet.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _mlp(first: int, width: int, last: int, activation: nn.Module) -> nn.Sequential:
    """Linear, batch norm, activation, linear, on rows."""
    hidden = nn.Linear(first, width), nn.BatchNorm1d(width)
    return nn.Sequential(*hidden, activation, nn.Linear(width, last))


def _selectors(classes: int, dim: int) -> nn.ModuleList:
    """One per foreground class."""
    return nn.ModuleList(_mlp(dim, dim, 1, nn.LeakyReLU(0.2)) for _ in range(1, classes))


def _weighted_mean(rows: Tensor, score: Tensor) -> Tensor:
    """Mean (D,) of the unit vectors of rows (P, D), weighted by the sigmoid of a score (P, 1)."""
    weight = F.normalize(score.float().sigmoid(), p=1, dim=0)
    return (weight * F.normalize(rows.float(), dim=1)).sum(0)


class ClassAttraction(nn.Module):
    """Heads, selectors and memory of `pull`; the background has neither selector nor memory.

    Args:
        channels: of the pixels' features.
        classes: K.
        dim: D of the embedding.
        size: vectors per class that are remembered, at least 2.
        literal: as the code does, remember the pixels of lowest score instead of highest and weigh
            all of them alike (its weights are permuted before they are rescaled: each becomes 1).
    """

    keys: Tensor
    stored: Tensor

    def __init__(self, channels: int, *, classes: int, dim: int, size: int, literal: bool) -> None:
        super().__init__()
        self.literal = literal
        self.projection = _mlp(channels, dim, dim, nn.ReLU())
        self.prediction = _mlp(dim, dim, dim, nn.ReLU())
        self.select_pixel, self.select_memory = (_selectors(classes, dim) for _ in range(2))
        self.register_buffer("keys", torch.zeros(classes - 1, size, dim))
        self.register_buffer("stored", torch.zeros(classes - 1, dtype=torch.int64))

    @torch.no_grad()
    def remember(self, features: Tensor, label: Tensor) -> None:
        """Replace the memory of every foreground class that has pixels.

        The pixel selector ranks projections, made with running statistics.

        Args:
            features: (P, C) of labelled pixels.
            label: (P,) int64 in [0, K), 0 where the prediction is wrong.
        """
        self.projection.eval()
        projected = self.projection(features).float()
        self.projection.train()
        for k, select in enumerate(self.select_pixel):
            best, size = projected[label == k + 1], self.keys.shape[1]
            if len(best) > size:
                rank = select(best)[:, 0].topk(size, largest=not self.literal).indices
                best = best[rank]
            if len(best):
                self.keys[k, : len(best)] = F.normalize(best, dim=1)
                self.stored[k] = len(best)

    def pulled(self, label: Tensor) -> Tensor:
        """Number of pixels of labels (P,) on which `pull` acts, those of classes that count."""
        own = torch.stack([(label == k + 1).sum() for k in range(len(self.stored))])
        return (own * (own > 1) * (self.stored > 1)).sum()

    def pull(self, features: Tensor, label: Tensor) -> Tensor:
        """`(1/K) sum_{k >= 1} mean_{i, m} a_i b_m (1 - cos(q_i, m))`, see `methods/ss_net.py`.

        Args:
            features: (P, C), which get a gradient, but not through the selectors.
            label: (P,) int64 in [0, K); a class counts with two pixels and two vectors in memory.

        Returns:
            0-d float32 in [0, 2].
        """
        q = self.prediction(self.projection(features)).float()
        total: Tensor = 0 * q.sum()
        selectors = zip(self.select_pixel, self.select_memory, strict=True)
        for k, (pixel, memory) in enumerate(selectors):
            own, keys = q[label == k + 1], self.keys[k, : int(self.stored[k])].clone()
            if min(len(own), len(keys)) > 1:
                # The weights sum to 1 on each side, so the mean over pairs is a product of means.
                score = torch.zeros_like(keys[:, :1]) if self.literal else memory(keys)
                a, b = _weighted_mean(own, pixel(own.detach())), _weighted_mean(keys, score)
                total = total + (1 - (a * b).sum()).clamp(min=0)
        return total / (len(self.select_pixel) + 1)
