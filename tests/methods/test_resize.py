"""Linear interpolation as CUDA computes it, compared with PyTorch's."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.resize import Linear, resize_linear

MODES = {2: "bilinear", 3: "trilinear"}


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize(
    ("given", "size"), [((8, 6), (16, 12)), ((7, 6), (16, 9)), ((4, 6, 5), (8, 12, 10))]
)
def test_linear_interpolation_has_the_gradient_of_torch(
    given: tuple[int, ...], size: tuple[int, ...], aligned: bool
) -> None:
    first = torch.randn(2, 3, *given, dtype=torch.float64).float().requires_grad_()
    second = first.detach().clone().requires_grad_()
    expected = F.interpolate(first, size=size, mode=MODES[len(size)], align_corners=aligned)
    made = Linear.apply(second, size, aligned)
    assert torch.equal(made, expected)
    usual = resize_linear(first, size, align_corners=aligned)
    assert torch.equal(usual, expected)
    assert type(usual.grad_fn) is type(expected.grad_fn), "CPUs train the bits they always did"
    weight = torch.randn_like(expected)
    torch.autograd.backward(expected, weight)
    torch.autograd.backward(made, weight)
    torch.testing.assert_close(second.grad, first.grad)


def test_interpolation_stays_in_half_precision_under_autocast() -> None:
    values = torch.randn(1, 2, 4, 4, dtype=torch.bfloat16, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = Linear.apply(values, (8, 8), True)
    assert made.dtype == torch.bfloat16
    torch.autograd.backward(made.sum())
    assert values.grad is not None and values.grad.dtype == torch.bfloat16


def test_a_gradient_inside_a_forward_pass_is_summed_in_float32() -> None:
    values = torch.rand(1, 1, 32, 32, requires_grad=True)
    weight = torch.rand(1, 1, 64, 64)
    found: list[Tensor] = []
    for half in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            made = (Linear.apply(values, (64, 64), True) * weight).sum()
            found += torch.autograd.grad(made, values)
    assert torch.equal(*found)
