"""Low and high group of the grid points of a batch: who belongs to them, and with which class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Progress
from methods.blocks.contrast import nearest_at
from methods.blocks.entropy import normalized_entropy
from methods.blocks.splits import Pixels, SplitParams, border, split_pixels
from methods.blocks.traits import Traits

LOW, HIGH = 0, 1

# Distance of the diagnostic `high_border`, in pixels of the image.
_REACH = 3
# From as many classes on, ruling out a pixel's two most probable ones leaves half of them.
_RANKED = 4


class GroupParams(SplitParams):
    """Parameters of the groups: those of the split, and whom they take with which class."""

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
    low_negatives: Literal["low", "all"] = Field(
        "low",
        description="negatives of low anchors; all: those of high entropy too, without gradient"
        " and not for a pixel's own or, from four classes on, second class unless it is labelled",
    )


@dataclass(frozen=True)
class Groups:
    """Grid points of a batch, flattened, split in two.

    Attributes:
        label: (P,) int64, the class of each point: true where labelled, else predicted.
        members: masks (P,) bool of the low and the high group.
        traits: of shape (P,), or None for neutral ones.
        classes: K.
        facts: computes 0-d diagnostics by name.
    """

    label: Tensor
    members: tuple[Tensor, Tensor]
    traits: Traits | None
    classes: int
    facts: Callable[[], dict[str, Tensor]]


def assign_groups(
    average: Tensor, truth: Tensor, grid: Sequence[int], params: GroupParams, t: Progress
) -> Groups:
    """Split the grid points of a batch, labelled images first.

    All is read at the points themselves: averaged probabilities would be uncertain at borders.

    Args:
        average: (L + U, K, *S) float32, the averaged prediction.
        truth: (L, *S) int64.
        grid: *G, no axis larger than in *S.
        params: how to split.
        t: position in the run.
    """
    stride = min(full // points for full, points in zip(truth.shape[1:], grid, strict=True))
    average, truth = (nearest_at(v, grid) for v in (average, truth))
    (top, ranked), classes = average.topk(2, dim=1), average.shape[1]
    predicted, second = ranked[:, 0].flatten(), ranked[:, 1].flatten()
    classed = torch.cat([truth, ranked[len(truth) :, 0]])
    label = classed.flatten()
    known = torch.arange(len(label), device=label.device) < truth.numel()
    pixels = Pixels(
        entropy=normalized_entropy(average).flatten(),
        confidence=top[:, 0].flatten(),
        label=label,
        border=border(classed).flatten(),
        classes=classes,
    )
    low, high = split_pixels(pixels, params, t)
    if params.labeled_split == "low":
        low, high = low | known, high & ~known
    if params.high_label == "gt_only":
        high = high & known
    if params.pixels == "labeled":
        low, high = low & known, high & known

    def facts() -> dict[str, Tensor]:
        near = border(classed, reach=-(-_REACH // stride)).flatten()
        share = (high & near).sum() / high.sum().clamp(min=1)
        return {**_facts(pixels, predicted, known, (low, high)), "high_border": share}

    traits = _traits(pixels, second, high & ~known, params)
    return Groups(label, (low, high), traits, classes, facts)


def _traits(pixels: Pixels, second: Tensor, guessed: Tensor, params: GroupParams) -> Traits | None:
    """Weights of the pixels; `guessed` marks high-entropy pixels whose class is predicted."""
    h, plain = pixels.entropy, Traits.neutral(pixels.entropy)
    emphasis = {"none": plain.emphasis, "suppress": 1 - h, "emphasise": h}
    trust, doubt = plain.trust, plain.second
    if params.high_label == "soft":
        trust = torch.where(guessed, pixels.confidence, trust)
    ranked = params.low_negatives == "all" and pixels.classes >= _RANKED
    if params.high_label == "top2_safe" or ranked:
        doubt = torch.where(guessed, second, doubt)
    if trust is plain.trust and doubt is plain.second and params.entropy_weighting == "none":
        return None
    return Traits(emphasis[params.entropy_weighting], trust, doubt)


def _facts(
    pixels: Pixels, predicted: Tensor, known: Tensor, members: tuple[Tensor, Tensor]
) -> dict[str, Tensor]:
    """Diagnostics of a split, for metrics.jsonl; they decide nothing.

    Args:
        pixels: label is true for labelled pixels, predicted for the others.
        predicted: (P,) int64.
        known: (P,) bool, labelled pixels.
        members: masks (P,) bool of the low and the high group.

    Returns:
        `high_share`: of all pixels. `high_foreground`: share of the high group that is not
        background. `one_sided`: share of the present classes that lie in one group alone.
        `<group>_known`: share of the labelled pixels that are in the group; `<group>_correct`:
        share that is in it and predicted right, so that their quotient is the accuracy inside the
        group. All 0-d in [0, 1].
    """
    high, total = members[HIGH], known.sum().clamp(min=1)
    right = known & (predicted == pixels.label)
    holds = torch.stack([(pixels.of_class & member).any(1) for member in members])
    facts = {
        "high_share": high.float().mean(),
        "high_foreground": (high & (pixels.label > 0)).sum() / high.sum().clamp(min=1),
        "one_sided": (holds[LOW] ^ holds[HIGH]).sum() / holds.any(0).sum().clamp(min=1),
    }
    for name, member in zip(("low", "high"), members, strict=True):
        facts[f"{name}_known"] = (known & member).sum() / total
        facts[f"{name}_correct"] = (right & member).sum() / total
    return facts
