"""The last values of a stream, such as one number per image that was seen."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Recent(nn.Module):
    """Ring buffer of numbers; slots never written are never read, and nothing waits for the device.

    Args:
        size: numbers that are kept, at least as many as are written at once.
    """

    values: Tensor
    written: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("values", torch.zeros(size))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def write(self, value: Tensor) -> None:
        """Store numbers (N,), overwriting the oldest; of more than fit, the last."""
        value = value[-len(self.values) :].to(self.values.dtype)
        slot = torch.arange(len(value), device=value.device)
        self.values[(self.written + slot) % len(self.values)] = value
        self.written += len(value)

    def quantile(self, q: float) -> Tensor:
        """Quantile of the numbers kept, 0-d float32."""
        known = torch.arange(len(self.values), device=self.values.device) < self.written
        return self.values.masked_fill(~known, torch.nan).nanquantile(q)
