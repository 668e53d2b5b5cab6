"""A network that gives the logits and maps it was made with, whatever the images show."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from methods.base import Batch
from methods.networks import Decoded, SegNet


class GivenNet(SegNet):
    """The logits (N, K, *S) are its parameter, and again for every further N images.

    Args:
        logits: of N images.
        maps: (N, F, *G), stands for every stage of the decoder; the logits by default.
    """

    def __init__(self, logits: Tensor, maps: Tensor | None = None) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.maps = nn.Parameter(logits.clone() if maps is None else maps)
        self.level_channels = self.stage_channels = (self.maps.shape[1],) * 3

    def encode(self, image: Tensor) -> list[Tensor]:
        return [image]

    def decode(self, levels: Sequence[Tensor], decoder: int = 0) -> Decoded:  # noqa: ARG002
        times = len(levels[0]) // len(self.logits)
        logits, maps = (v.repeat(times, *[1] * (v.ndim - 1)) for v in (self.logits, self.maps))
        return Decoded(logits, (maps,) * 3)


def blank(labeled: int, unlabeled: int, label: Tensor) -> Batch:
    """Images of zeros of the size of `label` (labeled, *S)."""
    image = label.new_zeros(labeled + unlabeled, 1, *label.shape[1:]).float()
    return Batch(image[:labeled], label, image[labeled:])
