"""CCT, cross-consistency training (Ouali et al. 2020, arXiv:2003.09005).

    L = L_sup(x_l, y) + w(t) (1/3) sum_a mean_ik (sg p_ik(x_u) - p^a_ik(x_u))^2

Three auxiliary decoders see the encoder's maps under feature noise, dropout and feature dropout.
They learn from unlabelled images and from the main decoder only. Preset `ssl4mis`: they are
supervised too, and the main decoder is trained towards them. Deviations:
- three of the paper's perturbations, as in SSL4MIS, on all levels of the encoder; weight ramped;
- probabilities, not logits, are compared (SSL4MIS).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.families import OneNet, RampParams
from methods.blocks.features import feature_drop, feature_noise, unit_dropout
from methods.blocks.losses import consistency_mse, softmax32, supervised_loss
from methods.networks import NetBuilder

PERTURBATIONS: tuple[Callable[[Tensor], Tensor], ...] = (feature_noise, unit_dropout, feature_drop)


class CCTParams(RampParams):
    """Weight, ramp, and what auxiliary decoders learn from."""

    supervise_auxiliary: bool = Field(False, description="auxiliary decoders see labels")
    detach_main: bool = Field(True, description="the main decoder is a fixed target")

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "ssl4mis": {"supervise_auxiliary": True, "detach_main": False}
    }


class CCT(OneNet[CCTParams]):
    """Auxiliary decoders on perturbed features agree with the main decoder."""

    Params = CCTParams
    title = "CCT"
    paper = "Ouali et al. 2020, arXiv:2003.09005"

    def setup(self, build_net: NetBuilder) -> None:
        """One encoder, the main decoder and one per perturbation."""
        self.student = build_net(decoders=["transposed"] * (1 + len(PERTURBATIONS)))

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` and the auxiliary decoders' distance from the main one."""
        p, levels = self.params, self.student.encode(batch.images)
        logits_l, logits_u = batch.split(self.student.decode(levels).logits)
        main = softmax32(logits_u.detach() if p.detach_main else logits_u)
        seen = levels if p.supervise_auxiliary else [batch.split(x)[1] for x in levels]
        auxiliary = [
            self.student.decode([perturb(x) for x in seen], index).logits
            for index, perturb in enumerate(PERTURBATIONS, start=1)
        ]
        distances = [consistency_mse(softmax32(z[-len(main) :]), main) for z in auxiliary]
        supervised = [supervised_loss(logits_l, batch.label)]
        if p.supervise_auxiliary:
            supervised += [supervised_loss(batch.split(z)[0], batch.label) for z in auxiliary]
        return {
            "supervised": torch.stack(supervised).mean(),
            "consistency": p.weight_at(t) * torch.stack(distances).mean(),
        }
