"""Networks of one encoder with several outputs, of which the finest or first is tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor

from methods.base import MethodParams
from methods.blocks.families import OneNet
from methods.blocks.scales import ScaleHeads
from methods.networks import NetBuilder

P = TypeVar("P", bound=MethodParams)


class ManyDecoders(OneNet[P]):
    """One encoder, several decoders. The first is tested, the others are logged beside it."""

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The other decoders, of features without perturbation."""

        def decoder(index: int) -> Callable[[Tensor], Tensor]:
            return lambda image: self.student.decode(self.student.encode(image), index).logits

        return {f"decoder_{i + 1}": decoder(i) for i in range(1, len(self.student.decoders))}


class ManyScales(OneNet[P]):
    """A network with heads on its decoder's stages. The finest scale is tested."""

    def setup(self, build_net: NetBuilder) -> None:
        """Network and heads."""
        super().setup(build_net)
        self.heads = ScaleHeads(self.student, self.classes, self.ndim)

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The coarse scales by their stride, without perturbation."""

        def scale(index: int) -> Callable[[Tensor], Tensor]:
            return lambda image: self.heads(self.student.decode(self.student.encode(image)))[index]

        return {f"scale_{2**i}": scale(i) for i in range(1, 1 + len(self.heads.heads))}
