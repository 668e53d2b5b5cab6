"""The U-Net of the SSL4MIS protocol."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from benchmarks.config.training import Norm
from benchmarks.engine.nets.blocks import conv, conv_block
from methods.blocks.resize import resize_linear
from methods.networks import Decoded, Decoder, SegNet

# Encoder dropout per level and kernel sizes: SSL4MIS `networks/unet.py`.
_DROPOUT = (0.05, 0.1, 0.2, 0.3, 0.5, 0.5)


class _Doubled(nn.Upsample):
    """Linear interpolation to twice the resolution, by `resize_linear`."""

    def __init__(self, ndim: int) -> None:
        mode = "trilinear" if ndim == 3 else "bilinear"
        super().__init__(scale_factor=2, mode=mode, align_corners=True)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the parent class
        return resize_linear(input, [2 * s for s in input.shape[2:]], align_corners=True)


class _Up(nn.Module):
    """Doubles the resolution, joins the skip connection and convolves."""

    def __init__(self, ndim: int, low: int, skip: int, mode: Decoder, norm: Norm) -> None:
        super().__init__()
        if mode == "transposed":
            transposed = nn.ConvTranspose3d if ndim == 3 else nn.ConvTranspose2d
            self.up: nn.Module = transposed(low, skip, 2, stride=2)
        else:
            resize = _Doubled(ndim) if mode == "linear" else nn.Upsample(scale_factor=2)
            self.up = nn.Sequential(conv(ndim)(low, skip, 1), resize)
        self.conv = conv_block(ndim, 2 * skip, skip, norm)

    def forward(self, low: Tensor, skip: Tensor) -> Tensor:
        return cast(Tensor, self.conv(torch.cat([skip, self.up(low)], 1)))


class UNetDecoder(nn.Module):
    """Convolutional decoder with skip connections.

    Args:
        ndim: 2 or 3.
        channels: of the encoder's levels, finest first.
        classes: K.
        mode: up-sampling.
        norm: of the convolutions.
    """

    def __init__(
        self, ndim: int, channels: Sequence[int], classes: int, mode: Decoder, norm: Norm
    ) -> None:
        super().__init__()
        pairs = zip(channels[:0:-1], channels[-2::-1], strict=True)
        self.ups = nn.ModuleList(_Up(ndim, low, skip, mode, norm) for low, skip in pairs)
        self.out = conv(ndim)(channels[0], classes, 3, padding=1)

    def forward(self, levels: Sequence[Tensor]) -> Decoded:
        """Logits and the maps of all stages from the encoder's levels, finest first."""
        x, stages = levels[-1], list[Tensor]()
        for skip, up in zip(levels[-2::-1], self.ups, strict=True):
            x = up(x, skip)
            stages.insert(0, x)
        return Decoded(self.out(x), tuple(stages))


class UNet(SegNet):
    """U-Net of the SSL4MIS protocol: leaky ReLU, dropout in the encoder only.

    Args:
        ndim: 2 or 3.
        in_channels: C.
        channels: per level; every spatial axis must be a multiple of 2^(levels - 1).
        decoders: made from `channels`, the tested one first; a generator, so that the encoder's
            first weights do not depend on their number.
        norm: of the convolutions.
    """

    def __init__(
        self,
        *,
        ndim: int,
        in_channels: int,
        channels: tuple[int, ...],
        decoders: Iterable[nn.Module],
        norm: Norm,
    ) -> None:
        super().__init__()
        pool = nn.MaxPool3d if ndim == 3 else nn.MaxPool2d
        before = (in_channels, *channels[:-1])
        self.encoder = nn.ModuleList(
            conv_block(ndim, first, last, norm, dropout=dropout)
            for first, last, dropout in zip(
                before, channels, _DROPOUT[: len(channels)], strict=True
            )
        )
        self.pool = pool(2)
        self.decoders = nn.ModuleList(decoders)
        self.level_channels, self.stage_channels = channels, channels[:-1]

    def encode(self, image: Tensor) -> list[Tensor]:
        """Maps of all levels, finest first."""
        levels: list[Tensor] = []
        for block in self.encoder:
            image = block(self.pool(image) if levels else image)
            levels.append(image)
        return levels

    def decode(self, levels: Sequence[Tensor], decoder: int = 0) -> Decoded:
        """Output of one decoder."""
        return cast(Decoded, self.decoders[decoder](levels))
