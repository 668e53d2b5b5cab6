"""Networks behind the one interface that methods see (`methods.base.SegNet`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from benchmarks.common.errors import ConfigError
from benchmarks.config import MonaiConfig, Network, SMPConfig, UNetConfig
from benchmarks.engine.nets.swin import SwinDecoder, SwinUNet
from benchmarks.engine.nets.unet import UNet, UNetDecoder
from benchmarks.engine.nets.wrapped import MonaiUNet, SMPUNet
from benchmarks.engine.seeding import fork_seed
from methods.networks import Architecture, Decoder, SegNet

# The first, second and third decoder of a network with several (MC-Net's scheme), unless the
# configured one is another, which then comes first.
_SCHEME: tuple[Decoder, ...] = ("transposed", "linear", "nearest")


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

    def __call__(
        self, *, decoders: int | Sequence[Decoder] = 1, architecture: Architecture = "configured"
    ) -> SegNet:
        """Build the next network.

        Args:
            decoders: 1 to 3, the configured one and then what is left of transposed, linear,
                nearest; or their kinds by name.
            architecture: `swin` builds a transformer of the configured widths instead.

        Raises:
            ConfigError: the kind does not serve this dimension or number of decoders.
        """
        if isinstance(decoders, int):
            if not 1 <= decoders <= len(_SCHEME):
                raise ConfigError(
                    f"a network has 1 to {len(_SCHEME)} decoders of different kinds, given"
                    f" {decoders}; name the kinds to have more"
                )
            first = self._network.up if isinstance(self._network, UNetConfig) else _SCHEME[0]
            decoders = (first, *(kind for kind in _SCHEME if kind != first))[:decoders]
        with fork_seed(self._seed, "net", self._built):
            self._built += 1
            if architecture == "swin":
                only: list[Decoder] = ["swin"] * len(decoders)
                return self._own(SwinUNet, widths(self._network), only)
            return self._configured(decoders)

    def _configured(self, decoders: Sequence[Decoder]) -> SegNet:
        network, common = self._network, {"in_channels": self._in, "classes": self._classes}
        if isinstance(network, UNetConfig):
            return self._own(UNet, network.channels, decoders)
        if isinstance(network, MonaiConfig):
            return MonaiUNet(network, ndim=self._ndim, decoders=decoders, **common)
        if self._ndim != 2:
            raise ConfigError("train.network.kind 'smp' is 2D; use 'unet' or 'monai' for 3D data")
        return SMPUNet(network, decoders=decoders, **common)

    def _own(
        self,
        kind: type[UNet | SwinUNet],
        channels: tuple[int, ...],
        decoders: Sequence[Decoder],
    ) -> SegNet:
        norm = self._network.norm if isinstance(self._network, UNetConfig) else "batch"
        made: Iterator[nn.Module] = (
            SwinDecoder(self._ndim, channels, channels[:-1], self._classes, norm)
            if name == "swin"
            else UNetDecoder(self._ndim, channels, self._classes, name, norm)
            for name in decoders
        )
        return kind(
            ndim=self._ndim, in_channels=self._in, channels=channels, decoders=made, norm=norm
        )


def widths(network: Network) -> tuple[int, ...]:
    """Channels per level of the network, or of a transformer that stands beside it."""
    if isinstance(network, UNetConfig):
        return network.channels
    return network.features[:5] if isinstance(network, MonaiConfig) else UNetConfig().channels


def stride(network: Network) -> int:
    """Every spatial axis of the input must be a multiple of this many voxels."""
    return (
        int(2 ** (len(network.channels) - 1))
        if isinstance(network, UNetConfig)
        else (32 if isinstance(network, SMPConfig) else 16)
    )


def compile_networks(method: nn.Module) -> None:
    """Let `torch.compile` make kernels of every encoder and decoder; needs a C++ compiler or CUDA.

    Args:
        method: whose networks, teachers included, are compiled at their first pass.
    """
    # The ledger walks the graph of a pass several times; donated buffers allow a single walk.
    torch._functorch.config.donated_buffer = False
    for net in method.modules():
        if isinstance(net, SegNet):
            for name in ("encode", "decode"):
                setattr(net, name, torch.compile(getattr(net, name), dynamic=False))
