"""Labelled data only: the lower reference of every comparison.

Loss: half the sum of cross-entropy and soft Dice. Network: U-Net (Ronneberger et al. 2015,
arXiv:1505.04597; 3D: Cicek et al. 2016, arXiv:1606.06650).
"""

from __future__ import annotations

from torch import Tensor

from methods.base import Batch, MethodParams, Progress
from methods.blocks.families import OneNet
from methods.blocks.losses import supervised_loss


class SupervisedParams(MethodParams):
    """No parameters."""


class Supervised(OneNet[SupervisedParams]):
    """U-Net on the labelled subset."""

    Params = SupervisedParams
    title = "Supervised"
    paper = "Ronneberger et al. 2015, arXiv:1505.04597"
    uses_unlabeled = False

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:  # noqa: ARG002
        """`L_sup`."""
        return {"supervised": supervised_loss(self.student(batch.image), batch.label)}
