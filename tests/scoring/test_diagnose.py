"""Diagnosis of a trained run: pixels by hand, and the whole chain on a phantom."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.scoring.diagnose import BINS, Diagnosis


def diagnosis(confidence: list[float], correct: list[bool]) -> Diagnosis:
    value = np.array(confidence, dtype=np.float32)
    return Diagnosis(1 - value, value, np.array(correct), pd.DataFrame(), 0.5)


def test_calibration_error_by_hand() -> None:
    """Two pixels at 0.9 of which one is right, two at 0.6 that both are."""
    found = diagnosis([0.9, 0.9, 0.6, 0.6], [True, False, True, True])
    assert found.calibration_error == pytest.approx((2 * 0.4 + 2 * 0.4) / 4)
    assert diagnosis([1.0, 1.0], [True, True]).calibration_error == 0


def test_bins_hold_every_pixel_once_and_certainty_is_in_the_last() -> None:
    found = diagnosis([1.0, 0.999, 0.5, 0.26], [True, True, False, True])
    table = found.by("confidence")
    assert table["pixels"].sum() == 4 and table["correct"].sum() == 3
    assert table["low"].iloc[-1] == (BINS - 1) / BINS and table["pixels"].iloc[-1] == 2
