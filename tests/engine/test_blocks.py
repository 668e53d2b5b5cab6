"""What stands for PyTorch's own operations on CUDA, compared with them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.config.training import Norm
from benchmarks.engine.nets.blocks import conv_block, norm_each, normed
from methods.blocks.adversarial import untracked_statistics
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
    assert torch.equal(resize_linear(first, size, align_corners=aligned), expected)
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


def passed(block: nn.Sequential, image: Tensor) -> Tensor:
    """A block as CUDA computes it."""
    conv_1, norm_1, act_1, dropout, conv_2, norm_2, act_2 = block
    half = dropout(act_1(normed(conv_1, norm_1, image)))
    made: Tensor = act_2(normed(conv_2, norm_2, half))
    return made


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_a_bias_before_a_norm_may_be_left_out(ndim: int, norm: Norm) -> None:
    """In training and, by the running means, in the test that follows it."""
    torch.manual_seed(0)
    usual = conv_block(ndim, 3, 8, norm).train()
    for name, parameter in usual.named_parameters():
        if name in ("0.bias", "4.bias"):
            parameter.data.add_(1.0)
    short = copy.deepcopy(usual)
    # Twice before the gradient, as methods with several views pass their network.
    for _ in range(2):
        image = torch.randn(2, 3, *[8] * ndim)
        one, other = usual(image), passed(short, image)
        torch.testing.assert_close(other, one)
    torch.autograd.backward(one.square().sum())
    torch.autograd.backward(other.square().sum())
    for (name, p), q in zip(usual.named_parameters(), short.parameters(), strict=True):
        assert p.grad is not None and q.grad is not None
        torch.testing.assert_close(q.grad, p.grad, atol=2e-3, rtol=1e-3, msg=name)
        assert name not in ("0.bias", "4.bias") or not q.grad.any()
    for kept, found in zip(usual.buffers(), short.buffers(), strict=True):
        torch.testing.assert_close(found, kept)
    usual.eval(), short.eval()
    torch.testing.assert_close(passed(short, image), usual(image))


def test_a_bias_reaches_no_running_mean_that_is_not_kept() -> None:
    """As in adversarial passes, which `untracked_statistics` keeps out of the test."""
    block = conv_block(2, 3, 8, "batch").train()
    before = copy.deepcopy(block.state_dict())
    with untracked_statistics(block):
        passed(block, torch.randn(2, 3, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in block.state_dict().items())


def test_norm_of_each_image_is_instance_norm() -> None:
    values = torch.randn(3, 4, 5, 6, 7).to(memory_format=torch.channels_last_3d)
    made = norm_each(values, 1e-5)
    torch.testing.assert_close(made, F.instance_norm(values))
    assert made.is_contiguous(memory_format=torch.channels_last_3d)
