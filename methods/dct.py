"""DCT, deep co-training (Qiao et al. 2018, arXiv:1803.05984; segmentation: Peng et al. 2020).

    L_cot = mean_i JS(p_i^1, p_i^2)                                       on unlabelled images
    L_dif = CE(sg p^1(x), p^2(g_1(x))) + CE(sg p^2(x), p^1(g_2(x)))       on all images
    L     = sum_v L_sup(z^v, y) + r(t) (w_cot L_cot + w_dif L_dif)

`g_v(x)` is the FGSM example of network v in eval mode, against the label or, on unlabelled images,
against its own prediction. Weights are full after 80 of the paper's 600 epochs. Preset `peng_acdc`:
values of the segmentation's code on ACDC. Not the `DCT` of SSL4MIS, which is `rot_consistency`.
Deviations:
- both networks see the same labelled batch;
- the targets of L_dif are detached (as in the segmentation's code);
- batch norm sees adversarial examples with their own statistics, and the running ones, with which
  the network is tested, are of images alone;
- adversarial examples are not clipped to the range of images;
- `peng_acdc`: L_dif starts with the run (there after 20 of 120 epochs).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, MethodParams, Progress
from methods.blocks.adversarial import fgsm_of, resistance
from methods.blocks.divergence import jensen_shannon
from methods.blocks.families import TwoNets
from methods.blocks.losses import softmax32, supervised_loss
from methods.blocks.ramps import sigmoid_ramp


class DCTParams(MethodParams):
    """Weights and size of the adversarial step."""

    weight_cot: float = Field(10.0, ge=0, description="largest weight of the agreement")
    weight_dif: float = Field(0.5, ge=0, description="largest weight of the view difference")
    ramp: float = Field(0.13, gt=0, le=1, description="share of the run until weights are full")
    epsilon: float = Field(0.02, ge=0, description="FGSM step, image units")

    # There L_dif is the mean of four divergences, here the sum of two over all images.
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "peng_acdc": {"weight_cot": 0.5, "weight_dif": 0.025, "ramp": 0.42, "epsilon": 0.03}
    }


class DCT(TwoNets[DCTParams]):
    """Two networks that agree on images and resist each other's adversarial examples."""

    Params = DCTParams
    title = "Deep Co-Training"
    paper = "Qiao et al. 2018, arXiv:1803.05984"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of both networks, agreement, view difference."""
        p = self.params
        r = t.scalar(lambda now: sigmoid_ramp(now.fraction, p.ramp))
        nets = (self.net_1, self.net_2)
        z = [net(batch.images) for net in nets]
        prob = [softmax32(logits) for logits in z]
        p_1, p_2 = (batch.split(v)[1] for v in prob)
        own = [torch.cat([batch.label, batch.split(v)[1].argmax(1)]) for v in z]
        attacked = [
            fgsm_of(net, batch.images, label, epsilon=p.epsilon)
            for net, label in zip(nets, own, strict=True)
        ]
        difference = resistance(nets[1], attacked[0], prob[0].detach())
        difference = difference + resistance(nets[0], attacked[1], prob[1].detach())
        supervised = [supervised_loss(batch.split(v)[0], batch.label) for v in z]
        return {
            "supervised": supervised[0] + supervised[1],
            "agreement": r * p.weight_cot * jensen_shannon(p_1, p_2).mean(),
            "difference": r * p.weight_dif * difference,
        }
