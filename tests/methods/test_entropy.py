"""Predictive entropy at the points where it is known exactly, and against reference values."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.blocks.entropy import entropy, normalized_entropy
from methods.blocks.losses import softmax32

Reference = dict[str, NDArray[Any]]


def pixel(*p: float) -> Tensor:
    """One image of one pixel, (1, K, 1)."""
    return torch.tensor(p)[None, :, None]


@pytest.mark.parametrize("classes", [2, 4])
def test_uniform_is_exactly_one(classes: int) -> None:
    assert normalized_entropy(pixel(*[1 / classes] * classes)).item() == 1


@pytest.mark.parametrize("classes", [2, 3, 4, 7])
def test_one_hot_is_exactly_zero(classes: int) -> None:
    assert normalized_entropy(pixel(1.0, *[0.0] * (classes - 1))).item() == 0


def test_tie_of_two_classes_among_four_is_half() -> None:
    # ln 2 / ln 4
    assert normalized_entropy(pixel(0.5, 0.5, 0.0, 0.0)).item() == pytest.approx(0.5, abs=1e-7)


def test_in_nats_by_hand() -> None:
    # -.75 ln .75 - .25 ln .25 = .2157616 + .3465736
    assert entropy(pixel(0.75, 0.25)).item() == pytest.approx(0.5623351, abs=1e-6)


def test_shape_and_range() -> None:
    torch.manual_seed(0)
    h = normalized_entropy(torch.randn(2, 3, 4, 5, 6).mul(3).softmax(1))
    assert h.shape == (2, 4, 5, 6) and h.dtype == torch.float32
    assert h.min() >= 0 and h.max() <= 1


def test_bfloat16_input_is_evaluated_in_float32() -> None:
    torch.manual_seed(0)
    p = torch.randn(2, 4, 8, 8).softmax(1)
    low = normalized_entropy(p.bfloat16())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, normalized_entropy(p), atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", ["c4", "c2"])
def test_reference_entropy(reference_values: Reference, name: str) -> None:
    p = softmax32(torch.as_tensor(reference_values[f"{name}_logits_a"]))
    # The reference has ln(p + 1e-6), which lowers each pixel by at most K * 1e-6.
    expected = torch.as_tensor(reference_values[f"{name}_entropy"])
    torch.testing.assert_close(normalized_entropy(p).mean(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["c4", "c2"])
def test_reference_uncertainty(reference_values: Reference, name: str) -> None:
    passes = torch.as_tensor(reference_values[f"{name}_mc_logits"])
    expected = torch.as_tensor(reference_values[f"{name}_uncertainty"])[:, 0]
    u = entropy(torch.softmax(passes, 2).mean(0))
    torch.testing.assert_close(u, expected, atol=1e-5, rtol=0)
    assert u.max().item() <= math.log(passes.shape[2]) + 1e-6


def test_gradient_is_finite_where_a_probability_underflows() -> None:
    logits = torch.tensor([[[200.0]], [[-200.0]]]).transpose(0, 1).requires_grad_()
    (gradient,) = torch.autograd.grad(entropy(logits.softmax(1)).sum(), logits)
    assert gradient.isfinite().all()
