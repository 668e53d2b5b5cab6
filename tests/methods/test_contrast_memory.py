"""What contrast keeps for its gradient is bounded by the sampling caps, not by the image."""

from __future__ import annotations

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


def test_contrast_keeps_as_much_at_every_size() -> None:
    """16 times the pixels leave it as it is."""
    base = [kept_bytes(size, 0.0) for size in SIZES]
    extra = [kept_bytes(size, 0.1) - b for size, b in zip(SIZES, base, strict=True)]
    assert base[2] > 15 * base[0]
    assert extra[0] == extra[1] == extra[2] > 0
