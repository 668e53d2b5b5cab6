"""Metrics against MedPy, and start-up."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from medpy.metric import binary
from numpy.typing import NDArray

from benchmarks.engine.nets.dropout import Dropout
from benchmarks.metrics import Score, score_masks
from tests.speed.conftest import Compare

pytestmark = pytest.mark.speed


def ball(shape: tuple[int, ...], centre: tuple[float, ...], radius: float) -> NDArray[np.bool_]:
    grid = np.meshgrid(*map(np.arange, shape), indexing="ij")
    wave = radius * (1 + 0.1 * np.sin(grid[-1] / 3.0))
    inside: NDArray[np.bool_] = (
        sum((g - c) ** 2 for g, c in zip(grid, centre, strict=True)) < wave**2
    )
    return inside


@pytest.mark.parametrize(
    ("name", "shape", "radius", "spacing", "most", "rounds"),
    [
        ("BraTS-size", (155, 240, 240), 28.0, (1.0, 1.0, 1.0), 1 / 20, 1),
        ("ACDC-size", (10, 216, 256), 25.0, (10.0, 1.5, 1.5), 1 / 10, 5),
    ],
)
def test_metrics_against_medpy(
    name: str, shape: tuple[int, ...], radius: float, spacing: tuple[float, ...], most: float,
    rounds: int, compare: Compare,
) -> None:  # fmt: skip
    centre = tuple(s / 2 for s in shape)
    reference = ball(shape, centre, radius)
    prediction = ball(shape, tuple(c + 2 for c in centre), 0.95 * radius)

    def medpy() -> tuple[float, ...]:
        return (
            binary.dc(prediction, reference), binary.jc(prediction, reference),
            binary.hd95(prediction, reference, spacing), binary.asd(prediction, reference, spacing),
            binary.assd(prediction, reference, spacing),
        )  # fmt: skip

    def suite() -> Score:
        return score_masks(prediction, reference, spacing, tolerance=1.0)

    score = suite()
    ours = (score.dice, score.jaccard, score.hd95_mm, score.asd_mm, score.assd_mm)
    assert ours == pytest.approx(medpy(), abs=1e-6)
    ratio = compare(
        f"Dice, Jaccard, HD95, ASD, ASSD / MedPy ({name})",
        suite, medpy, most=most, rounds=rounds,
    )  # fmt: skip
    assert ratio < 0.5


def test_start_up(compare: Compare) -> None:
    def start(*words: str) -> None:
        subprocess.run([sys.executable, *words], check=True, capture_output=True)

    ratio = compare(
        "python -m benchmarks --help / python -c pass",
        lambda: start("-m", "benchmarks", "--help"), lambda: start("-c", "pass"),
        most=float("nan"), rounds=5,
    )  # fmt: skip
    assert ratio < 60


def test_dropout_against_pytorch(compare: Compare) -> None:
    """Forward and backward of the finest level's map at 96 x 96."""
    x = torch.randn(8, 16, 96, 96).to(memory_format=torch.channels_last).requires_grad_()

    def both(layer: torch.nn.Module) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(layer(x).sum(), x)

    ratio = compare(
        "dropout / PyTorch's (8 maps of 16 x 96 x 96)",
        lambda: both(Dropout(0.1)), lambda: both(torch.nn.Dropout(0.1)), most=0.6,
    )  # fmt: skip
    assert ratio < 0.8
