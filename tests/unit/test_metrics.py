"""Metrics against MedPy, against values worked out by hand, and the rules for empty masks."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from medpy.metric import binary
from numpy.typing import NDArray

from benchmarks.metrics import Score, overlap, score_labels, score_masks

Mask = NDArray[np.bool_]
Case = tuple[Mask, Mask, tuple[float, ...]]

properties = settings(max_examples=60, deadline=None)


def blob(rng: np.random.Generator, shape: tuple[int, ...]) -> Mask:
    """Ellipsoid at a random place, often cut by the image border, with some voxels flipped."""
    centre = rng.uniform(-1, np.array(shape) + 1)
    radius = rng.uniform(1, np.array(shape) / 2 + 1)
    grid = np.moveaxis(np.indices(shape), 0, -1)
    mask = np.square((grid - centre) / radius).sum(axis=-1) <= 1
    return np.asarray(mask ^ (rng.random(shape) < rng.choice([0.0, 0.02])))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Prediction, reference (neither empty) and spacing, in 2D or 3D."""
    ndim = draw(st.sampled_from([2, 3]))
    shape = tuple(draw(st.lists(st.integers(1, 14), min_size=ndim, max_size=ndim)))
    axis = st.floats(0.3, 12.0, allow_nan=False)
    spacing = tuple(draw(st.lists(axis, min_size=ndim, max_size=ndim)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    prediction, reference = blob(rng, shape), blob(rng, shape)
    assume(prediction.any() and reference.any())
    return prediction, reference, spacing


def medpy_values(prediction: Mask, reference: Mask, spacing: tuple[float, ...]) -> list[float]:
    return [
        binary.dc(prediction, reference),
        binary.jc(prediction, reference),
        binary.hd95(prediction, reference, voxelspacing=spacing),
        binary.asd(prediction, reference, voxelspacing=spacing),
    ]


def values(score: Score) -> tuple[float, ...]:
    return astuple(score)[:4]


def points(shape: tuple[int, ...], *where: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(zip(*where, strict=True))] = True
    return mask


@properties
@given(cases())
def test_equal_to_medpy(case: Case) -> None:
    score = score_masks(*case)
    assert values(score) == pytest.approx(medpy_values(*case), abs=1e-6)
    assert score.empty == "none"


@pytest.mark.parametrize("shape", [(9, 11), (5, 9, 11)])
def test_equal_to_medpy_where_masks_fill_the_image(shape: tuple[int, ...]) -> None:
    spacing = (4.0, 0.7, 1.3)[: len(shape)]
    full, half = np.ones(shape, dtype=bool), np.ones(shape, dtype=bool)
    half[..., : shape[-1] // 2] = False
    score = score_masks(half, full, spacing)
    assert values(score) == pytest.approx(medpy_values(half, full, spacing), abs=1e-6)


@pytest.mark.parametrize("index", range(4))
def test_reference_values(index: int, reference_values: dict[str, NDArray[np.generic]]) -> None:
    prediction = reference_values[f"mask{index}_pred"].astype(bool)
    reference = reference_values[f"mask{index}_ref"].astype(bool)
    spacing = reference_values[f"mask{index}_spacing"].astype(float)
    expected = reference_values[f"mask{index}_medpy_dc_jc_hd95_asd"].astype(float)
    score = score_masks(prediction, reference, tuple(spacing))
    assert values(score) == pytest.approx(expected, abs=1e-6)


@properties
@given(cases())
def test_swapping_masks_keeps_dice_jaccard_and_hd95(case: Case) -> None:
    prediction, reference, spacing = case
    there, back = score_masks(*case), score_masks(reference, prediction, spacing)
    assert values(back)[:3] == pytest.approx(values(there)[:3])
    assert (back.ref_voxels, back.pred_voxels) == (there.pred_voxels, there.ref_voxels)


@properties
@given(cases())
def test_a_mask_agrees_with_itself(case: Case) -> None:
    _, reference, spacing = case
    assert values(score_masks(reference, reference, spacing)) == (1.0, 1.0, 0.0, 0.0)


@properties
@given(cases(), st.floats(0.1, 10.0))
def test_distances_scale_with_spacing(case: Case, factor: float) -> None:
    prediction, reference, spacing = case
    before = score_masks(*case)
    after = score_masks(prediction, reference, [factor * s for s in spacing])
    assert after.hd95_mm == pytest.approx(factor * before.hd95_mm)
    assert after.asd_mm == pytest.approx(factor * before.asd_mm)
    assert (after.dice, after.jaccard) == (before.dice, before.jaccard)


def test_two_voxels_by_hand() -> None:
    score = score_masks(points((9, 9), (1, 1)), points((9, 9), (4, 5)), (1.0, 1.0))
    assert values(score) == pytest.approx((0.0, 0.0, 5.0, 5.0))


def test_spacing_belongs_to_its_axis() -> None:
    prediction, reference = points((4, 9, 9), (1, 2, 2)), points((4, 9, 9), (2, 2, 2))
    assert score_masks(prediction, reference, (10.0, 1.5, 1.5)).hd95_mm == pytest.approx(10.0)
    assert score_masks(prediction, reference, (1.5, 1.5, 10.0)).hd95_mm == pytest.approx(1.5)


def test_asd_is_directed_and_hd95_pools_both_directions() -> None:
    reference, prediction = points((1, 9), (0, 0)), points((1, 9), (0, 0), (0, 8))
    score = score_masks(prediction, reference, (1.0, 1.0))
    assert score.dice == pytest.approx(2 / 3)
    assert score.jaccard == pytest.approx(1 / 2)
    assert score.asd_mm == pytest.approx(4.0)
    # Both lists together are 0, 0, 8: rank 0.95 * 2 = 1.9 lies at 0.9 of the way from 0 to 8.
    assert score.hd95_mm == pytest.approx(7.2)
    assert score_masks(reference, prediction, (1.0, 1.0)).asd_mm == 0.0


def test_one_empty_mask_costs_the_image_diagonal() -> None:
    shape, spacing = (3, 10, 20), (2.0, 0.8, 0.6)
    none, some = np.zeros(shape, dtype=bool), points(shape, (1, 1, 1), (1, 1, 2))
    diagonal = math.sqrt(6**2 + 8**2 + 12**2)
    missed = score_masks(none, some, spacing)
    assert values(missed) == pytest.approx((0.0, 0.0, diagonal, diagonal))
    assert (missed.empty, missed.ref_voxels, missed.pred_voxels) == ("prediction", 2, 0)
    invented = score_masks(some, none, spacing)
    assert values(invented) == pytest.approx((0.0, 0.0, diagonal, diagonal))
    assert (invented.empty, invented.ref_voxels, invented.pred_voxels) == ("reference", 0, 2)


def test_both_masks_empty_agree_and_have_no_distance() -> None:
    none = np.zeros((4, 4), dtype=bool)
    score = score_masks(none, none, (1.0, 1.0))
    assert (score.dice, score.jaccard, score.empty) == (1.0, 1.0, "both")
    assert math.isnan(score.hd95_mm)
    assert math.isnan(score.asd_mm)


def test_score_labels_scores_each_class_as_a_mask() -> None:
    rng = np.random.default_rng(3)
    prediction = rng.integers(0, 3, (4, 8, 8)).astype(np.uint8)
    reference = rng.integers(0, 3, (4, 8, 8)).astype(np.int64)
    spacing = (10.0, 1.5, 1.5)
    scores = score_labels(prediction, reference, spacing, (2, 1, 4))
    assert list(scores) == [2, 1, 4]
    assert scores[1] == score_masks(prediction == 1, reference == 1, spacing)
    assert scores[2] == score_masks(prediction == 2, reference == 2, spacing)
    assert scores[4].empty == "both"


@properties
@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_overlap_is_the_dice_of_every_class(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction, reference = rng.integers(0, classes, (2, 3, 3, 3)).astype(np.uint8)
    scores = score_labels(prediction, reference, (1.0, 1.0, 1.0), range(classes))
    expected = [score.dice for score in scores.values()]
    assert overlap(prediction, reference, classes) == pytest.approx(expected)


def test_overlap_of_an_absent_class_is_one() -> None:
    prediction, reference = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert overlap(prediction, reference, 3) == pytest.approx([2 / 3, 4 / 5, 1.0])


@pytest.mark.parametrize(
    "spacing", [(1.0,), (1.0, 1.0, 1.0), (1.0, 0.0), (1.0, -1.0), (1.0, math.nan), (math.inf, 1.0)]
)
def test_bad_spacing_is_refused(spacing: tuple[float, ...]) -> None:
    labels = np.zeros((4, 4), dtype=np.uint8)
    with pytest.raises(ValueError, match="allowed: 2 positive finite numbers in mm") as caught:
        score_labels(labels, labels, spacing, [1])
    assert str(spacing) in str(caught.value)
    with pytest.raises(ValueError, match="allowed: 2 positive finite numbers in mm"):
        score_masks(labels == 1, labels == 1, spacing)


def test_different_shapes_are_refused() -> None:
    prediction, reference = np.zeros((4, 5), dtype=np.uint8), np.zeros((4, 4), dtype=np.uint8)
    message = r"prediction has shape \(4, 5\); allowed: \(4, 4\)"
    with pytest.raises(ValueError, match=message):
        score_labels(prediction, reference, (1.0, 1.0), [1])
    with pytest.raises(ValueError, match=message):
        score_masks(prediction == 1, reference == 1, (1.0, 1.0))
    with pytest.raises(ValueError, match=message):
        overlap(prediction, reference, 2)


def test_other_dtypes_are_refused() -> None:
    labels = np.zeros((4, 4), dtype=np.uint8)
    logits = labels.astype(np.float32)
    with pytest.raises(ValueError, match="prediction has dtype float32; allowed: integer"):
        score_labels(logits, labels, (1.0, 1.0), [1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reference has dtype float32; allowed: integer"):
        overlap(labels, logits, 2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="prediction has dtype uint8; allowed: bool"):
        score_masks(labels, labels == 1, (1.0, 1.0))  # type: ignore[arg-type]


def test_one_and_four_dimensions_are_refused() -> None:
    for shape in ((4,), (2, 2, 2, 2)):
        mask = np.ones(shape, dtype=bool)
        with pytest.raises(ValueError, match=f"{len(shape)} dimensions; allowed: 2 or 3"):
            score_masks(mask, mask, (1.0,) * len(shape))


@pytest.mark.parametrize("label", [-1, 3])
def test_overlap_refuses_labels_out_of_range(label: int) -> None:
    good, bad = np.zeros(4, dtype=np.int64), np.array([0, 0, 0, label])
    with pytest.raises(ValueError, match=r"reference has labels .* allowed: 0 to 2"):
        overlap(good, bad, 3)
