"""What is known of a pixel beside its embedding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Traits:
    """Weights and doubts of pixels; all tensors share the shape of the pixels.

    Attributes:
        emphasis: float32, its weight as an anchor, at least 0.
        trust: float32, its weight as a positive, in [0, 1].
        second: int64, its second most probable class, or -1 where that does not matter.
    """

    emphasis: Tensor
    trust: Tensor
    second: Tensor

    @classmethod
    def neutral(cls, like: Tensor) -> Traits:
        """Traits that change nothing, in the shape of `like`."""
        one = torch.ones_like(like, dtype=torch.float32)
        return cls(one, one, torch.full_like(like, -1, dtype=torch.int64))

    def take(self, chosen: Tensor | tuple[slice, ...]) -> Traits:
        """The traits at an index."""
        return Traits(self.emphasis[chosen], self.trust[chosen], self.second[chosen])
