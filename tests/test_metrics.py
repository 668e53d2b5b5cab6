"""Metrics against MedPy and MONAI, against values by hand, and the rules for empty masks."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from medpy.metric import binary
from monai.metrics import compute_surface_dice
from numpy.typing import NDArray

from benchmarks.metrics import Score, overlap, score_labels, score_masks
from datasets import dataset_ids, load_dataset

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
        binary.assd(prediction, reference, voxelspacing=spacing),
    ]


def monai_nsd(
    prediction: Mask, reference: Mask, spacing: tuple[float, ...], tolerance: float
) -> float:
    p, r = (torch.as_tensor(mask)[None, None] for mask in (prediction, reference))
    nsd = compute_surface_dice(
        p, r, [tolerance], include_background=True, spacing=spacing, use_subvoxels=False
    )
    return float(nsd)


def values(score: Score) -> tuple[float, ...]:
    """Dice, Jaccard, HD95, ASD and ASSD."""
    return astuple(score)[:5]


def points(shape: tuple[int, ...], *where: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(zip(*where, strict=True))] = True
    return mask


@properties
@given(cases())
def test_equal_to_medpy(case: Case) -> None:
    score = score_masks(*case, tolerance=1.0)
    assert values(score) == pytest.approx(medpy_values(*case), abs=1e-6)
    assert score.empty == "none"


@properties
@given(cases(), st.floats(0.2, 30.0))
def test_nsd_equal_to_monai(case: Case, tolerance: float) -> None:
    # A distance equal to the tolerance falls on either side by rounding; by hand below.
    low, high = (monai_nsd(*case, tolerance * factor) for factor in (1 - 1e-5, 1 + 1e-5))
    assume(low == high)
    assert score_masks(*case, tolerance=tolerance).nsd == pytest.approx(low, abs=1e-6)


@pytest.mark.parametrize("shape", [(9, 11), (5, 9, 11)])
def test_equal_to_medpy_where_masks_fill_the_image(shape: tuple[int, ...]) -> None:
    spacing = (4.0, 0.7, 1.3)[: len(shape)]
    full, half = np.ones(shape, dtype=bool), np.ones(shape, dtype=bool)
    half[..., : shape[-1] // 2] = False
    score = score_masks(half, full, spacing, tolerance=1.0)
    assert values(score) == pytest.approx(medpy_values(half, full, spacing), abs=1e-6)
    assert score.nsd == pytest.approx(monai_nsd(half, full, spacing, 1.0), abs=1e-6)


@pytest.mark.parametrize("index", range(4))
def test_reference_values(index: int, reference_values: dict[str, NDArray[np.generic]]) -> None:
    prediction = reference_values[f"mask{index}_pred"].astype(bool)
    reference = reference_values[f"mask{index}_ref"].astype(bool)
    spacing = reference_values[f"mask{index}_spacing"].astype(float)
    expected = reference_values[f"mask{index}_medpy_dc_jc_hd95_asd"].astype(float)
    score = score_masks(prediction, reference, tuple(spacing), tolerance=1.0)
    assert values(score)[:4] == pytest.approx(expected, abs=1e-6)


@properties
@given(cases())
def test_swapping_masks_changes_nothing_but_asd(case: Case) -> None:
    prediction, reference, spacing = case
    there = score_masks(*case, tolerance=1.0)
    back = score_masks(reference, prediction, spacing, tolerance=1.0)
    assert values(back)[:3] == pytest.approx(values(there)[:3])
    assert (back.assd_mm, back.nsd) == pytest.approx((there.assd_mm, there.nsd))
    assert (back.ref_voxels, back.pred_voxels) == (there.pred_voxels, there.ref_voxels)


@properties
@given(cases())
def test_a_mask_agrees_with_itself(case: Case) -> None:
    _, reference, spacing = case
    score = score_masks(reference, reference, spacing, tolerance=1e-9)
    assert (*values(score), score.nsd) == (1.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@properties
@given(cases(), st.floats(0.1, 10.0))
def test_distances_scale_with_spacing(case: Case, factor: float) -> None:
    prediction, reference, spacing = case
    before = score_masks(*case, tolerance=1.0)
    stretched = [factor * s for s in spacing]
    after = score_masks(prediction, reference, stretched, tolerance=1.0)
    assert after.hd95_mm == pytest.approx(factor * before.hd95_mm)
    assert after.asd_mm == pytest.approx(factor * before.asd_mm)
    assert after.assd_mm == pytest.approx(factor * before.assd_mm)
    assert (after.dice, after.jaccard) == (before.dice, before.jaccard)


def test_two_voxels_by_hand() -> None:
    score = score_masks(points((9, 9), (1, 1)), points((9, 9), (4, 5)), (1.0, 1.0), tolerance=1.0)
    assert values(score) == pytest.approx((0.0, 0.0, 5.0, 5.0, 5.0))


def test_spacing_belongs_to_its_axis() -> None:
    prediction, reference = points((4, 9, 9), (1, 2, 2)), points((4, 9, 9), (2, 2, 2))
    for spacing in ((10.0, 1.5, 1.5), (1.5, 1.5, 10.0)):
        score = score_masks(prediction, reference, spacing, tolerance=1.5)
        assert (score.hd95_mm, score.assd_mm) == pytest.approx((spacing[0], spacing[0]))
        assert score.nsd == (spacing[0] == 1.5)


def test_asd_is_directed_and_hd95_pools_both_directions() -> None:
    reference, prediction = points((1, 9), (0, 0)), points((1, 9), (0, 0), (0, 8))
    score = score_masks(prediction, reference, (1.0, 1.0), tolerance=1.0)
    assert score.dice == pytest.approx(2 / 3)
    assert score.jaccard == pytest.approx(1 / 2)
    assert score.asd_mm == pytest.approx(4.0)
    # Both lists together are 0, 0, 8: rank 0.95 * 2 = 1.9 lies at 0.9 of the way from 0 to 8.
    assert score.hd95_mm == pytest.approx(7.2)
    assert score_masks(reference, prediction, (1.0, 1.0), tolerance=1.0).asd_mm == 0.0


def test_assd_and_nsd_pool_both_lists() -> None:
    reference, prediction = points((1, 9), (0, 0)), points((1, 9), (0, 0), (0, 2), (0, 7))
    score = score_masks(prediction, reference, (1.0, 1.5), tolerance=3.0)
    # From the prediction 0, 3 and 10.5 mm, from the reference 0: the mean of the two directed means
    # would be 2.25, and the mean of the two directed shares 5/6.
    assert score.assd_mm == pytest.approx(13.5 / 4)
    assert score.nsd == pytest.approx(3 / 4)
    assert score_masks(reference, prediction, (1.0, 1.5), tolerance=3.0).nsd == pytest.approx(3 / 4)


@pytest.mark.parametrize(
    ("tolerance", "expected"), [(2.999, 0.5), (3.0, 0.75), (10.499, 0.75), (10.5, 1.0)]
)
def test_nsd_accepts_a_distance_equal_to_the_tolerance(tolerance: float, expected: float) -> None:
    reference, prediction = points((1, 9), (0, 0)), points((1, 9), (0, 0), (0, 2), (0, 7))
    score = score_masks(prediction, reference, (1.0, 1.5), tolerance=tolerance)
    assert score.nsd == pytest.approx(expected)


def test_nsd_counts_surface_voxels_not_areas_or_volumes() -> None:
    reference = np.zeros((9, 9), dtype=bool)
    prediction = reference.copy()
    reference[2:7, 2:7], prediction[2:7, 2:8] = True, True
    # The surfaces are frames of 16 and 18 voxels. Of the prediction, the last column (5 voxels) is
    # 4 mm from the reference. Of the reference, the 3 inner voxels of the last column lie inside
    # the prediction, 1, 2 and 1 rows of 1 mm from its first or last row. All others coincide.
    for tolerance, accepted in ((0.5, 13 + 13), (1.0, 13 + 15), (2.0, 13 + 16), (4.0, 18 + 16)):
        score = score_masks(prediction, reference, (1.0, 4.0), tolerance=tolerance)
        assert score.nsd == pytest.approx(accepted / (18 + 16))


def test_one_empty_mask_costs_the_image_diagonal() -> None:
    shape, spacing = (3, 10, 20), (2.0, 0.8, 0.6)
    none, some = np.zeros(shape, dtype=bool), points(shape, (1, 1, 1), (1, 1, 2))
    diagonal = math.sqrt(6**2 + 8**2 + 12**2)
    missed = score_masks(none, some, spacing, tolerance=1.0)
    assert values(missed) == pytest.approx((0.0, 0.0, diagonal, diagonal, diagonal))
    assert missed.nsd == 0.0
    assert (missed.empty, missed.ref_voxels, missed.pred_voxels) == ("prediction", 2, 0)
    invented = score_masks(some, none, spacing, tolerance=1.0)
    assert values(invented) == pytest.approx((0.0, 0.0, diagonal, diagonal, diagonal))
    assert invented.nsd == 0.0
    assert (invented.empty, invented.ref_voxels, invented.pred_voxels) == ("reference", 0, 2)


def test_both_masks_empty_agree_and_have_no_distance() -> None:
    none = np.zeros((4, 4), dtype=bool)
    score = score_masks(none, none, (1.0, 1.0), tolerance=1.0)
    assert (score.dice, score.jaccard, score.nsd, score.empty) == (1.0, 1.0, 1.0, "both")
    assert all(map(math.isnan, (score.hd95_mm, score.asd_mm, score.assd_mm)))


def test_score_labels_scores_each_class_as_a_mask() -> None:
    rng = np.random.default_rng(3)
    prediction = rng.integers(0, 3, (4, 8, 8)).astype(np.uint8)
    reference = rng.integers(0, 3, (4, 8, 8)).astype(np.int64)
    spacing = (10.0, 1.5, 1.5)
    scores = score_labels(prediction, reference, spacing, (2, 1, 4), tolerance=1.5)
    assert list(scores) == [2, 1, 4]
    assert scores[1] == score_masks(prediction == 1, reference == 1, spacing, tolerance=1.5)
    assert scores[2] == score_masks(prediction == 2, reference == 2, spacing, tolerance=1.5)
    assert scores[4].empty == "both"


@properties
@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_overlap_is_the_dice_of_every_class(classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    prediction, reference = rng.integers(0, classes, (2, 3, 3, 3)).astype(np.uint8)
    scores = score_labels(prediction, reference, (1.0, 1.0, 1.0), range(classes), tolerance=1.0)
    expected = [score.dice for score in scores.values()]
    assert overlap(prediction, reference, classes) == pytest.approx(expected)


def test_overlap_of_an_absent_class_is_one() -> None:
    prediction, reference = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert overlap(prediction, reference, 3) == pytest.approx([2 / 3, 4 / 5, 1.0])


@pytest.mark.parametrize(
    ("dataset", "tolerance"),
    [
        # compute_surface_dice_at_tolerance(surface_distances, 3), column LesionNSD-3mm, in
        # utils/COVID-19-Seg-Evaluation.py of JunMa11/COVID-19-CT-Seg-Benchmark.
        ("covid19", 3.0),
        ("acdc", 2.0),
        ("brats2019", 1.0),
        ("msd_brain", 1.0),
    ],
)
def test_tolerance_of_data_sets(dataset: str, tolerance: float) -> None:
    assert load_dataset(dataset).tolerance == tolerance
    phantom = f"phantom_{dataset}"
    if phantom in dataset_ids():
        assert load_dataset(phantom).tolerance == tolerance
