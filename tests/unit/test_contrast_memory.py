"""What contrast keeps for its gradient is bounded by the sampling caps, not by the image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmarks.config import UNetConfig
from benchmarks.engine.nets import Builder
from methods.base import Batch, Progress
from methods.egcl_net import EGCLNet

SIZES = (128, 256, 512)


def kept_bytes(size: int, lam_con: float) -> int:
    """Memory that one step of EGCL-Net keeps for the backward pass."""
    builder = Builder(UNetConfig(channels=(4, 8, 8, 8)), ndim=2, in_channels=1, classes=4, seed=0)
    torch.manual_seed(0)
    method = EGCLNet(builder, EGCLNet.Params(lam_con=lam_con), classes=4, ndim=2).train()
    label = (torch.arange(size) * 4 // size).expand(1, size, size)
    image = torch.randn(2, 1, size, size)
    storages: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        storages[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        terms = method.losses(Batch(image[:1], label, image[1:]), Progress(900, 1000))
        torch.stack(list(terms.values())).sum()
    return sum(value.untyped_storage().nbytes() for value in storages.values())


def test_contrast_keeps_a_bounded_share() -> None:
    """The pairs are capped; the projected map follows the pixels, more slowly than the network."""
    base = [kept_bytes(size, 0.0) for size in SIZES]
    extra = [kept_bytes(size, 0.1) - b for size, b in zip(SIZES, base, strict=True)]
    share = [e / b for e, b in zip(extra, base, strict=True)]
    assert share[0] > share[1] > share[2] > 0
    # extra = capped + rate * pixels: two sizes give both numbers, the third confirms them.
    rate = (extra[2] - extra[0]) / (SIZES[2] ** 2 - SIZES[0] ** 2)
    capped = extra[0] - rate * SIZES[0] ** 2
    assert capped > 0
    assert extra[1] == pytest.approx(capped + rate * SIZES[1] ** 2, rel=0.05)
    assert rate < 0.5 * base[2] / SIZES[2] ** 2
