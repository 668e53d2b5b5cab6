"""Quarter turns in the plane of the last two axes."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_turns(image: Tensor, *, identity: bool) -> Tensor:
    """Number of quarter turns of every image (N,) int64, uniform in 0 to 3.

    Args:
        image: (N, C, *S); where height and width differ, only half turns keep the shape.
        identity: whether 0 turns may be drawn.
    """
    allowed = _allowed(image)
    first = 0 if identity else 1
    drawn = torch.randint(len(allowed) - first, (len(image),), device=image.device)
    return (drawn + first) * (4 // len(allowed))


def rotate(value: Tensor, turns: Tensor) -> Tensor:
    """Rotate each image or label map (N, ..., H, W) by its number of quarter turns (N,).

    All turns of all images are made and one of each is kept, so that no device is waited for.
    """
    turned, turns = value, turns.view(-1, *[1] * (value.ndim - 1))
    for count in _allowed(value)[1:]:
        turned = torch.where(turns == count, torch.rot90(value, count, (-2, -1)), turned)
    return turned


def _allowed(value: Tensor) -> tuple[int, ...]:
    """Turns that keep the shape."""
    return (0, 1, 2, 3) if value.shape[-1] == value.shape[-2] else (0, 2)
