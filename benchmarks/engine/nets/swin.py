"""Shifted-window attention (Swin transformer, Liu et al. 2021, arXiv:2103.14030), 2D and 3D."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from benchmarks.config.training import Norm
from benchmarks.engine.nets.blocks import conv, conv_block
from methods.blocks.resize import resize_linear
from methods.networks import Decoded, SegNet

_WINDOW = {2: 7, 3: 4}  # tokens per axis: 7 as in the paper, 4 in 3D to bound the cost
_DEPTH = 2  # one plain and one shifted layer
_HEAD = 16  # channels per head, where the width allows
_FINEST = 2  # levels finer than a quarter of the resolution are convolutional


def _attention(ndim: int, width: int) -> nn.Module:
    from monai.networks.nets.swin_unetr import BasicLayer

    layer: nn.Module = BasicLayer(
        dim=width,
        depth=_DEPTH,
        num_heads=width // _HEAD if width >= _HEAD and width % _HEAD == 0 else 1,
        window_size=(_WINDOW[ndim],) * ndim,
        drop_path=[0.0] * _DEPTH,
        qkv_bias=True,
    )
    return layer


class SwinDecoder(nn.Module):
    """Decoder whose coarse stages attend inside shifted windows; it serves any encoder.

    Args:
        ndim: 2 or 3.
        levels: channels of the encoder's levels, finest first.
        stages: channels of the decoder's stages, finest first, one fewer.
        classes: K.
        norm: of its convolutional stages.
    """

    def __init__(
        self,
        ndim: int,
        levels: Sequence[int],
        stages: Sequence[int],
        classes: int,
        norm: Norm = "batch",
    ) -> None:
        super().__init__()
        below = (*stages[1:], levels[-1])
        self.join = nn.ModuleList(
            conv(ndim)(low + skip, width, 1)
            for low, skip, width in reversed(list(zip(below, levels[:-1], stages, strict=True)))
        )
        self.mix = nn.ModuleList(
            _attention(ndim, width) if level >= _FINEST else conv_block(ndim, width, width, norm)
            for level, width in reversed(list(enumerate(stages)))
        )
        self.out = conv(ndim)(stages[0], classes, 3, padding=1)

    def forward(self, levels: Sequence[Tensor]) -> Decoded:
        """Logits and the maps of all stages from the encoder's levels, finest first."""
        x, stages = levels[-1], list[Tensor]()
        for skip, join, mix in zip(levels[-2::-1], self.join, self.mix, strict=True):
            up = resize_linear(x, skip.shape[2:], align_corners=False)
            x = mix(join(torch.cat([skip, up], 1)))
            stages.insert(0, x)
        return Decoded(self.out(x), tuple(stages))


class SwinUNet(SegNet):
    """U-shaped transformer trained from scratch: convolutional stem, windowed attention below.

    Args:
        ndim: 2 or 3.
        in_channels: C.
        channels: per level, each at half the resolution of the one before.
        decoders: made from `channels`, the tested one first; a generator, so that the encoder's
            first weights do not depend on their number.
        norm: of the stem.
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
        self.stem = conv_block(ndim, in_channels, channels[0], norm)
        pairs = pairwise(channels)
        self.merge = nn.ModuleList(conv(ndim)(a, b, 2, stride=2) for a, b in pairs)
        self.attend = nn.ModuleList(_attention(ndim, width) for width in channels[1:])
        self.decoders = nn.ModuleList(decoders)
        self.level_channels, self.stage_channels = channels, channels[:-1]

    def encode(self, image: Tensor) -> list[Tensor]:
        """Maps of all levels, finest first."""
        levels: list[Tensor] = [self.stem(image)]
        for merge, attend in zip(self.merge, self.attend, strict=True):
            levels.append(attend(merge(levels[-1])))
        return levels

    def decode(self, levels: Sequence[Tensor], decoder: int = 0) -> Decoded:
        """Output of one decoder."""
        return cast(Decoded, self.decoders[decoder](levels))
