"""All training patients labelled: the upper reference of every comparison.

The same network, loss and iterations as `supervised` (U-Net, Ronneberger et al. 2015,
arXiv:1505.04597); only the labelled set is larger.
"""

from __future__ import annotations

from torch import Tensor

from methods.base import Batch, MethodParams, Progress
from methods.blocks.families import OneNet
from methods.blocks.losses import supervised_loss


class FullSupervisedParams(MethodParams):
    """No parameters."""


class FullSupervised(OneNet[FullSupervisedParams]):
    """U-Net on the labels of all training patients."""

    Params = FullSupervisedParams
    title = "Full supervision"
    paper = "Ronneberger et al. 2015, arXiv:1505.04597"
    all_labels = True
    uses_unlabeled = False

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:  # noqa: ARG002
        """`L_sup`."""
        return {"supervised": supervised_loss(self.student(batch.image), batch.label)}
