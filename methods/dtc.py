"""DTC, dual-task consistency (Luo et al. 2021, arXiv:2009.04448).

    T_c = tanh of a level-set head,   d_c = signed distance of class c in [-1, 1], negative inside
    L_LS  = mean_ic (T_ic - d_ic)^2                            on labelled images
    L_DTC = mean_ic (sigmoid(-k T_ic) - p_ic)^2                on all images, k = 1500
    L     = L_sup(x_l, y) + beta L_LS + w(t) L_DTC,   beta = 0.3

c runs over the foreground classes; both heads read the decoder's finest map. Weights are those of
the code (github.com/HiLab-git/DTC at 2525b9c, `code/train_la_dtc.py:47-63,172-191`), which is 3D
with two classes: w up to 1 over 40 x 150 of 6,000 steps, which is the whole run; none is known in
2D. Deviations:
- K classes: one level set per foreground class (code: one, for a sigmoid; the same for K = 2);
- a class that is absent from an image has d = 1 (code: 0, the boundary everywhere, though the mask
  is empty: rare in its volumes, frequent in slices);
- the suite's L_sup (code: Dice alone) and rate (code: a tenth every 2,500 steps);
- no dropout before the two heads (code: Dropout3d(0.5)).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Batch, Progress, tuned
from methods.blocks.distance import signed_distance
from methods.blocks.families import OneNet, RampParams
from methods.blocks.losses import softmax32, supervised_loss
from methods.networks import NetBuilder


class DTCParams(RampParams):
    """Weights, ramp and slope."""

    weight: float = Field(
        1.0,
        ge=0,
        description="largest weight of the dual-task consistency",
        json_schema_extra=tuned(0.1, 10.0, log=True),
    )
    beta: float = Field(0.3, ge=0, description="weight of the level-set regression")
    slope: float = Field(1500.0, gt=0, description="k, from level set to mask")


class DTC(OneNet[DTCParams]):
    """A segmentation and a level set of it that agree."""

    Params = DTCParams
    title = "DTC"
    paper = "Luo et al. 2021, arXiv:2009.04448"

    def setup(self, build_net: NetBuilder) -> None:
        """Network and level-set head."""
        super().setup(build_net)
        conv = nn.Conv3d if self.ndim == 3 else nn.Conv2d
        self.head = conv(self.student.stage_channels[0], self.classes - 1, 1)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup`, the regression and the consistency."""
        view = self.student.decode(self.student.encode(batch.images))
        level = torch.tanh(self.head(view.stages[0]).float())
        foreground = range(1, self.classes)
        distance = torch.stack([signed_distance(batch.label == c) for c in foreground], 1)
        mask, p = torch.sigmoid(-self.params.slope * level), softmax32(view.logits)[:, 1:]
        return {
            "supervised": supervised_loss(batch.split(view.logits)[0], batch.label),
            "level_set": self.params.beta * F.mse_loss(batch.split(level)[0], distance),
            "consistency": self.params.weight_at(t) * F.mse_loss(mask, p),
        }
