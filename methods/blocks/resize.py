"""Linear interpolation with a gradient that CUDA computes fast and always in the same way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

_MODES = {2: "bilinear", 3: "trilinear"}


def resize_linear(values: Tensor, size: Sequence[int], *, align_corners: bool) -> Tensor:
    """`F.interpolate` with mode linear of the dimension; on CUDA with `Linear`'s gradient.

    Args:
        values: (N, C, *S) of two or three axes.
        size: voxels along every axis of the result.
        align_corners: whether the centres of the outermost voxels, not their edges, coincide.

    Returns:
        (N, C, *size).
    """
    if values.device.type == "cuda":
        return cast(Tensor, Linear.apply(values, tuple(size), align_corners))
    mode = _MODES[values.ndim - 2]
    return F.interpolate(values, size=tuple(size), mode=mode, align_corners=align_corners)


class Linear(torch.autograd.Function):
    """Interpolation whose gradient is a matrix product along each axis.

    PyTorch adds up the gradient in any order, and in deterministic mode scatters the values of both
    passes one by one, which takes most of the step of a network with a linear decoder.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
        """Values at the size."""
        ctx.given, ctx.align_corners = values.shape[2:], align_corners
        aten = torch.ops.aten
        linear = aten.upsample_bilinear2d if len(size) == 2 else aten.upsample_trilinear3d
        # Autocast would widen what the next convolution narrows again.
        with torch.autocast(values.device.type, enabled=False):
            return cast(Tensor, linear(values, size, align_corners))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Gradient of the values: the transposed weights of every axis, from unit vectors."""
        (gradient,) = gradients
        # In float32, also where a gradient is taken inside a forward pass; channels last, as they
        # lie in memory.
        with torch.autocast(gradient.device.type, enabled=False):
            total = gradient.movedim(1, -1).float()
            shape = [*total.shape]
            for axis, small in enumerate(ctx.given, 1):
                unit = torch.eye(small, device=gradient.device)[None]
                aten, size = torch.ops.aten, [shape[axis]]
                weights = aten.upsample_linear1d(unit, size, ctx.align_corners)[0]
                lead, rest = math.prod(shape[:axis]), math.prod(shape[axis + 1 :])
                total = torch.matmul(weights, total.reshape(lead, shape[axis], rest))
                shape[axis] = small
            return total.view(shape).movedim(-1, 1).to(gradient.dtype), None, None
