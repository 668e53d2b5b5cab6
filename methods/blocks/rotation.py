"""Quarter turns in the plane of the last two axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def draw_turns(image: Tensor, *, identity: bool) -> list[int]:
    """Number of quarter turns of every image, uniform in 0 to 3.

    Drawn on the CPU: they choose memory layouts, and a device would have to be waited for.

    Args:
        image: (N, C, *S); where height and width differ, only half turns keep the shape.
        identity: whether 0 turns may be drawn.
    """
    allowed = [0, 1, 2, 3] if image.shape[-1] == image.shape[-2] else [0, 2]
    allowed = allowed if identity else allowed[1:]
    return [allowed[i] for i in torch.randint(len(allowed), (len(image),)).tolist()]


def rotate(value: Tensor, turns: Sequence[int]) -> Tensor:
    """Rotate each image or label map (N, ..., H, W) by its number of quarter turns."""
    pairs = zip(value, turns, strict=True)
    return torch.stack([torch.rot90(v, k, (-2, -1)) for v, k in pairs])
