"""CCT, cross-consistency training (Ouali et al. 2020, arXiv:2003.09005).

    L = L_sup(x_l, y) + w(t) (1/3) sum_a mean_ik (sg p_ik(x_u) - p^a_ik(x_u))^2

Three auxiliary decoders see the encoder's maps under feature noise, dropout of channels and feature
dropout. They learn from unlabelled images and from the main decoder only, at weight 30, which is
full after a tenth of the run: the method of the paper and of its authors' code. Preset `ssl4mis`,
another method: auxiliary decoders are supervised as well, the main decoder is trained towards them,
at weight 0.1, and values instead of channels are dropped. Deviations from the authors' code:
- three of the paper's seven perturbations (those of SSL4MIS), one decoder for each (there 2 or 6);
- all levels of the encoder are perturbed, since the decoders see them all;
- labelled and unlabelled images in one batch of the batch norm, as in SSL4MIS;
- the threshold of feature dropout is drawn per image (there per batch).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress, tuned
from methods.blocks.decoders import ManyDecoders
from methods.blocks.families import RampParams
from methods.blocks.features import channel_dropout, feature_drop, feature_noise, unit_dropout
from methods.blocks.losses import consistency_mse, softmax32, supervised_loss
from methods.networks import NetBuilder

_PERTURBATIONS = 3


class CCTParams(RampParams):
    """Weight, ramp, and what auxiliary decoders see and learn from."""

    weight: float = Field(
        30.0,
        ge=0,
        description="largest weight of the consistency",
        json_schema_extra=tuned(1.0, 100.0, log=True),
    )
    ramp: float = Field(0.1, gt=0, le=1, description="share of the run until the weight is full")
    supervise_auxiliary: bool = Field(False, description="auxiliary decoders see labels")
    detach_main: bool = Field(True, description="the main decoder is a fixed target")
    dropped: Literal["channels", "values"] = Field("channels", description="by the dropout")

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "ssl4mis": {
            "weight": 0.1,
            "ramp": 1.0,
            "supervise_auxiliary": True,
            "detach_main": False,
            "dropped": "values",
        }
    }


class CCT(ManyDecoders[CCTParams]):
    """Auxiliary decoders on perturbed features agree with the main decoder."""

    Params = CCTParams
    title = "CCT"
    paper = "Ouali et al. 2020, arXiv:2003.09005"

    def setup(self, build_net: NetBuilder) -> None:
        """One encoder, the main decoder and one per perturbation."""
        self.student = build_net(decoders=["transposed"] * (1 + _PERTURBATIONS))

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` and the auxiliary decoders' distance from the main one."""
        p, levels = self.params, self.student.encode(batch.images)
        logits_l, logits_u = batch.split(self.student.decode(levels).logits)
        main = softmax32(logits_u.detach() if p.detach_main else logits_u)
        seen = levels if p.supervise_auxiliary else [batch.split(x)[1] for x in levels]
        auxiliary = [
            self.student.decode(changed, index).logits
            for index, changed in enumerate(self.perturbed(seen), start=1)
        ]
        distances = [consistency_mse(softmax32(z[-len(main) :]), main) for z in auxiliary]
        supervised = [supervised_loss(logits_l, batch.label)]
        if p.supervise_auxiliary:
            supervised += [supervised_loss(batch.split(z)[0], batch.label) for z in auxiliary]
        return {
            "supervised": torch.stack(supervised).mean(),
            "consistency": p.weight_at(t) * torch.stack(distances).mean(),
        }

    def perturbed(self, levels: Sequence[Tensor]) -> list[list[Tensor]]:
        """The encoder's maps as each auxiliary decoder sees them."""
        noisy, silenced = [feature_noise(x) for x in levels], [feature_drop(x) for x in levels]
        if self.params.dropped == "channels":
            return [noisy, channel_dropout(levels), silenced]
        return [noisy, [unit_dropout(x) for x in levels], silenced]
