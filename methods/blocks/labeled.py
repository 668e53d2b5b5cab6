"""Training on labelled images alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, TypeVar

from pydantic import Field
from torch import Tensor

from methods.base import Batch, MethodParams, Progress
from methods.blocks.families import OneNet
from methods.blocks.losses import supervised_loss
from methods.blocks.perturb import strong_view


class LabeledParams(MethodParams):
    """Parameters of methods that see labelled images alone."""

    batch: Literal["labeled", "both"] = Field(
        "labeled",
        description="images per step: the labelled ones of all methods, or as many as"
        " labelled and unlabelled together (12 and 24 in the SSL4MIS protocol)",
    )
    strong: bool = Field(False, description="strong intensity views, the control of weak/strong")

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
        """`labeled`, or both numbers together, and none unlabelled."""
        return labeled + (unlabeled if params.batch == "both" else 0), 0

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:  # noqa: ARG002
        """`L_sup`."""
        image = strong_view(batch.image) if self.params.strong else batch.image
        return {"supervised": supervised_loss(self.student(image), batch.label)}
