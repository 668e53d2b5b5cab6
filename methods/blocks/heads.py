"""Projection head of contrastive methods."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F


class ProjectionHead(nn.Module):
    """1x1 convolution, batch norm, ReLU, 1x1 convolution, L2 normalisation (ContrastiveSeg's head).

    Run it on labelled and unlabelled maps together, so that its batch statistics cover both.

    Args:
        channels: C of the feature map.
        dim: D of the embedding.
        ndim: spatial axes, 2 or 3.
    """

    def __init__(self, channels: int, dim: int, *, ndim: int) -> None:
        super().__init__()
        conv = nn.Conv3d if ndim == 3 else nn.Conv2d
        norm = nn.BatchNorm3d if ndim == 3 else nn.BatchNorm2d
        self.layers = nn.Sequential(
            conv(channels, channels, 1), norm(channels), nn.ReLU(), conv(channels, dim, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Unit vectors (N, D, *G) float32 for features (N, C, *G)."""
        return F.normalize(cast(Tensor, self.layers(features)).float(), dim=1)
