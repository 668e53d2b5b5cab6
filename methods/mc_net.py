"""MC-Net and MC-Net+ (Wu et al. 2021, arXiv:2103.02911; 2022, doi:10.1016/j.media.2022.102530).

    S(p)_k = p_k^{1/T} / sum_j p_j^{1/T}                                            T = 0.1
    L = lambda sum_v L_sup(z_v, y) + w(t) sum_{v != u} mean_ik (p_v - sg S(p_u))^2  on all images

Two decoders (MC-Net) or three (MC-Net+) with different up-sampling; the first is tested. Weights
are those of the code (github.com/ycwu1997/MC-Net at fee453c): 2D lambda 1, w up to 0.1 over the
whole run; 3D lambda 0.5, w up to 1 over 0.4 of it (40 x 150 of 15,000 steps). Deviations:
- the suite's L_sup, and in 2D a transposed first decoder, as in all methods here (preset
  `mc_net_code`: Dice alone, in 2D without its factor 2, in 3D without squares; 2D tests linear);
- S over the classes, detached (preset `mc_net_code`: each class by itself, with gradient);
- the suite's network and rate (code: 3D V-Net whose decoders end in dropout; constant rate).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.decoders import ManyDecoders
from methods.blocks.divergence import sharpen, sharpen_binary
from methods.blocks.families import RampParams
from methods.blocks.losses import consistency_mse, softmax32, supervised_loss
from methods.blocks.overlap import literal_dice_loss
from methods.networks import Decoder, NetBuilder

_KINDS: tuple[Decoder, ...] = ("transposed", "linear", "nearest")


class MCNetParams(RampParams):
    """Weights, ramp, decoders and sharpening."""

    weight_supervised: float = Field(1.0, gt=0, description="lambda, weight of L_sup")
    decoders: Literal[2, 3] = Field(2, description="2: MC-Net, 3: MC-Net+")
    temperature: float = Field(0.1, gt=0, description="T of the sharpening")
    literal: bool = Field(False, description="Dice, sharpening and tested decoder of the code")

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "plus": {"decoders": 3},
        "mc_net_code": {"literal": True},
    }
    by_dimension: ClassVar[Mapping[int, Mapping[str, object]]] = {
        3: {"weight": 1.0, "ramp": 0.4, "weight_supervised": 0.5}
    }


class MCNet(ManyDecoders[MCNetParams]):
    """Decoders that learn from each other's sharpened predictions."""

    Params = MCNetParams
    title = "MC-Net"
    paper = "Wu et al. 2021, arXiv:2103.02911"

    def setup(self, build_net: NetBuilder) -> None:
        """One encoder, decoders with different up-sampling."""
        kinds = (*_KINDS[1::-1], _KINDS[2]) if self.params.literal and self.ndim == 2 else _KINDS
        self.student = build_net(decoders=kinds[: self.params.decoders])

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of all decoders and their mutual consistency."""
        p, z = self.params, [view.logits for view in self.student.outputs(batch.images)]
        prob = [softmax32(v) for v in z]
        sharp = [sharpen(v.detach(), p.temperature) for v in z]
        if p.literal:
            sharp = [sharpen_binary(v, p.temperature) for v in prob]
        supervision = literal_dice_loss if p.literal else supervised_loss
        supervised = [supervision(batch.split(v)[0], batch.label) for v in z]
        mutual = [consistency_mse(prob[v], sharp[u]) for v, u in permutations(range(len(z)), 2)]
        return {
            "supervised": p.weight_supervised * torch.stack(supervised).sum(),
            "consistency": p.weight_at(t) * torch.stack(mutual).sum(),
        }
