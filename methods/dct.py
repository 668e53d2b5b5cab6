"""DCT, deep co-training (Qiao et al. 2018, arXiv:1803.05984; segmentation: Peng et al. 2020).

    L_cot = mean_i JS(p_i^1, p_i^2)                                       on unlabelled images
    L_dif = CE(sg p^1(x), p^2(g_1(x))) + CE(sg p^2(x), p^1(g_2(x)))       on all images
    L     = sum_v L_sup(z^v, y) + r(t) (w_cot L_cot + w_dif L_dif)

`g_v(x)` is the FGSM example of network v, against the label or, on unlabelled images, against its
own prediction. Not the `DCT` of SSL4MIS, which is `rot_consistency`. Deviations:
- both networks see the same labelled batch;
- the targets of L_dif are detached.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, MethodParams, Progress
from methods.blocks.adversarial import fgsm
from methods.blocks.divergence import jensen_shannon, soft_cross_entropy
from methods.blocks.families import TwoNets
from methods.blocks.losses import softmax32, supervised_loss
from methods.blocks.ramps import sigmoid_ramp


class DCTParams(MethodParams):
    """Weights and size of the adversarial step."""

    weight_cot: float = Field(10.0, ge=0, description="largest weight of the agreement")
    weight_dif: float = Field(0.5, ge=0, description="largest weight of the view difference")
    ramp: float = Field(1.0, gt=0, le=1, description="share of the run until weights are full")
    epsilon: float = Field(0.02, ge=0, description="FGSM step, image units")


class DCT(TwoNets[DCTParams]):
    """Two networks that agree on images and resist each other's adversarial examples."""

    Params = DCTParams
    title = "Deep Co-Training"
    paper = "Qiao et al. 2018, arXiv:1803.05984"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of both networks, agreement, view difference."""
        p, r = self.params, sigmoid_ramp(t.fraction, self.params.ramp)
        image = batch.images.requires_grad_()
        z = [self.net_1(image), self.net_2(image)]
        prob = [softmax32(logits) for logits in z]
        p_1, p_2 = (batch.split(v)[1] for v in prob)
        attacks = [fgsm(image, self.attacked_loss(v, batch), epsilon=p.epsilon) for v in z]
        difference = soft_cross_entropy(prob[0].detach(), self.net_2(attacks[0]))
        difference = difference + soft_cross_entropy(prob[1].detach(), self.net_1(attacks[1]))
        supervised = [supervised_loss(batch.split(v)[0], batch.label) for v in z]
        return {
            "supervised": supervised[0] + supervised[1],
            "agreement": r * p.weight_cot * jensen_shannon(p_1, p_2).mean(),
            "difference": r * p.weight_dif * difference,
        }

    def attacked_loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy against labels and own predictions, 0-d."""
        label = torch.cat([batch.label, batch.split(logits)[1].argmax(1)])
        return F.cross_entropy(logits.float(), label)
