"""Dice, Jaccard, HD95, ASD, ASSD and NSD of segmentations, with distances in mm.

The definitions are those of MedPy 0.5.2 (`medpy.metric.binary`: `dc`, `jc`, `hd95`, `asd`, `assd`)
and, for NSD, of MONAI (`SurfaceDiceMetric` with `use_subvoxels=False`):

* Dice = 2 |P and R| / (|P| + |R|), Jaccard = |P and R| / |P or R|.
* The surface of a mask is the voxels that an erosion with the face-connected structuring element
  removes; a mask voxel on the image border is always surface. Each surface voxel has a distance to
  the nearest voxel of the other surface, which gives two lists: from P to R and from R to P.
* HD95 is the 95th percentile (linear interpolation) of both lists taken together.
* ASD is the mean of the list from P to R only. It is directed and flatters masks that are too
  small, so it serves comparison with published values.
* ASSD is the mean of both lists taken together, so the larger surface weighs more. MedPy 0.4.0
  took the mean of the two directed means in its place.
* NSD, the normalised surface Dice, is the share of both lists together that is at most the
  tolerance. It counts surface voxels without weighting them by area, unlike the surface Dice of
  DeepMind's `surface-distance` and MONAI's `use_subvoxels=True`, whose values differ.

MedPy raises an error for an empty mask. Here both masks empty means Dice, Jaccard and NSD 1 and
distances NaN, to be left out of means; one mask empty means Dice, Jaccard and NSD 0 and all
distances equal to the image diagonal in mm, the length of the vector size * spacing over the whole
image (outer edge to outer edge, not between the centres of the corner voxels).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Empty = Literal["none", "reference", "prediction", "both"]


@dataclass(frozen=True)
class Score:
    """Agreement of one predicted mask with one reference mask.

    Attributes:
        dice: in [0, 1]; best 1, worst 0; never undefined (both masks empty: 1).
        jaccard: in [0, 1]; best 1, worst 0; never undefined (both masks empty: 1).
        hd95_mm: symmetric; best 0, worst the image diagonal (also if exactly one mask is empty);
            NaN if both masks are empty.
        asd_mm: directed, prediction to reference; best 0, worst the image diagonal (also if
            exactly one mask is empty); NaN if both masks are empty.
        assd_mm: symmetric; best 0, worst the image diagonal (also if exactly one mask is empty);
            NaN if both masks are empty.
        nsd: in [0, 1]; symmetric; best 1, worst 0 (also if exactly one mask is empty); never
            undefined (both masks empty: 1).
        ref_voxels: voxels of the reference mask.
        pred_voxels: voxels of the predicted mask.
        empty: which mask has no voxel.
    """

    dice: float
    jaccard: float
    hd95_mm: float
    asd_mm: float
    assd_mm: float
    nsd: float
    ref_voxels: int
    pred_voxels: int
    empty: Empty


def score_masks(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing: Sequence[float],
    *,
    tolerance: float,
) -> Score:
    """Compare two binary masks; see `Score` for best, worst and undefined values.

    Args:
        prediction: bool (*S), 2D or 3D.
        reference: bool (*S), same shape.
        spacing: voxel size in mm along each axis of S, positive and finite.
        tolerance: largest distance that NSD accepts, in mm (the unit of the spacing), positive and
            finite.

    Returns:
        Overlap without unit, distances in mm.

    Raises:
        ValueError: the masks are not bool, differ in shape or are not 2D or 3D, or the spacing
            or the tolerance does not fit.
    """
    for name, mask in (("prediction", prediction), ("reference", reference)):
        if mask.dtype != np.bool_:
            raise ValueError(f"{name} has dtype {mask.dtype}; allowed: bool")
    _check_shapes(prediction.shape, reference.shape)
    voxel = _checked_spacing(spacing, reference.shape)
    _check_tolerance(tolerance)
    return _score(prediction, reference, voxel, tolerance)


def score_labels(
    prediction: NDArray[np.integer],
    reference: NDArray[np.integer],
    spacing: Sequence[float],
    classes: Sequence[int],
    *,
    tolerance: float,
) -> dict[int, Score]:
    """Compare two label maps class by class; see `Score` for best, worst and undefined values.

    Args:
        prediction: integer labels (*S), 2D or 3D.
        reference: integer labels (*S), same shape.
        spacing: voxel size in mm along each axis of S, positive and finite.
        classes: label values to score, usually without the background.
        tolerance: largest distance that NSD accepts, in mm (the unit of the spacing), positive and
            finite.

    Returns:
        One score for each value of `classes`, in that order.

    Raises:
        ValueError: the label maps are not integer, differ in shape or are not 2D or 3D, or the
            spacing or the tolerance does not fit.
    """
    _check_labels(prediction, reference)
    _check_shapes(prediction.shape, reference.shape)  # before masks of them are compared
    return {
        c: score_masks(prediction == c, reference == c, spacing, tolerance=tolerance)
        for c in classes
    }


def overlap(
    prediction: NDArray[np.integer], reference: NDArray[np.integer], classes: int
) -> NDArray[np.float64]:
    """Dice of every class from one pass over the voxels, without distances.

    Best 1, worst 0; never undefined: a class absent from both label maps has Dice 1.

    Args:
        prediction: integer labels in [0, classes), any shape.
        reference: integer labels in [0, classes), same shape.
        classes: number of classes K including the background.

    Returns:
        float64 (K,), Dice of the classes 0 to K-1 over all voxels together.

    Raises:
        ValueError: the label maps are not integer, differ in shape or leave [0, classes).
    """
    _check_labels(prediction, reference)
    _check_shapes(prediction.shape, reference.shape)
    for name, labels in (("prediction", prediction), ("reference", reference)):
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            found = f"{labels.min()} to {labels.max()}"
            raise ValueError(f"{name} has labels {found}; allowed: 0 to {classes - 1}")
    pairs = reference.ravel().astype(np.intp) * classes + prediction.ravel()
    confusion = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    dice = np.ones(classes)
    np.divide(2.0 * confusion.diagonal(), total, out=dice, where=total > 0)
    return dice


def _score(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    voxel: NDArray[np.float64],
    tolerance: float,
) -> Score:
    """Score of two checked masks; `voxel` float64 (ndim,) and `tolerance` in mm."""
    pred_voxels = int(np.count_nonzero(prediction))
    ref_voxels = int(np.count_nonzero(reference))
    if not (pred_voxels and ref_voxels):
        diagonal = float(np.linalg.norm(reference.shape * voxel))
        return _empty_score(pred_voxels, ref_voxels, diagonal)
    box = _joint_box(prediction, reference)
    prediction, reference = prediction[box], reference[box]
    shared = int(np.count_nonzero(prediction & reference))
    to_reference, to_prediction = _surface_distances(prediction, reference, voxel)
    distances = np.concatenate((to_reference, to_prediction))
    return Score(
        dice=2 * shared / (pred_voxels + ref_voxels),
        jaccard=shared / (pred_voxels + ref_voxels - shared),
        hd95_mm=float(np.percentile(distances, 95)),
        asd_mm=float(to_reference.mean()),
        assd_mm=float(distances.mean()),
        nsd=float(np.mean(distances <= tolerance)),
        ref_voxels=ref_voxels,
        pred_voxels=pred_voxels,
        empty="none",
    )


def _empty_score(pred_voxels: int, ref_voxels: int, diagonal: float) -> Score:
    """Score where at least one mask is empty, by the rule in the module docstring."""
    both = pred_voxels == ref_voxels
    agreement, distance = (1.0, float("nan")) if both else (0.0, diagonal)
    empty: Empty = "both" if both else "reference" if ref_voxels == 0 else "prediction"
    return Score(
        dice=agreement,
        jaccard=agreement,
        hd95_mm=distance,
        asd_mm=distance,
        assd_mm=distance,
        nsd=agreement,
        ref_voxels=ref_voxels,
        pred_voxels=pred_voxels,
        empty=empty,
    )


def _joint_box(prediction: NDArray[np.bool_], reference: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Bounding box of the union, one voxel wider where the image allows.

    Nothing outside can change a surface or a distance, so the metrics of the crop are exact.
    """
    union = prediction | reference
    box = []
    for axis in range(union.ndim):
        others = tuple(a for a in range(union.ndim) if a != axis)
        filled = np.flatnonzero(union.any(axis=others))
        box.append(slice(max(int(filled[0]) - 1, 0), int(filled[-1]) + 2))
    return tuple(box)


