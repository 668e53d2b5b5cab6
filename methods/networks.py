"""What methods see of a network: an encoder, one or more decoders, and how to build one.

Shape letters as in `methods/base.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor, nn

# Up-sampling of a convolutional decoder, or one of shifted-window attention.
Decoder = Literal["transposed", "linear", "nearest", "swin"]
Architecture = Literal["configured", "swin"]

# Index into `Decoded.stages` of the map at a quarter of the resolution.
_QUARTER = 2


@dataclass(frozen=True)
class Decoded:
    """Output of one decoder.

    Attributes:
        logits: (N, K, *S).
        stages: the decoder's maps (N, F_i, *S / 2^i), finest first, at least three.
    """

    logits: Tensor
    stages: tuple[Tensor, ...]

    @property
    def features(self) -> Tensor:
        """The map at a quarter of the resolution: (N, F, *G)."""
        return self.stages[_QUARTER]


class SegNet(nn.Module, ABC):
    """A segmentation network with one encoder and one or more decoders.

    Attributes:
        decoders: the decoders; the first is the one `forward` uses.
        level_channels: channels of the encoder's levels, finest first.
        stage_channels: channels of a decoder's stages, finest first.
    """

    decoders: nn.ModuleList
    level_channels: tuple[int, ...]
    stage_channels: tuple[int, ...]

    @property
    def feature_channels(self) -> int:
        """F of `Decoded.features`."""
        return self.stage_channels[_QUARTER]

    @abstractmethod
    def encode(self, image: Tensor) -> list[Tensor]:
        """Encoder maps (N, F_i, ...) of an image (N, C, *S) float32, finest first."""

    @abstractmethod
    def decode(self, levels: Sequence[Tensor], decoder: int = 0) -> Decoded:
        """Output of one decoder; a method may have perturbed the encoder's maps before.

        Args:
            levels: as given by `encode`.
            decoder: index.
        """

    def outputs(self, image: Tensor) -> list[Decoded]:
        """Outputs of all decoders from one encoder pass over (N, C, *S) float32."""
        levels = self.encode(image)
        return [self.decode(levels, index) for index in range(len(self.decoders))]

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, K, *S) of the first decoder; the others are not computed."""
        return self.decode(self.encode(image)).logits


class NetBuilder(Protocol):
    """Makes a network of the configured kind; the n-th call of a run has its own random stream."""

    def __call__(
        self, *, decoders: int | Sequence[Decoder] = 1, architecture: Architecture = "configured"
    ) -> SegNet:
        """Build a network.

        Args:
            decoders: their number, which then differ in up-sampling, or their kinds.
            architecture: `swin` builds a transformer from scratch, whatever is configured.
        """
        ...
