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
