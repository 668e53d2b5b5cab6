"""Input that the metrics refuse, and what they say is allowed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.metrics import overlap, score_labels, score_masks


@pytest.mark.parametrize(
    "spacing", [(1.0,), (1.0, 1.0, 1.0), (1.0, 0.0), (1.0, -1.0), (1.0, math.nan), (math.inf, 1.0)]
)
def test_bad_spacing_is_refused(spacing: tuple[float, ...]) -> None:
    labels = np.zeros((4, 4), dtype=np.uint8)
    with pytest.raises(ValueError, match="allowed: 2 positive finite numbers in mm") as caught:
        score_labels(labels, labels, spacing, [1], tolerance=1.0)
    assert str(spacing) in str(caught.value)
    with pytest.raises(ValueError, match="allowed: 2 positive finite numbers in mm"):
        score_masks(labels == 1, labels == 1, spacing, tolerance=1.0)


@pytest.mark.parametrize("tolerance", [0.0, -1.0, math.nan, math.inf])
def test_bad_tolerance_is_refused(tolerance: float) -> None:
    labels = np.zeros((4, 4), dtype=np.uint8)
    message = f"tolerance is {tolerance}; allowed: a positive finite number in mm"
    with pytest.raises(ValueError, match=message):
        score_labels(labels, labels, (1.0, 1.0), [1], tolerance=tolerance)
    with pytest.raises(ValueError, match=message):
        score_masks(labels == 1, labels == 1, (1.0, 1.0), tolerance=tolerance)


def test_different_shapes_are_refused() -> None:
    prediction, reference = np.zeros((4, 5), dtype=np.uint8), np.zeros((4, 4), dtype=np.uint8)
    message = r"prediction has shape \(4, 5\); allowed: \(4, 4\)"
    with pytest.raises(ValueError, match=message):
        score_labels(prediction, reference, (1.0, 1.0), [1], tolerance=1.0)
    with pytest.raises(ValueError, match=message):
        score_masks(prediction == 1, reference == 1, (1.0, 1.0), tolerance=1.0)
    with pytest.raises(ValueError, match=message):
        overlap(prediction, reference, 2)


def test_other_dtypes_are_refused() -> None:
    labels = np.zeros((4, 4), dtype=np.uint8)
    logits = labels.astype(np.float32)
    with pytest.raises(ValueError, match="prediction has dtype float32; allowed: integer"):
        score_labels(logits, labels, (1.0, 1.0), [1], tolerance=1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reference has dtype float32; allowed: integer"):
        overlap(labels, logits, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="prediction has dtype uint8; allowed: bool"):
        score_masks(labels, labels == 1, (1.0, 1.0), tolerance=1.0)  # type: ignore[arg-type]


def test_one_and_four_dimensions_are_refused() -> None:
    for shape in ((4,), (2, 2, 2, 2)):
        mask = np.ones(shape, dtype=bool)
        with pytest.raises(ValueError, match=f"{len(shape)} dimensions; allowed: 2 or 3"):
            score_masks(mask, mask, (1.0,) * len(shape), tolerance=1.0)


@pytest.mark.parametrize("label", [-1, 3])
def test_overlap_refuses_labels_out_of_range(label: int) -> None:
    good, bad = np.zeros(4, dtype=np.int64), np.array([0, 0, 0, label])
    with pytest.raises(ValueError, match=r"reference has labels .* allowed: 0 to 2"):
        overlap(good, bad, 3)
