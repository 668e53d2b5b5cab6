"""Shares of EGCL-Net's terms, and the controls of its ablation."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from methods.base import Progress
from methods.blocks.contrast import Pairs, Samples
from methods.blocks.embedding import Drawn
from methods.blocks.entropy import normalized_entropy
from methods.blocks.groups import GroupParams
from methods.blocks.losses import softmax32
from methods.blocks.ramps import sigmoid_ramp
from methods.blocks.traits import Traits


class ControlParams(GroupParams):
    """Shares of the terms; other readings of the abstract, entropy minimisation for contrast."""

    w_low: float = Field(1 / 3, ge=0, description="share of the low-entropy term")
    w_high: float = Field(1 / 3, ge=0, description="share of the high-entropy term")
    w_cross: float = Field(1 / 3, ge=0, description="share of the high-to-low term")
    reading: Literal["semantic", "entropy_group", "joint"] = Field(
        "semantic", description="what a class is in the contrast: class, group, or both together"
    )
    lam_entropy: float = Field(0.0, ge=0, description="largest weight of entropy minimisation")

    @model_validator(mode="after")
    def _shares(self) -> ControlParams:
        total = self.w_low + self.w_high + self.w_cross
        if abs(total - 1) > 1e-6:
            raise ValueError(f"w_low + w_high + w_cross must be 1, got {total:g}")
        if self.reading != "semantic" and self.w_cross > 0:
            raise ValueError(f"reading '{self.reading}' excludes the cross term: set w_cross to 0")
        if self.low_negatives == "all" and self.w_low < 1:
            raise ValueError(
                "low_negatives 'all' makes high entropy negatives only: set w_low to 1"
            )
        return self

    @model_validator(mode="after")
    def _class_means_class(self) -> ControlParams:
        if self.reading != "semantic" and self.high_label == "top2_safe":
            raise ValueError(f"reading '{self.reading}' has no second class: change high_label")
        return self


def entropy_term(params: ControlParams, logits: Tensor, t: Progress) -> dict[str, Tensor]:
    """Mean normalised entropy, weighted; nothing where the weight is 0.

    Args:
        params: gives the largest weight.
        logits: (N, K, *S).
        t: position in the run.
    """
    if params.lam_entropy == 0:
        return {}
    h = normalized_entropy(softmax32(logits)).mean()
    weight = t.scalar(lambda now: params.lam_entropy * sigmoid_ramp(now.fraction))
    return {"entropy": weight * h}


def control_pairs(params: ControlParams, low: Drawn, high: Drawn) -> dict[str, Pairs]:
    """What the terms compare in a control, by term; those left out are as by default.

    - `low_negatives: all`: low anchors are pushed from high keys too, which take no gradient.
    - `reading`: the classes are the groups (`entropy_group`) or class and group (`joint`). The
      samples and their number are those of the default.

    Args:
        params: which control.
        low: of the low group.
        high: of the high group.
    """
    if params.reading != "semantic":
        keys = _regrouped(low.keys, high.keys, params.reading)
        anchors = _regrouped(low.anchors, high.anchors, params.reading)
        rows = torch.arange(len(keys.valid), device=keys.valid.device)[:, None]
        is_high = rows >= len(rows) // 2
        return {
            name: Pairs(replace(anchors, valid=anchors.valid & own), keys, keys, skip_self=True)
            for name, own in (("low", ~is_high), ("high", is_high))
        }
    if params.low_negatives == "all":
        negatives = low.keys.extended(high.keys.detach())
        return {"low": Pairs(low.anchors, low.keys, negatives, skip_self=True)}
    return {}


def _regrouped(low: Samples, high: Samples, reading: str) -> Samples:
    """Samples (K, M, D) of both groups by class and group (2 K, M, D), or by group (2, M K, D)."""

    def merged(a: Tensor, b: Tensor) -> Tensor:
        both = torch.stack([a, b])
        # Slots before classes, so that the first slots of all classes stay the first.
        return both.flatten(0, 1) if reading == "joint" else both.transpose(1, 2).flatten(1, 2)

    a, b = low.known, high.known
    traits = Traits(
        merged(a.emphasis, b.emphasis), merged(a.trust, b.trust), merged(a.second, b.second)
    )
    return Samples(merged(low.vectors, high.vectors), merged(low.valid, high.valid), traits)
