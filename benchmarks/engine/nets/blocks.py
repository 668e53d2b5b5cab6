"""Convolutions and norms of the U-Net and of the stem of its transformer."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.config.training import Norm
from benchmarks.engine.nets.dropout import Dropout


class _InstanceNorm3d(nn.InstanceNorm3d):
    """The parent's, on CUDA by its batch norm of each image, which keeps channels last."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the parent class
        if input.device.type != "cuda":
            return super().forward(input)
        return norm_each(input, self.eps)


def norm_each(values: Tensor, eps: float) -> Tensor:
    """Instance norm without weights, in the memory layout of the values.

    Args:
        values: (N, C, *S).
        eps: added to the variances.
    """
    images = torch.split(values, 1)
    return torch.cat([F.batch_norm(x, None, None, training=True, eps=eps) for x in images])


_NORMS: dict[Norm, dict[int, type[nn.Module]]] = {
    "batch": {2: nn.BatchNorm2d, 3: nn.BatchNorm3d},
    "instance": {2: nn.InstanceNorm2d, 3: _InstanceNorm3d},
}


def conv(ndim: int) -> type[nn.Conv2d | nn.Conv3d]:
    """Convolution of a dimension, 2 or 3."""
    return nn.Conv3d if ndim == 3 else nn.Conv2d


class _ConvBlock(nn.Sequential):
    """Modules in a row; on CUDA a bias that the norm takes away again is not added.

    That pass over all maps, and the sum for its gradient, which is 0, were a tenth of Mean
    Teacher's step (bf16, 24 slices of 256 x 256, on an H200).
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the parent class
        if input.device.type != "cuda":
            return cast(Tensor, super().forward(input))  # type: ignore[no-untyped-call]
        conv_1, norm_1, act_1, dropout, conv_2, norm_2, act_2 = self
        half = dropout(act_1(normed(conv_1, norm_1, input)))
        return cast(Tensor, act_2(normed(conv_2, norm_2, half)))


def normed(convolution: nn.Module, norm: nn.Module, values: Tensor) -> Tensor:
    """`norm(convolution(values))`, where a bias that cancels reaches the running mean alone.

    Args:
        convolution: 3x3 or 3x3x3 with a bias.
        norm: of the batch or of each image.
        values: (N, C, *S).
    """
    mean, bias = getattr(norm, "running_mean", None), cast(Tensor, convolution.bias)
    if not (norm.training or mean is None):
        return cast(Tensor, norm(convolution(values)))
    apply = F.conv3d if values.ndim == 5 else F.conv2d
    out = apply(values, cast(Tensor, convolution.weight), padding=1)
    normal = cast(Tensor, norm(_Cancelled.apply(out, bias)))
    if isinstance(mean, Tensor) and norm.track_running_stats:
        # As the norm itself does, behind the back of autograd, which does not read it here.
        mean.data.add_(bias.data, alpha=cast(float, norm.momentum))
    return normal


class _Cancelled(torch.autograd.Function):
    """Values that a bias does not change; its gradient is 0."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, bias: Tensor) -> Tensor:
        ctx.bias = bias
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        return gradients[0], torch.zeros_like(ctx.bias)


def conv_block(
    ndim: int, first: int, last: int, norm: Norm, *, dropout: float = 0.0
) -> nn.Sequential:
    """Two 3x3 convolutions with a norm and leaky ReLU, dropout between them.

    Args:
        ndim: 2 or 3.
        first: channels before.
        last: channels after.
        norm: of the batch, or of each image without weights of its own, as in SSL4MIS.
        dropout: probability.
    """
    made = _NORMS[norm][ndim]
    return _ConvBlock(
        conv(ndim)(first, last, 3, padding=1),
        made(last),
        nn.LeakyReLU(inplace=True),
        Dropout(dropout),
        conv(ndim)(last, last, 3, padding=1),
        made(last),
        nn.LeakyReLU(inplace=True),
    )
