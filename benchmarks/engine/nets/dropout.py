"""Dropout whose masks cost a quarter of PyTorch's on a CPU."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

# A mask value is decided by 16 random bits, four of which come from one 64-bit number.
_LEVELS = 1 << 16
_LOWEST, _IN_ONE = torch.iinfo(torch.int16).min, 4


class Dropout(nn.Dropout):
    """`nn.Dropout`; on a CPU the probability is rounded to a multiple of 2^-16."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the parent class
        """Values (any shape) set to 0 with probability `p` in train mode, the others scaled."""
        dropped = round(self.p * _LEVELS)
        if not self.training or input.device.type != "cpu" or not 0 < dropped < _LEVELS:
            return super().forward(input)
        return cast(Tensor, _Masked.apply(input, dropped))


class _Masked(torch.autograd.Function):
    """Product with a random mask of 0 and 1 / (1 - p), in the memory layout of the values."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, dropped: int) -> Tensor:
        count = values.numel()
        numbers = torch.empty(-(-count // _IN_ONE), dtype=torch.int64)
        bits = numbers.random_(torch.iinfo(torch.int64).min, None).view(torch.int16)[:count]
        scale = _LEVELS / (_LEVELS - dropped)
        mask = torch.where(bits >= _LOWEST + dropped, scale, 0.0).to(values.dtype)
        layout = torch.empty_like(values, device="meta").stride()  # dense, whatever the values are
        mask = mask.as_strided(values.shape, layout)
        ctx.save_for_backward(mask)
        return values * mask

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return gradients[0] * mask, None
