"""Weight ramps and exponential-moving-average teachers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from methods.blocks.ema import copy_weights, ema_update, gaussian_noise
from methods.blocks.ramps import sigmoid_ramp


@pytest.mark.parametrize(
    ("fraction", "length", "expected"),
    [
        (0.0, 1.0, 0.006737947),  # e^-5
        (0.5, 1.0, 0.286504797),  # e^-1.25
        (1.0, 1.0, 1.0),
        (0.2, 0.4, 0.286504797),  # half of the ramp
        (0.3, 0.4, 0.731615629),  # e^-0.3125
        (0.4, 0.4, 1.0),
        (0.9, 0.4, 1.0),
    ],
)
def test_ramp_by_hand(fraction: float, length: float, expected: float) -> None:
    assert sigmoid_ramp(fraction, length) == pytest.approx(expected, abs=1e-9)


def test_reference_ramp(reference_values: dict[str, NDArray[Any]]) -> None:
    values = [sigmoid_ramp(float(f)) for f in reference_values["ramp_fraction"]]
    np.testing.assert_allclose(values, reference_values["ramp_value"], atol=1e-7)


def linear(value: float) -> nn.Linear:
    layer = nn.Linear(2, 3)
    with torch.no_grad():
        for p in layer.parameters():
            p.fill_(value)
    return layer


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (1, 3.0),  # a = 1/2: (2 + 4)/2
        (3, 2.5),  # a = 3/4: 1.5 + 1
        (98, 2.0 + 2.0 / 99.0),  # a = 98/99, still below the decay
        (99, 2.02),  # a = .99: 1.98 + .04
        (10_000, 2.02),
    ],
)
@pytest.mark.parametrize("recorded", [False, True], ids=["number", "tensor"])
def test_ema_by_hand(step: int, expected: float, recorded: bool) -> None:
    """The step is a tensor on the device where it is recorded."""
    teacher, student = linear(2.0), linear(4.0)
    now = torch.tensor(float(step)) if recorded else step
    ema_update(teacher, student, decay=0.99, step=now)
    for p in teacher.parameters():
        torch.testing.assert_close(p.detach(), torch.full_like(p, expected))
    for p in student.parameters():
        assert (p == 4).all()


def test_ema_copies_at_step_zero() -> None:
    torch.manual_seed(0)
    teacher, student = nn.Linear(5, 7), nn.Linear(5, 7)
    ema_update(teacher, student, decay=0.99, step=0)
    for p, q in zip(teacher.parameters(), student.parameters(), strict=True):
        assert torch.equal(p, q) and p is not q


def test_ema_leaves_buffers_alone() -> None:
    teacher, student = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    student(torch.randn(8, 3) + 5)
    ema_update(teacher, student, decay=0.9, step=0)
    assert teacher.running_mean is not None and not teacher.running_mean.any()


def test_ema_gives_no_graph_to_a_frozen_teacher() -> None:
    teacher, student = linear(2.0).requires_grad_(False), linear(4.0)
    ema_update(teacher, student, decay=0.9, step=5)
    assert not any(p.requires_grad for p in teacher.parameters())


def test_copied_weights_include_buffers_and_stay_apart() -> None:
    target, source = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    source(torch.randn(8, 3) + 5)
    copy_weights(target, source)
    assert target.running_mean is not None and source.running_mean is not None
    assert torch.equal(target.running_mean, source.running_mean)
    source(torch.randn(8, 3) - 50)
    assert not torch.equal(target.running_mean, source.running_mean)


def test_noise_has_the_asked_size_and_bound() -> None:
    torch.manual_seed(0)
    image = torch.full((2, 1, 100, 100), 3.0)
    noise = gaussian_noise(image, sigma=0.1, clip=0.2) - image
    assert noise.abs().max().item() <= 0.2 + 1e-6
    # A normal clipped at two standard deviations: variance .9205 (2 phi, Phi at 2 by hand).
    assert noise.std().item() == pytest.approx(0.1 * 0.9205**0.5, rel=0.03)
    assert noise.mean().item() == pytest.approx(0.0, abs=3e-3)


def test_no_noise_is_identity() -> None:
    image = torch.randn(1, 1, 4, 4)
    assert torch.equal(gaussian_noise(image, sigma=0.0, clip=0.2), image)
