"""Splitting pixels into a low- and a high-entropy group.

Every function sees the pixels of one batch as flat tensors (P,) and waits for no device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.base import MethodParams, tuned
from methods.blocks.contrast import Traits
from methods.blocks.entropy import normalized_entropy
from methods.blocks.ramps import sigmoid_ramp

LOW, HIGH = 0, 1

# A pixel whose largest probability is above 1 - this is trivial: most of a medical image is
# background of entropy near 0, and a percentile over it would call everything else uncertain.
_TRIVIAL = 0.01
# Largest threshold of `ramp_ugpcl` for two classes, where it would otherwise reach 1.
_CAP = 0.9


class GroupParams(MethodParams):
    """Parameters of the split.

    Modes of `split`: `fixed`: tau. `ramp`: from `tau_start` to `tau_end` along the ramp r(t).
    `ramp_ugpcl`: (3/4 + r(t)/4) ln 2 / ln K, the threshold of UGPCL and UA-MT. `percentile`: the
    `quantile` of H over non-trivial pixels; `per_class_percentile`: inside each class.
    `percentile_decay`: H at most the alpha-quantile is low, at least the (1 - alpha)-quantile is
    high, alpha = 0.2 (1 - t/T) (U2PL). `none`: all pixels are low. `random`: groups of the sizes
    that `fixed` gives in each class, their pixels drawn at random.
    """

    split: Literal[
        "fixed",
        "none",
        "random",
        "ramp",
        "ramp_ugpcl",
        "percentile",
        "percentile_decay",
        "per_class_percentile",
    ] = Field("fixed", description="how the threshold is found")
    tau: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="entropy threshold, on entropy in [0, 1]",
        json_schema_extra=tuned(0.1, 0.75),
    )
    tau_start: float = Field(0.3, gt=0, lt=1, description="first threshold of split: ramp")
    tau_end: float = Field(0.6, gt=0, lt=1, description="last threshold of split: ramp")
    quantile: float = Field(0.8, gt=0, lt=1, description="of the percentile splits")
    labeled_split: Literal["entropy", "low"] = Field(
        "entropy", description="labelled pixels: split as all others, or all low"
    )
    pixels: Literal["all", "labeled"] = Field("all", description="pixels that are contrasted")
    high_label: Literal["argmax", "gt_only", "top2_safe", "soft"] = Field(
        "argmax",
        description="class of unlabelled high-entropy pixels: the most probable; they are left"
        " out; they are no negatives of their second class; they count by their probability",
    )
    entropy_weighting: Literal["none", "suppress", "emphasise"] = Field(
        "none", description="anchors weighted by 1, 1 - H or H"
    )
    include_background: bool = Field(True, description="contrast background pixels too")


@dataclass(frozen=True)
class Pixels:
    """What the split reads of every pixel.

    Attributes:
        entropy: (P,) float32 in [0, 1].
        confidence: (P,) float32, largest class probability.
        label: (P,) int64 in [0, K).
        classes: K.
    """

    entropy: Tensor
    confidence: Tensor
    label: Tensor
    classes: int


def split_by_entropy(pixels: Pixels, params: GroupParams, fraction: float) -> tuple[Tensor, Tensor]:
    """Low- and high-entropy masks.

    Args:
        pixels: of the batch.
        params: how the threshold is found.
        fraction: share of the run that is done, in [0, 1).

    Returns:
        Two (P,) bool masks that share no pixel; `percentile_decay` leaves pixels in neither.
    """
    h = pixels.entropy
    if params.split == "none":
        return torch.ones_like(h, dtype=torch.bool), torch.zeros_like(h, dtype=torch.bool)
    if params.split == "percentile_decay":
        alpha = 0.2 * (1 - fraction)
        lower, upper = (_quantile(pixels, q)[0] for q in (alpha, 1 - alpha))
        high = h >= upper
        return (h <= lower) & ~high, high
    high = h > _threshold(pixels, params, fraction)
    if params.split == "random":
        high = _permuted(high, pixels)
    return ~high, high


def _threshold(pixels: Pixels, params: GroupParams, fraction: float) -> Tensor | float:
    ramp = sigmoid_ramp(fraction)
    if params.split == "ramp":
        return params.tau_start + (params.tau_end - params.tau_start) * ramp
    if params.split == "ramp_ugpcl":
        tau = (0.75 + 0.25 * ramp) * math.log(2) / math.log(pixels.classes)
        return min(tau, _CAP) if pixels.classes == 2 else tau
    if params.split == "percentile":
        return _quantile(pixels, params.quantile)[0]
    if params.split == "per_class_percentile":
        of_class = pixels.label == torch.arange(pixels.classes, device=pixels.label.device)[:, None]
        return _quantile(pixels, params.quantile, of_class)[pixels.label]
    return params.tau


def _quantile(pixels: Pixels, q: float, member: Tensor | None = None) -> Tensor:
    """Quantile of the entropy of non-trivial pixels, one per row of `member` (G, P); 1 if none."""
    counted = (pixels.confidence < 1 - _TRIVIAL)[None]
    if member is not None:
        counted = counted & member
    value = torch.where(counted, pixels.entropy, torch.nan)
    return value.nanquantile(q, dim=1).nan_to_num(nan=1.0)


def _permuted(high: Tensor, pixels: Pixels) -> Tensor:
    """A random mask with as many pixels of every class as `high` has."""
    # Sorting by class plus a random number in [0, 1) shuffles inside the classes.
    order = torch.argsort(pixels.label + torch.rand(high.shape, device=high.device))
    one_hot = pixels.label == torch.arange(pixels.classes, device=high.device)[:, None]
    sizes, wanted = one_hot.sum(1), (one_hot & high).sum(1)
    first = sizes.cumsum(0) - sizes
    label = pixels.label[order]
    rank = torch.arange(len(high), device=high.device) - first[label]
    return torch.empty_like(high).scatter_(0, order, rank < wanted[label])


@dataclass(frozen=True)
class Groups:
    """Grid points of a batch, flattened, split in two.

    Attributes:
        label: (P,) int64, the class of each point: true where labelled, else predicted.
        members: masks (P,) bool of the low and the high group.
        traits: of shape (P,), or None for neutral ones.
        facts: 0-d diagnostics by name.
    """

    label: Tensor
    members: tuple[Tensor, Tensor]
    traits: Traits | None
    facts: dict[str, Tensor]


def assign_groups(average: Tensor, truth: Tensor, params: GroupParams, fraction: float) -> Groups:
    """Split the grid points of a batch, labelled images first.

    Args:
        average: (L + U, K, *G) float32, the averaged prediction.
        truth: (L, *G) int64.
        params: how to split.
        fraction: share of the run that is done, in [0, 1).
    """
    top = average.topk(2, dim=1)
    (confidence, _), (predicted, second) = (x.transpose(0, 1).flatten(1) for x in top)
    label, known = predicted.clone(), torch.zeros_like(predicted, dtype=torch.bool)
    label[: truth.numel()], known[: truth.numel()] = truth.flatten(), True
    h = normalized_entropy(average).flatten()
    pixels = Pixels(h, confidence, label, average.shape[1])
    low, high = split_by_entropy(pixels, params, fraction)
    if params.labeled_split == "low":
        low, high = low | known, high & ~known
    if params.high_label == "gt_only":
        high = high & known
    allowed = torch.ones_like(known) if params.include_background else label > 0
    if params.pixels == "labeled":
        allowed = allowed & known
    low, high = low & allowed, high & allowed
    traits = _traits(pixels, second, high & ~known, params)
    return Groups(label, (low, high), traits, _facts(label, predicted, known, high))


def _traits(pixels: Pixels, second: Tensor, guessed: Tensor, params: GroupParams) -> Traits | None:
    """Weights of the pixels; `guessed` marks high-entropy pixels whose class is predicted."""
    h, plain = pixels.entropy, Traits.neutral(pixels.entropy)
    emphasis = {"none": plain.emphasis, "suppress": 1 - h, "emphasise": h}
    if params.high_label == "soft":
        trust = torch.where(guessed, pixels.confidence, 1.0)
        return Traits(emphasis[params.entropy_weighting], trust, plain.second)
    if params.high_label == "top2_safe":
        doubt = torch.where(guessed, second, -1)
        return Traits(emphasis[params.entropy_weighting], plain.trust, doubt)
    if params.entropy_weighting == "none":
        return None
    return Traits(emphasis[params.entropy_weighting], plain.trust, plain.second)


def _facts(label: Tensor, predicted: Tensor, known: Tensor, high: Tensor) -> dict[str, Tensor]:
    """Diagnostics of a split, for metrics.jsonl; they decide nothing.

    Args:
        label: (P,) int64, true class of labelled pixels, predicted class of the others.
        predicted: (P,) int64.
        known: (P,) bool, labelled pixels.
        high: (P,) bool, the high-entropy group.

    Returns:
        `high_share`: of all pixels. `<group>_known`: share of the labelled pixels that are in the
        group; `<group>_correct`: share that is in it and predicted right, so that their quotient
        is the accuracy inside the group. `high_foreground`: share of the high group that is not
        background. All 0-d in [0, 1].
    """
    total, members = known.sum().clamp(min=1), high.sum().clamp(min=1)
    right = known & (predicted == label)
    return {
        "high_share": high.float().mean(),
        "high_foreground": (high & (label > 0)).sum() / members,
        "low_known": (known & ~high).sum() / total,
        "high_known": (known & high).sum() / total,
        "low_correct": (right & ~high).sum() / total,
        "high_correct": (right & high).sum() / total,
    }
