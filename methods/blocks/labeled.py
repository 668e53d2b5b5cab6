"""Training on the loss of labelled images alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, MethodParams, Progress
from methods.blocks.families import OneNet
from methods.blocks.losses import supervised_loss
from methods.blocks.perturb import strong_view


class LabeledParams(MethodParams):
    """Parameters of methods that learn from labelled images alone."""

    batch: Literal["labeled", "both"] = Field(
        "labeled",
        description="images per step: the labelled ones of all methods, or as many as"
        " labelled and unlabelled together (12 and 24 in the SSL4MIS protocol)",
    )
    strong: bool = Field(False, description="strong intensity views, the control of weak/strong")
    unlabeled_bn: bool = Field(
        False,
        description="unlabelled images pass with the labelled ones at weight 0, so that only batch"
        " norm sees them: the control of every method with an unlabelled term",
    )

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "sup12": {"batch": "labeled"},
        "sup24": {"batch": "both"},
    }


L = TypeVar("L", bound=LabeledParams)


class LabeledOnly(OneNet[L]):
    """One network trained by `L_sup` on labelled images."""

    uses_unlabeled = False

    @classmethod
    def batch_sizes(cls, params: L, labeled: int, unlabeled: int) -> tuple[int, int]:
        """`labeled`, or both numbers together; unlabelled ones only where batch norm sees them."""
        first = labeled + (unlabeled if params.batch == "both" else 0)
        return first, unlabeled if params.unlabeled_bn else 0

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:  # noqa: ARG002
        """`L_sup`."""
        image = strong_view(batch.image) if self.params.strong else batch.image
        seen = torch.cat([image, batch.unlabeled]) if self.params.unlabeled_bn else image
        logits = self.student(seen)[: len(image)]
        return {"supervised": supervised_loss(logits, batch.label)}
