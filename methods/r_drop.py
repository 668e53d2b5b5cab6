"""R-Drop (Liang et al. 2021, arXiv:2106.14448) on unlabelled images.

    L_u = mean_i 1/2 [KL(p_i^a || p_i^b) + KL(p_i^b || p_i^a)]
    L   = 1/2 [L_sup(z^a, y) + L_sup(z^b, y)] + w(t) L_u

a and b are two passes of one network with different dropout; KL runs over the classes. Deviations:
- the paper applies the term to labelled data with a constant weight;
- not the `R-Drop` of SSL4MIS, which takes the softmax over the last image axis, of two networks.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress, tuned
from methods.blocks.divergence import jeffreys
from methods.blocks.families import OneNet, RampParams
from methods.blocks.losses import supervised_loss


class RDropParams(RampParams):
    """Weight and ramp."""

    weight: float = Field(
        1.0,
        ge=0,
        description="largest weight of the divergence",
        json_schema_extra=tuned(0.1, 10.0, log=True),
    )


class RDrop(OneNet[RDropParams]):
    """Two passes with different dropout agree."""

    Params = RDropParams
    title = "R-Drop"
    paper = "Liang et al. 2021, arXiv:2106.14448"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of both passes and their divergence."""
        z_a, z_b = self.student(torch.cat([batch.images] * 2)).chunk(2)
        (a_l, a_u), (b_l, b_u) = batch.split(z_a), batch.split(z_b)
        supervised = supervised_loss(a_l, batch.label) + supervised_loss(b_l, batch.label)
        return {
            "supervised": 0.5 * supervised,
            "divergence": self.params.weight_at(t) * jeffreys(a_u, b_u).mean(),
        }
