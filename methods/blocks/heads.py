"""Projection head of contrastive methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
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

    def rows(self, features: Tensor) -> ProjectedRows:
        """The same vectors, each computed only when it is read; the map is never projected.

        Statistics of the batch norm are those of the whole map: a 1x1 convolution `W x + b` has
        mean `W m + b` and variance `diag(W S W^T)`, where m and S are mean and covariance of x.

        Args:
            features: (N, C, *G).
        """
        with torch.autocast(features.device.type, enabled=False):
            x = features.flatten(2).float()
            mean, variance = self._statistics(x) if self.training else self._running()
        return ProjectedRows(self.layers, x, mean, variance)

    def _running(self) -> tuple[Tensor, Tensor]:
        norm = cast(nn.BatchNorm2d, self.layers[1])
        return cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance (C,) of the convolved points (N, C, P), as the batch norm sees them."""
        conv, norm = cast(nn.Conv2d, self.layers[0]), cast(nn.BatchNorm2d, self.layers[1])
        weight, points = conv.weight.flatten(1).float(), x.shape[0] * x.shape[2]
        mean = x.mean((0, 2))
        # A product of the map with itself keeps the map alone for the gradient; centring it first
        # would keep a copy.
        covariance = torch.bmm(x, x.mT).sum(0) / points - torch.outer(mean, mean)
        variance = ((weight @ covariance) * weight).sum(1).clamp(min=0)
        mean = weight @ mean + cast(Tensor, conv.bias)
        with torch.no_grad():
            unbiased = variance * points / max(points - 1, 1)
            for kept, seen in zip(self._running(), (mean, unbiased), strict=True):
                kept.lerp_(seen, cast(float, norm.momentum))
        return mean, variance


@dataclass(frozen=True)
class ProjectedRows:
    """Embeddings of the points of a map, made by `ProjectionHead.rows`; indexed like (N P, D).

    Attributes:
        layers: of the head.
        x: (N, C, P) float32, the map.
        mean: (C,) of the first convolution's output over the map.
        variance: (C,) of the same.
    """

    layers: nn.Sequential
    x: Tensor
    mean: Tensor
    variance: Tensor

    def __getitem__(self, index: Tensor) -> Tensor:
        """Unit vectors (*I, D) float32 of the points `index` (*I) int64, in [0, N P)."""
        first, norm, relu, last = self.layers
        norm = cast(nn.BatchNorm2d, norm)
        points = self.x.shape[2]
        with torch.autocast(self.x.device.type, enabled=False):
            hidden = _linear(self.x[index // points, :, index % points], first)
            scale = norm.weight * (self.variance + norm.eps).rsqrt()
            hidden = relu((hidden - self.mean) * scale + norm.bias)
            return F.normalize(_linear(hidden, last), dim=-1)


def _linear(rows: Tensor, convolution: nn.Module) -> Tensor:
    """A 1x1 convolution of rows (*I, C)."""
    weight = cast(Tensor, convolution.weight).flatten(1)
    return F.linear(rows, weight, cast(Tensor, convolution.bias))
