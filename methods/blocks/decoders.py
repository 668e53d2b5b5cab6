"""Networks of one encoder with several outputs, of which the finest or first is tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor

from methods.base import MethodParams
from methods.blocks.families import OneNet
from methods.blocks.scales import ScaleHeads
from methods.networks import NetBuilder, SegNet

P = TypeVar("P", bound=MethodParams)


def other_decoders(net: SegNet) -> Mapping[str, Callable[[Tensor], Tensor]]:
    """All decoders but the first, of features without perturbation."""

    def decoder(index: int) -> Callable[[Tensor], Tensor]:
        return lambda image: net.decode(net.encode(image), index).logits

    return {f"decoder_{i + 1}": decoder(i) for i in range(1, len(net.decoders))}


def coarse_scales(net: SegNet, heads: ScaleHeads) -> Mapping[str, Callable[[Tensor], Tensor]]:
    """All scales but the finest by their stride, without perturbation."""

    def scale(index: int) -> Callable[[Tensor], Tensor]:
        return lambda image: heads(net.decode(net.encode(image)))[index]

    return {f"scale_{2**i}": scale(i) for i in range(1, 1 + len(heads.heads))}


class ManyDecoders(OneNet[P]):
    """One encoder, several decoders. The first is tested, the others are logged beside it."""

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The other decoders."""
        return other_decoders(self.student)


class ManyScales(OneNet[P]):
    """A network with heads on its decoder's stages. The finest scale is tested."""

    def setup(self, build_net: NetBuilder) -> None:
        """Network and heads."""
        super().setup(build_net)
        self.heads = ScaleHeads(self.student, self.classes, self.ndim)

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The coarse scales."""
        return coarse_scales(self.student, self.heads)
