"""Inputs that are the same everywhere, so that what published code gave can be written down."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def wave(*shape: int, phase: float = 0.0, scale: float = 1.0) -> Tensor:
    """`scale sin(1.7 i + phase)` of the element's number i."""
    return (scale * torch.sin(1.7 * torch.arange(math.prod(shape)) + phase)).view(shape)


def mixed(*shape: int, seed: int) -> Tensor:
    """Multiples of 0.02 in [-1, 1] in no visible order."""
    i = torch.arange(math.prod(shape))
    return ((i**3 + 7 * i**2 + 13 * i + 29 * seed) % 101 / 50 - 1).view(shape)


def striped(*shape: int, up: int, down: int, classes: int) -> Tensor:
    """Labels `floor(i up / down) mod classes` of the element's number i."""
    return (torch.arange(math.prod(shape)) * up // down % classes).view(shape)
