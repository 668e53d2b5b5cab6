"""MC-Net and MC-Net+ (Wu et al. 2021, arXiv:2103.02911; 2022, doi:10.1016/j.media.2022.102530).

    S(p)_k = p_k^{1/T} / sum_j p_j^{1/T}
    L = mean_v L_sup(z_v, y) + w(t) mean_{v != u} mean_ik (p_v - sg S(p_u))^2    on all images

Two decoders (MC-Net) or three (MC-Net+) with different up-sampling; the first is tested. Deviations
of the default, which preset `mc_net_code` takes back (github.com/ycwu1997/MC-Net):
- means over decoders and pairs in place of sums, so that weights do not depend on their number;
- the suite's supervised loss (code: Dice alone);
- sharpening over the classes (code: each class by itself), detached.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.divergence import sharpen, sharpen_binary
from methods.blocks.families import OneNet, RampParams
from methods.blocks.losses import consistency_mse, dice_loss, softmax32, supervised_loss
from methods.networks import NetBuilder


class MCNetParams(RampParams):
    """Weight, ramp, decoders and sharpening."""

    decoders: Literal[2, 3] = Field(2, description="2: MC-Net, 3: MC-Net+")
    temperature: float = Field(0.1, gt=0, description="T of the sharpening")
    literal: bool = Field(False, description="sums, Dice alone, binary sharpening with gradient")

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "plus": {"decoders": 3},
        "mc_net_code": {"literal": True},
    }


class MCNet(OneNet[MCNetParams]):
    """Decoders that learn from each other's sharpened predictions."""

    Params = MCNetParams
    title = "MC-Net"
    paper = "Wu et al. 2021, arXiv:2103.02911"

    def setup(self, build_net: NetBuilder) -> None:
        """One encoder, decoders with different up-sampling."""
        self.student = build_net(decoders=self.params.decoders)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of all decoders and their mutual consistency."""
        literal, temperature = self.params.literal, self.params.temperature
        z = [view.logits for view in self.student.outputs(batch.images)]
        p = [softmax32(v) for v in z]
        if literal:
            sharp = [sharpen_binary(v, temperature) for v in p]
            supervised = [dice_loss(batch.split(v)[0], batch.label) for v in p]
        else:
            sharp = [sharpen(v.detach(), temperature) for v in z]
            supervised = [supervised_loss(batch.split(v)[0], batch.label) for v in z]
        mutual = [consistency_mse(p[v], sharp[u]) for v, u in permutations(range(len(z)), 2)]
        combine = torch.sum if literal else torch.mean
        return {
            "supervised": combine(torch.stack(supervised)),
            "consistency": self.params.weight_at(t) * combine(torch.stack(mutual)),
        }
