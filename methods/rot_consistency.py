"""Rotation consistency: what SSL4MIS trains under the name DCT (github.com/HiLab-git/SSL4MIS).

    L = L_sup(x_l, y) + w(t) 1/2 [MSE(sg p(R x_u), R p(x_u)) + MSE(p(R x_u), sg R p(x_u))]

R is a rotation by 90, 180 or 270 degrees in the plane. Both halves have one value; each sends its
gradient to one view. Deviations:
- one rotation per image, never the identity (SSL4MIS: one per batch, 0 degrees included);
- where height and width differ, by 180 degrees only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.families import OneNet, RampParams
from methods.blocks.losses import consistency_mse, softmax32, supervised_loss
from methods.blocks.rotation import draw_turns, rotate


class RotConsistencyParams(RampParams):
    """Weight and ramp."""


class RotConsistency(OneNet[RotConsistencyParams]):
    """The prediction turns with the image."""

    Params = RotConsistencyParams
    title = "Rotation consistency"
    paper = "Luo 2020, github.com/HiLab-git/SSL4MIS"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` and the consistency of the two views."""
        turns = draw_turns(batch.unlabeled, identity=False)
        logits = self.student(torch.cat([batch.images, rotate(batch.unlabeled, turns)]))
        logits_l, logits_u, logits_r = logits.split([len(batch.image), len(turns), len(turns)])
        turned, p_r = rotate(softmax32(logits_u), turns), softmax32(logits_r)
        consistency = consistency_mse(turned, p_r.detach()) + consistency_mse(p_r, turned.detach())
        return {
            "supervised": supervised_loss(logits_l, batch.label),
            "consistency": self.params.weight_at(t) * 0.5 * consistency,
        }
