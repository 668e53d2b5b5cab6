"""Networks behind the one interface that methods see (`methods.base.SegNet`)."""

from __future__ import annotations

from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from benchmarks.config import MonaiConfig, Network, SMPConfig, UNetConfig
from benchmarks.engine.seeding import fork_seed
from benchmarks.errors import ConfigError
from methods.base import SegNet, View

# Encoder dropout per level and kernel sizes: SSL4MIS `networks/unet.py`.
_DROPOUT = (0.05, 0.1, 0.2, 0.3, 0.5, 0.5)

# Up-sampling of the first, second and third decoder (MC-Net's scheme).
UpSampling = Literal["transposed", "linear", "nearest"]
_UP: tuple[UpSampling, ...] = ("transposed", "linear", "nearest")


def _conv_block(ndim: int, channels: tuple[int, int], dropout: float) -> nn.Sequential:
    conv = nn.Conv3d if ndim == 3 else nn.Conv2d
    norm = nn.BatchNorm3d if ndim == 3 else nn.BatchNorm2d
    first, last = channels
    return nn.Sequential(
        conv(first, last, 3, padding=1),
        norm(last),
        nn.LeakyReLU(inplace=True),
        nn.Dropout(dropout),
        conv(last, last, 3, padding=1),
        norm(last),
        nn.LeakyReLU(inplace=True),
    )


class _Up(nn.Module):
    """Doubles the resolution, joins the skip connection and convolves."""

    def __init__(self, ndim: int, low: int, skip: int, mode: UpSampling) -> None:
        super().__init__()
        if mode == "transposed":
            transposed = nn.ConvTranspose3d if ndim == 3 else nn.ConvTranspose2d
            self.up: nn.Module = transposed(low, skip, 2, stride=2)
        else:
            linear = "trilinear" if ndim == 3 else "bilinear"
            conv = nn.Conv3d if ndim == 3 else nn.Conv2d
            resize = (
                nn.Upsample(scale_factor=2, mode=linear, align_corners=True)
                if mode == "linear"
                else nn.Upsample(scale_factor=2)
            )
            self.up = nn.Sequential(conv(low, skip, 1), resize)
        self.conv = _conv_block(ndim, (2 * skip, skip), 0.0)

    def forward(self, low: Tensor, skip: Tensor) -> Tensor:
        return cast(Tensor, self.conv(torch.cat([skip, self.up(low)], 1)))


class _UNetDecoder(nn.Module):
    def __init__(
        self, ndim: int, channels: tuple[int, ...], classes: int, mode: UpSampling
    ) -> None:
        super().__init__()
        pairs = zip(channels[:0:-1], channels[-2::-1], strict=True)
        self.ups = nn.ModuleList(_Up(ndim, low, skip, mode) for low, skip in pairs)
        conv = nn.Conv3d if ndim == 3 else nn.Conv2d
        self.out = conv(channels[0], classes, 3, padding=1)

    def forward(self, levels: list[Tensor]) -> View:
        x, features = levels[-1], levels[-1]
        for level, up in zip(range(len(levels) - 2, -1, -1), self.ups, strict=True):
            x = up(x, levels[level])
            features = x if level == 2 else features
        return View(self.out(x), features)


