"""A network without memory of its neighbours, so that losses of whole methods follow by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Batch, Method, Progress
from methods.networks import Architecture, Decoded, Decoder, SegNet

END = Progress(999, 1000)
RAMP = math.exp(-5 * 0.001**2)  # of a ramp over the whole run, there


class PixelNet(SegNet):
    """`z_k = slope_k x + offset_k` of the first channel, by every decoder with its own values.

    Args:
        decoders: their number.
        classes: K.
        seed: of the values.
    """

    level_channels = stage_channels = (1, 1, 1, 1)

    def __init__(self, decoders: int, classes: int, seed: int) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.slope, self.offset = (
            nn.Parameter(torch.randn(decoders, classes, generator=g)) for _ in range(2)
        )
        self.decoders = nn.ModuleList(nn.Identity() for _ in range(decoders))

    def encode(self, image: Tensor) -> list[Tensor]:
        pool = F.avg_pool3d if image.ndim == 5 else F.avg_pool2d
        return [image[:, :1], *(pool(image[:, :1], 2**i) for i in (1, 2, 3))]

    def decode(self, levels: Sequence[Tensor], decoder: int = 0) -> Decoded:
        shape = (1, -1, *[1] * (levels[0].ndim - 2))
        slope, offset = (v[decoder].view(shape) for v in (self.slope, self.offset))
        return Decoded(slope * levels[0] + offset, tuple(levels))


def make(
    cls: type[Method[Any]], *, classes: int = 3, values: dict[str, object] | None = None
) -> Any:
    """The method in 2D on pixel networks; the n-th network has the seed n.

    Ramps reach full weight at the end of the run unless `values` says otherwise.
    """
    built: list[PixelNet] = []

    def build(
        *, decoders: int | Sequence[Decoder] = 1, architecture: Architecture = "configured"
    ) -> SegNet:
        del architecture
        count = decoders if isinstance(decoders, int) else len(decoders)
        built.append(PixelNet(count, classes, len(built)))
        return built[-1]

    torch.manual_seed(0)
    ramp = {"ramp": 1.0} if "ramp" in cls.Params.model_fields else {}
    params = cls.Params.model_validate({**ramp, **(values or {})})
    return cls(build, params, classes=classes, ndim=2).train()


def assert_same(method: nn.Module, term: Tensor, expected: Tensor, *, rtol: float = 1e-4) -> None:
    """A term has an expected value, and moves every parameter as the expected one does."""
    torch.testing.assert_close(term, expected, rtol=rtol, atol=1e-7)
    trained = [p for p in method.parameters() if p.requires_grad]
    found = [
        torch.autograd.grad(v, trained, allow_unused=True, retain_graph=True)
        for v in (term, expected)
    ]
    for p, own, other in zip(trained, *found, strict=True):
        zero = torch.zeros_like(p)
        a, b = (zero if g is None else g for g in (own, other))
        torch.testing.assert_close(a, b, rtol=max(rtol, 1e-3), atol=1e-6)


def batch(classes: int = 3, *, labeled: int = 2, unlabeled: int = 3, size: int = 8) -> Batch:
    """Random images and labels."""
    g = torch.Generator().manual_seed(5)
    image = torch.randn(labeled + unlabeled, 1, size, size, generator=g)
    label = torch.randint(classes, (labeled, size, size), generator=g)
    return Batch(image[:labeled], label, image[labeled:])