def _surface_distances(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], voxel: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances in mm of each surface voxel to the other surface: from P to R, from R to P."""
    surface_p, surface_r = _surface(prediction), _surface(reference)
    return _distances(surface_p, surface_r, voxel), _distances(surface_r, surface_p, voxel)


def _surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Voxels of the mask with a face neighbour outside it; beyond the array counts as outside."""
    return mask & ~ndimage.binary_erosion(mask)


def _distances(
    source: NDArray[np.bool_], target: NDArray[np.bool_], voxel: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance in mm of every source voxel to the nearest target voxel, float64 (n,)."""
    # Positions of the nearest voxels are enough: lengths are then taken at source voxels only,
    # which spares the square root and three float64 arrays over the whole box.
    nearest: NDArray[np.int32] = ndimage.distance_transform_edt(
        ~target, sampling=voxel, return_distances=False, return_indices=True
    )
    steps = nearest[:, source] - np.argwhere(source).T
    distances: NDArray[np.float64] = np.linalg.norm(steps * voxel[:, np.newaxis], axis=0)
    return distances


def _check_labels(*maps: NDArray[np.integer]) -> None:
    """Refuse arrays that are not integer label maps, such as logits or probabilities."""
    for name, labels in zip(("prediction", "reference"), maps, strict=True):
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"{name} has dtype {labels.dtype}; allowed: integer labels")


def _check_shapes(prediction: tuple[int, ...], reference: tuple[int, ...]) -> None:
    """Refuse arrays of different shape."""
    if prediction != reference:
        raise ValueError(f"prediction has shape {prediction}; allowed: {reference} (reference)")


def _checked_spacing(spacing: Sequence[float], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Spacing as float64 (ndim,) in mm, for masks of two or three dimensions."""
    if len(shape) not in (2, 3):
        raise ValueError(f"masks have {len(shape)} dimensions; allowed: 2 or 3")
    voxel = np.asarray(spacing, dtype=np.float64)
    if voxel.shape != (len(shape),) or not np.all(np.isfinite(voxel) & (voxel > 0)):
        raise ValueError(
            f"spacing is {spacing}; allowed: {len(shape)} positive finite numbers in mm, "
            "one for each axis"
        )
    return voxel


def _check_tolerance(tolerance: float) -> None:
    """Refuse a tolerance that no surface distance can be compared with."""
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"tolerance is {tolerance}; allowed: a positive finite number in mm")