class UNet(SegNet):
    """U-Net of the SSL4MIS protocol: batch norm, leaky ReLU, dropout in the encoder only.

    Args:
        ndim: 2 or 3.
        in_channels: C.
        classes: K.
        channels: per level; every spatial axis must be a multiple of 2^(levels - 1).
        decoders: their number; they differ in up-sampling.
    """

    def __init__(
        self, *, ndim: int, in_channels: int, classes: int, channels: tuple[int, ...], decoders: int
    ) -> None:
        super().__init__()
        pool = nn.MaxPool3d if ndim == 3 else nn.MaxPool2d
        before = (in_channels, *channels[:-1])
        self.encoder = nn.ModuleList(
            _conv_block(ndim, pair, dropout)
            for pair, dropout in zip(
                zip(before, channels, strict=True), _DROPOUT[: len(channels)], strict=True
            )
        )
        self.pool = pool(2)
        self.decoders = nn.ModuleList(
            _UNetDecoder(ndim, channels, classes, mode) for mode in _UP[:decoders]
        )
        self.feature_channels = channels[2]

    def _encode(self, image: Tensor) -> list[Tensor]:
        levels: list[Tensor] = []
        for block in self.encoder:
            image = block(self.pool(image) if levels else image)
            levels.append(image)
        return levels

    def views(self, image: Tensor) -> list[View]:
        """All decoders on one encoder pass."""
        levels = self._encode(image)
        return [decoder(levels) for decoder in self.decoders]

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the first decoder."""
        return cast(View, self.decoders[0](self._encode(image))).logits


class MonaiUNet(SegNet):
    """MONAI's BasicUNet; further decoders are those of BasicUNets with other up-sampling."""

    def __init__(
        self, config: MonaiConfig, *, ndim: int, in_channels: int, classes: int, decoders: int
    ) -> None:
        super().__init__()
        from monai.networks.nets.basic_unet import BasicUNet

        nets = [
            BasicUNet(
                spatial_dims=ndim,
                in_channels=in_channels,
                out_channels=classes,
                features=config.features,
                norm="batch",
                dropout=config.dropout,
                upsample=mode,
            )
            for mode in ("deconv", "nontrainable", "pixelshuffle")[:decoders]
        ]
        first = nets[0]
        self.encoder = nn.ModuleList(
            [first.conv_0, first.down_1, first.down_2, first.down_3, first.down_4]
        )
        self.decoders = nn.ModuleList(
            nn.ModuleList([n.upcat_4, n.upcat_3, n.upcat_2, n.upcat_1, n.final_conv]) for n in nets
        )
        self.feature_channels = config.features[2]

    def _encode(self, image: Tensor) -> list[Tensor]:
        levels: list[Tensor] = []
        for block in self.encoder:
            image = block(image)
            levels.append(image)
        return levels

    @staticmethod
    def _decode(decoder: nn.Module, levels: list[Tensor]) -> View:
        *ups, out = cast(nn.ModuleList, decoder)
        x, features = levels[-1], levels[-1]
        for level, up in zip((3, 2, 1, 0), ups, strict=True):
            x = up(x, levels[level])
            features = x if level == 2 else features
        return View(out(x), features)

    def views(self, image: Tensor) -> list[View]:
        """All decoders on one encoder pass."""
        levels = self._encode(image)
        return [self._decode(decoder, levels) for decoder in self.decoders]

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the first decoder."""
        return self._decode(self.decoders[0], self._encode(image)).logits


class SMPUNet(SegNet):
    """U-Net of segmentation-models-pytorch with any of its encoders (2D)."""

    def __init__(self, config: SMPConfig, *, in_channels: int, classes: int, decoders: int) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp

        nets = [
            smp.Unet(
                config.encoder,
                encoder_weights=config.weights if first else None,
                in_channels=in_channels,
                classes=classes,
                decoder_interpolation=mode,
            )
            for first, mode in zip(
                (True, False, False), ("nearest", "bilinear", "bicubic"), strict=True
            )
        ][:decoders]
        self.encoder = nets[0].encoder
        self.decoders = nn.ModuleList(net.decoder for net in nets)
        self.heads = nn.ModuleList(net.segmentation_head for net in nets)
        self.feature_channels = nets[0].decoder.blocks[2].conv2[0].out_channels

    def _decode(self, index: int, levels: list[Tensor]) -> View:
        decoder = cast(Any, self.decoders[index])
        features: list[Tensor] = []
        hook = decoder.blocks[2].register_forward_hook(lambda *args: features.append(args[2]))
        try:
            logits = self.heads[index](decoder(levels))
        finally:
            hook.remove()
        return View(logits, features[0])

    def views(self, image: Tensor) -> list[View]:
        """All decoders on one encoder pass."""
        levels = self.encoder(image)
        return [self._decode(i, levels) for i in range(len(self.decoders))]

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the first decoder."""
        return cast(Tensor, self.heads[0](self.decoders[0](self.encoder(image))))


class Builder:
    """Builds the configured network; the n-th network of a run draws from its own random stream.

    Args:
        network: configuration.
        ndim: 2 or 3.
        in_channels: C.
        classes: K.
        seed: of the run; equal for all methods, so that they start from equal weights.
    """

    def __init__(
        self, network: Network, *, ndim: int, in_channels: int, classes: int, seed: int
    ) -> None:
        self._network, self._ndim, self._in, self._classes = network, ndim, in_channels, classes
        self._seed, self._built = seed, 0

    def __call__(self, *, decoders: int = 1) -> SegNet:
        """Build the next network.

        Args:
            decoders: 1 to 3.

        Raises:
            ConfigError: the kind does not serve this dimension or number of decoders.
        """
        if not 1 <= decoders <= len(_UP):
            raise ConfigError(f"a network has 1 to {len(_UP)} decoders, given {decoders}")
        with fork_seed(self._seed, "net", self._built):
            self._built += 1
            return self._build(decoders)

    def _build(self, decoders: int) -> SegNet:
        network = self._network
        sizes = {"in_channels": self._in, "classes": self._classes, "decoders": decoders}
        if isinstance(network, UNetConfig):
            return UNet(ndim=self._ndim, channels=network.channels, **sizes)
        if isinstance(network, MonaiConfig):
            return MonaiUNet(network, ndim=self._ndim, **sizes)
        if self._ndim != 2:
            raise ConfigError("train.network.kind 'smp' is 2D; use 'unet' or 'monai' for 3D data")
        return SMPUNet(network, **sizes)


def stride(network: Network) -> int:
    """Every spatial axis of the input must be a multiple of this many voxels."""
    return (
        int(2 ** (len(network.channels) - 1))
        if isinstance(network, UNetConfig)
        else (32 if isinstance(network, SMPConfig) else 16)
    )
