"""Ways of splitting pixels into a low and a high group, by entropy and, as controls, otherwise.

Every function sees the pixels of one batch as flat tensors (P,) and waits for no device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.base import MethodParams, Progress, Scalar, tuned
from methods.blocks.ramps import sigmoid_ramp

# A pixel whose largest probability is above 1 - this is trivial: most of a medical image is
# background of entropy near 0, and a percentile over it would call everything else uncertain.
_TRIVIAL = 0.01
# Thresholds of `ramp`, first and last.
_FIRST, _LAST = 0.3, 0.6
# Largest threshold of `ramp_ugpcl` for two classes, where it would otherwise reach 1.
_CAP = 0.9
# First share of `percentile_decay` (U2PL).
_ALPHA = 0.2
# Quantiles are taken over about this many entries at most.
_MOST = 1_000_000


class SplitParams(MethodParams):
    """Parameters of the split.

    Modes of `split`: `fixed`: tau. `ramp`: from 0.3 to 0.6 along the ramp r(t). `ramp_ugpcl`:
    (3/4 + r(t)/4) ln 2 / ln K, the threshold of UGPCL and UA-MT. `mean`: the mean of H over all
    pixels but trivial background, where H is near 0. `percentile`: the `quantile` of H over
    non-trivial pixels; `per_class_percentile`: inside each class. `percentile_decay`: H at most the
    alpha-quantile is low, at least the (1 - alpha)-quantile is high, alpha = 0.2 (1 - t/T) (U2PL).
    Controls: `none`: all pixels are low. `boundary`: pixels beside another class are high.
    `random`: groups of the sizes that `random_like` gives in each class, their pixels drawn at
    random; a class that would lie in one group alone is halved, or its draw would change nothing.
    """

    split: Literal[
        "fixed",
        "ramp",
        "ramp_ugpcl",
        "mean",
        "percentile",
        "percentile_decay",
        "per_class_percentile",
        "none",
        "boundary",
        "random",
    ] = Field("fixed", description="how the groups are found")
    tau: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="entropy threshold, on entropy in [0, 1]",
        json_schema_extra=tuned(0.1, 0.75),
    )
    quantile: float = Field(0.8, gt=0, lt=1, description="of the percentile splits")
    random_like: Literal["fixed", "per_class_percentile"] = Field(
        "fixed", description="split whose group sizes `random` takes"
    )


@dataclass(frozen=True)
class Pixels:
    """What the split reads of every pixel.

    Attributes:
        entropy: (P,) float32 in [0, 1].
        confidence: (P,) float32, largest class probability.
        label: (P,) int64 in [0, K).
        border: (P,) bool, has a pixel of another class beside it.
        classes: K.
    """

    entropy: Tensor
    confidence: Tensor
    label: Tensor
    border: Tensor
    classes: int

    @property
    def of_class(self) -> Tensor:
        """(K, P) bool."""
        return self.label == torch.arange(self.classes, device=self.label.device)[:, None]


def split_pixels(pixels: Pixels, params: SplitParams, t: Progress) -> tuple[Tensor, Tensor]:
    """Low and high masks.

    Args:
        pixels: of the batch.
        params: how they are split.
        t: position in the run.

    Returns:
        Two (P,) bool masks that share no pixel; `percentile_decay` leaves pixels in neither.
    """
    h = pixels.entropy
    if params.split == "none":
        return torch.ones_like(h, dtype=torch.bool), torch.zeros_like(h, dtype=torch.bool)
    if params.split == "boundary":
        return ~pixels.border, pixels.border
    if params.split == "percentile_decay":
        alpha = t.scalar(lambda now: _ALPHA * (1 - now.fraction))
        lower, upper = (_quantile(pixels, q)[0] for q in (alpha, 1 - alpha))
        high = h >= upper
        return (h <= lower) & ~high, high
    mode = params.random_like if params.split == "random" else params.split
    high = h > _threshold(pixels, params, mode, t)
    if params.split == "random":
        high = _shuffled(high, pixels)
    return ~high, high


def _threshold(pixels: Pixels, params: SplitParams, mode: str, t: Progress) -> Scalar:
    if mode == "ramp":
        return t.scalar(lambda now: _FIRST + (_LAST - _FIRST) * sigmoid_ramp(now.fraction))
    if mode == "ramp_ugpcl":
        whole, most = math.log(pixels.classes), _CAP if pixels.classes == 2 else 1.0
        return t.scalar(
            lambda now: min((0.75 + 0.25 * sigmoid_ramp(now.fraction)) * math.log(2) / whole, most)
        )
    if mode == "mean":
        counted = (pixels.confidence < 1 - _TRIVIAL) | (pixels.label > 0)
        return (pixels.entropy * counted).sum() / counted.sum().clamp(min=1)
    if mode == "percentile":
        return _quantile(pixels, params.quantile)[0]
    if mode == "per_class_percentile":
        return _quantile(pixels, params.quantile, pixels.of_class)[pixels.label]
    return params.tau


def _quantile(pixels: Pixels, q: Scalar, member: Tensor | None = None) -> Tensor:
    """Quantile of the entropy of non-trivial pixels, one per row of `member` (G, P); 1 if none."""
    counted = (pixels.confidence < 1 - _TRIVIAL)[None]
    if member is not None:
        counted = counted & member
    value = torch.where(counted, pixels.entropy, torch.nan)
    value = value[:, :: 1 + value.numel() // _MOST]
    return value.nanquantile(q, dim=1).nan_to_num(nan=1.0)


def _shuffled(high: Tensor, pixels: Pixels) -> Tensor:
    """A random mask with as many pixels of every class as `high` has, half where that is all or 0.

    Args:
        high: (P,) bool.
        pixels: give the classes.
    """
    random = torch.randperm(len(high), device=high.device)
    # A stable sort by class leaves the pixels of a class in random order.
    order = random[pixels.label[random].argsort(stable=True)]
    of_class = pixels.of_class
    sizes, wanted = of_class.sum(1), (of_class & high).sum(1)
    wanted = torch.where((wanted == 0) | (wanted == sizes), sizes // 2, wanted)
    first, label = sizes.cumsum(0) - sizes, pixels.label[order]
    rank = torch.arange(len(high), device=high.device) - first[label]
    return torch.empty_like(high).scatter_(0, order, rank < wanted[label])


def border(label: Tensor, *, reach: int = 1) -> Tensor:
    """Points that have a point of another class at most `reach` steps away along every axis.

    Args:
        label: (N, *G) int64.
        reach: steps, at least 1.

    Returns:
        (N, *G) bool.
    """
    # Largest class of the window, and largest negated class: minus its smallest.
    both = torch.stack([label, -label])
    for axis, points in enumerate(label.shape[1:], start=2):
        index = torch.arange(-reach, points + reach, device=label.device).clamp(0, points - 1)
        both = both.index_select(axis, index).unfold(axis, 2 * reach + 1, 1).amax(-1)
    return both[0] != -both[1]
