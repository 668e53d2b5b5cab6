"""UniMatch V2 (Yang et al. 2024, arXiv:2410.10777).

    yhat, c = teacher on the weak view;  f^v = encoder maps of strong view v
    g^1 = 2 M f^1,  g^2 = 2 (1 - M) f^2        M ~ Bernoulli(1/2) per image and channel
    L = 1/2 [L_sup(x_l, y) + 1/2 sum_v (1/|Omega|) sum_i [c_i >= theta] CE(z_i(g^v), yhat_i)]

Half of the images keep their maps whole. The teacher's decay is min(1 - 1/(t + 1), 0.996).
Deviations:
- the protocol's network in place of DINOv2 with DPT; the student is tested, the teacher is logged;
- one M per level, whose channels differ in number (code: the same for all levels, of equal width);
- each image keeps its maps with probability 1/2 (code: exactly half of the batch do);
- strong views for grey-scale images, CutMix with the next image of the batch (code: the batch in
  reversed order);
- only parameters are averaged, the teacher's batch norm uses its batch (code: averages of the
  student's statistics).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress, tuned
from methods.blocks.families import EMAParams, WithTeacher
from methods.blocks.features import complementary_dropout
from methods.blocks.losses import supervised_loss
from methods.blocks.pseudo import masked_cross_entropy, pseudo_label
from methods.blocks.strong import strong_cutmix


class UniMatchV2Params(EMAParams):
    """Weight, decay, threshold and CutMix."""

    weight: float = Field(
        1.0,
        ge=0,
        description="weight of the pseudo term",
        json_schema_extra=tuned(0.1, 10.0, log=True),
    )
    ramp: float = Field(1e-9, gt=0, le=1, description="share of the run until it is full")
    decay: float = Field(0.996, ge=0, lt=1, description="EMA decay of the teacher")
    threshold: float = Field(0.95, ge=0, lt=1, description="least confidence of a pseudo-label")
    cutmix: float = Field(0.5, ge=0, le=1, description="probability of CutMix")
    whole: float = Field(0.5, ge=0, le=1, description="probability of maps without dropout")


class UniMatchV2(WithTeacher[UniMatchV2Params]):
    """Two strong views with complementary channels, labelled by an EMA teacher."""

    Params = UniMatchV2Params
    title = "UniMatch V2"
    paper = "Yang et al. 2024, arXiv:2410.10777"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Half of `L_sup` and of the mean pseudo term of both views."""
        p, x_u = self.params, batch.unlabeled
        label, confidence = pseudo_label(self.target(x_u))
        views = [strong_cutmix(x_u, label, confidence, probability=p.cutmix) for _ in range(2)]
        image, label, confidence = (torch.cat(pair) for pair in zip(*views, strict=True))
        levels = complementary_dropout(self.student.encode(image), p.whole)
        logits = self.student.decode(levels).logits
        keep = confidence >= p.threshold
        self.acted(pseudo=keep.sum())
        self.observe(confident_share=keep.float().mean())
        return {
            "supervised": 0.5 * supervised_loss(self.student(batch.image), batch.label),
            "pseudo": 0.5 * p.weight_at(t) * masked_cross_entropy(logits, label, keep),
        }
