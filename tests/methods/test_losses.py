"""Losses against numbers worked out by hand and against the reference values of public code."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from methods.blocks.losses import (
    consistency_mse,
    dice_loss,
    masked_mean,
    soft_dice_loss,
    softmax32,
    supervised_loss,
)
from methods.blocks.overlap import joint_dice_loss

Reference = dict[str, NDArray[Any]]
SETS = ["c4", "c2"]


def tensor(reference: Reference, key: str) -> Tensor:
    return torch.as_tensor(reference[key])


def two_pixels() -> tuple[Tensor, Tensor]:
    """One image of two pixels, two classes: p_0 = (.8, .4), p_1 = (.2, .6), y = (0, 1)."""
    return torch.tensor([[[0.8, 0.4], [0.2, 0.6]]]), torch.tensor([[0, 1]])


def test_dice_by_hand() -> None:
    # class 0: 2*.8 / (.64 + .16 + 1) = 1.6/1.8; class 1: 2*.6 / (.04 + .36 + 1) = 1.2/1.4
    # mean of 1/9 and 1/7
    assert dice_loss(*two_pixels()).item() == pytest.approx(0.126984, abs=2e-6)


def test_dice_smooth_by_hand() -> None:
    # s = 1: class 0: 1 - 2.6/2.8 = 1/14; class 1: 1 - 2.2/2.4 = 1/12
    assert dice_loss(*two_pixels(), smooth=1.0).item() == pytest.approx(0.0773810, abs=1e-6)


def test_dice_sums_over_the_batch() -> None:
    # Per-image Dice would give another value: a class is then absent from one image.
    p, y = two_pixels()
    as_two_images = p.transpose(0, 2).transpose(1, 2).reshape(2, 2, 1), y.reshape(2, 1)
    torch.testing.assert_close(as_two_images[0][1, :, 0], torch.tensor([0.4, 0.6]))
    torch.testing.assert_close(dice_loss(*as_two_images), dice_loss(p, y))


def test_dice_of_perfect_prediction_with_absent_class_is_zero() -> None:
    label = torch.zeros(2, 3, 3, dtype=torch.int64)
    p = F.one_hot(label, 3).movedim(-1, 1).float()
    assert dice_loss(p, label).item() == 0


def test_dice_of_two_empty_maps_is_zero() -> None:
    empty = torch.zeros(2, 3, 4, 4)
    assert soft_dice_loss(empty, empty).item() == joint_dice_loss(empty, empty).item() == 0


def test_dice_of_disjoint_prediction_is_one() -> None:
    label = torch.tensor([[0, 1]])
    p = F.one_hot(1 - label, 2).movedim(-1, 1).float()
    # Each class: s / (2 + s) = 5e-6.
    assert dice_loss(p, label).item() == pytest.approx(1 - 5e-6, abs=1e-6)


def test_supervised_by_hand() -> None:
    # p = (.75, .25), y = 0. CE = -ln .75 = .2876821.
    # Dice: class 0: 1 - (1.5 + 1e-5)/(1.5625 + 1e-5) = .0399997
    #       class 1: 1 - 1e-5/(.0625 + 1e-5) = .9998400; mean .5199199
    logits = torch.tensor([[[math.log(3.0)], [0.0]]])
    loss = supervised_loss(logits, torch.zeros(1, 1, dtype=torch.int64))
    assert loss.item() == pytest.approx((0.2876821 + 0.5199199) / 2, abs=1e-6)


def test_supervised_in_bfloat16_is_float32() -> None:
    torch.manual_seed(0)
    logits, label = torch.randn(2, 3, 6, 6), torch.randint(3, (2, 6, 6))
    low = supervised_loss(logits.bfloat16(), label)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, supervised_loss(logits, label), atol=1e-2, rtol=1e-2)


def test_consistency_by_hand() -> None:
    # Differences .1, -.1, .3, -.3: (2 * .01 + 2 * .09) / 4
    p = torch.tensor([[[0.6, 0.9], [0.4, 0.1]]])
    q = torch.tensor([[[0.5, 0.6], [0.5, 0.4]]])
    assert consistency_mse(p, q).item() == pytest.approx(0.05, abs=1e-7)


def test_consistency_of_nothing_is_zero_with_graph() -> None:
    p = torch.zeros(0, 2, 4, 4, requires_grad=True)
    loss = consistency_mse(p, p.detach())
    assert loss.shape == () and loss.item() == 0 and loss.requires_grad


def test_masked_mean_by_hand() -> None:
    value = torch.tensor([1.0, 2.0, 6.0])
    assert masked_mean(value, torch.tensor([True, False, True])).item() == 3.5


def test_masked_mean_of_nothing_is_zero_with_graph() -> None:
    value = torch.ones(3, requires_grad=True)
    loss = masked_mean(value, torch.zeros(3, dtype=torch.bool))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert value.grad is not None and not value.grad.any()


def test_softmax_of_half_precision_is_float32() -> None:
    p = softmax32(torch.randn(2, 3, 4).bfloat16())
    assert p.dtype == torch.float32
    torch.testing.assert_close(p.sum(1), torch.ones(2, 4))


@pytest.mark.parametrize("name", SETS)
def test_reference_dice_ce_and_supervised(reference_values: Reference, name: str) -> None:
    logits = tensor(reference_values, f"{name}_logits_a")
    label = tensor(reference_values, f"{name}_labels")
    dice = dice_loss(logits.softmax(1), label)
    loss = supervised_loss(logits, label)
    for value, key in ((dice, "dice_loss"), (2 * loss - dice, "ce"), (loss, "supervised")):
        torch.testing.assert_close(
            value, tensor(reference_values, f"{name}_{key}"), atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("name", SETS)
def test_reference_consistency(reference_values: Reference, name: str) -> None:
    a, b = (softmax32(tensor(reference_values, f"{name}_logits_{v}")) for v in "ab")
    expected = tensor(reference_values, f"{name}_consistency_mse")
    torch.testing.assert_close(consistency_mse(a, b), expected, atol=1e-5, rtol=0)
