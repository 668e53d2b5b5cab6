"""Networks of MONAI and segmentation-models-pytorch behind `methods.base.SegNet`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor, nn

from benchmarks.common.errors import ConfigError, nearest
from benchmarks.config import MonaiConfig, SMPConfig
from benchmarks.engine.nets.swin import SwinDecoder
from methods.networks import Decoded, Decoder, SegNet

_MONAI_UP = {"transposed": "deconv", "linear": "nontrainable", "nearest": "pixelshuffle"}
_SMP_UP = {"transposed": "nearest", "linear": "bilinear", "nearest": "bicubic"}


class MonaiUNet(SegNet):
    """MONAI's BasicUNet; further decoders are those of BasicUNets with other up-sampling."""

    def __init__(
        self,
        config: MonaiConfig,
        *,
        ndim: int,
        in_channels: int,
        classes: int,
        decoders: Sequence[Decoder],
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
                upsample=_MONAI_UP.get(name, "deconv"),
            )
            for name in decoders
        ]
        first = nets[0]
        self.encoder = nn.ModuleList(
            [first.conv_0, first.down_1, first.down_2, first.down_3, first.down_4]
        )
        self.level_channels = config.features[:5]
        self.stage_channels = (config.features[5], *config.features[1:4])
        self.decoders = nn.ModuleList(
            SwinDecoder(ndim, self.level_channels, self.stage_channels, classes)
            if name == "swin"
            else nn.ModuleList([n.upcat_4, n.upcat_3, n.upcat_2, n.upcat_1, n.final_conv])
            for name, n in zip(decoders, nets, strict=True)
        )

    def encode(self, image: Tensor) -> list[Tensor]:
        """Maps of all levels, finest first."""
        levels: list[Tensor] = []
        for block in self.encoder:
            image = block(image)
            levels.append(image)
        return levels

    def decode(self, levels: Sequence[Tensor], decoder: int = 0) -> Decoded:
        """Output of one decoder."""
        chosen = self.decoders[decoder]
        if isinstance(chosen, SwinDecoder):
            return cast(Decoded, chosen(levels))
        *ups, out = cast(nn.ModuleList, chosen)
        x, stages = levels[-1], list[Tensor]()
        for skip, up in zip(levels[-2::-1], ups, strict=True):
            x = up(x, skip)
            stages.insert(0, x)
        return Decoded(out(x), tuple(stages))


def _check_encoder(config: SMPConfig) -> None:
    """Raise a ConfigError for a name that the library does not know."""
    from segmentation_models_pytorch.encoders import encoders

    if config.encoder.startswith(("tu-", "timm-")):
        return  # of timm, which knows its own names
    if config.encoder not in encoders:
        hint = nearest(config.encoder, encoders)
        raise ConfigError(f"train.network.encoder '{config.encoder}' is unknown: {hint}")
    there = encoders[config.encoder]["pretrained_settings"]
    if config.weights is not None and config.weights not in there:
        raise ConfigError(
            f"train.network.weights '{config.weights}' of {config.encoder} are unknown:"
            f" {nearest(config.weights, there)}; null trains from scratch"
        )


@contextmanager
def _obtaining(config: SMPConfig) -> Iterator[None]:
    """Say what to do where pre-trained weights cannot be downloaded.

    Raises:
        ConfigError: in place of what the downloading library raises.
    """
    try:
        yield
    except Exception as error:
        if config.weights is None:
            raise
        raise ConfigError(
            f"the weights '{config.weights}' of {config.encoder} are not on this machine and cannot"
            f" be downloaded ({type(error).__name__}). Train one step on a machine with a network"
            " and copy its ~/.cache/huggingface here (HF_HOME names another folder), or set"
            " train.network.weights: null"
        ) from error


class SMPUNet(SegNet):
    """U-Net of segmentation-models-pytorch with any of its encoders (2D).

    Its first level is the image itself, which no decoder reads.
    """

    def __init__(
        self, config: SMPConfig, *, in_channels: int, classes: int, decoders: Sequence[Decoder]
    ) -> None:
        super().__init__()
        import segmentation_models_pytorch as smp

        _check_encoder(config)
        with _obtaining(config):
            nets = [
                smp.Unet(
                    config.encoder,
                    encoder_weights=config.weights if number == 0 else None,
                    in_channels=in_channels,
                    classes=classes,
                    decoder_interpolation=_SMP_UP.get(name, "nearest"),
                )
                for number, name in enumerate(decoders)
            ]
        self.encoder = nets[0].encoder
        self.level_channels = tuple(nets[0].encoder.out_channels)
        blocks = reversed(nets[0].decoder.blocks)
        self.stage_channels = tuple(block.conv2[0].out_channels for block in blocks)
        self.decoders = nn.ModuleList(
            SwinDecoder(2, self.level_channels, self.stage_channels, classes)
            if name == "swin"
            else net.decoder
            for name, net in zip(decoders, nets, strict=True)
        )
        self.heads = nn.ModuleList(net.segmentation_head for net in nets)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Maps of all levels, finest first."""
        return cast(list[Tensor], self.encoder(image))

    def decode(self, levels: Sequence[Tensor], decoder: int = 0) -> Decoded:
        """Output of one decoder."""
        chosen = cast(Any, self.decoders[decoder])
        if isinstance(chosen, SwinDecoder):
            return cast(Decoded, chosen(levels))
        stages: list[Tensor] = []
        hooks = [b.register_forward_hook(lambda *a: stages.insert(0, a[2])) for b in chosen.blocks]
        try:
            logits = self.heads[decoder](chosen(list(levels)))
        finally:
            for hook in hooks:
                hook.remove()
        return Decoded(logits, tuple(stages))
