"""URPC, uncertainty-rectified pyramid consistency (Luo et al. 2022, arXiv:2012.07042).

    pbar = (1/S) sum_s p_s,    D_s = sum_k pbar_k (ln pbar_k - ln p_sk)
    L_u  = (1/S) sum_s { mean_i[mean_k (p_s - pbar)^2 e^{-D_s}] / mean_i[e^{-D_s}] + mean_i[D_s] }
    L    = (1/S) sum_s L_sup(z_s, y) + w(t) L_u

p_s is read from the decoder's map at scale 2^-s, s = 0 to 3 (S = 4, fewer in a shallower network);
the finest is tested. The coarse maps are perturbed before their heads as in SSL4MIS (06df604): in
2D noise at 1/2, feature drop at 1/4, dropout of 0.5 at 1/8 (`unet.py`); in 3D dropout of channels,
of 0.2, 0.3 and 0.5 (`unet_3D_dv_semi.py`). Gradients flow through `pbar` and e^{-D}. Deviations:
- 3D: the dropout reaches the heads alone (code: also the path to the finer maps, and the finest map
  has one of 0.1); heads of 3x3x3 on repeated logits (code: 1x1x1, trilinear);
- feature drop draws its threshold for every image (code: once per batch);
- the suite's network (code: linear up-sampling, in 3D too) and rate (3D code: 0.1).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.decoders import ManyScales
from methods.blocks.divergence import kl_from_mean
from methods.blocks.families import RampParams
from methods.blocks.features import channel_dropout, feature_drop, feature_noise, unit_dropout
from methods.blocks.losses import softmax32, supervised_loss


def _channels(stage: Tensor, *, probability: float) -> Tensor:
    return channel_dropout([stage], probability)[0]


# By dimension, from scale 1/2 to 1/8.
_PERTURB: dict[int, tuple[Callable[[Tensor], Tensor], ...]] = {
    2: (feature_noise, feature_drop, partial(unit_dropout, probability=0.5)),
    3: tuple(partial(_channels, probability=p) for p in (0.2, 0.3, 0.5)),
}


class URPCParams(RampParams):
    """Weight and ramp."""


def rectified_consistency(logits: list[Tensor]) -> Tensor:
    """`L_u` of the logits (N, K, *S) of all scales, 0-d, at least 0."""
    p = [softmax32(z) for z in logits]
    mean = torch.stack(p).mean(0)
    total = []
    for z_s, p_s in zip(logits, p, strict=True):
        d = kl_from_mean(mean, z_s)
        weight = torch.exp(-d)
        squared = (p_s - mean).square().mean(1)
        total.append((squared * weight).mean() / (weight.mean() + 1e-8) + d.mean())
    return torch.stack(total).mean()


class URPC(ManyScales[URPCParams]):
    """Scales of one decoder agree, less where they disagree most."""

    Params = URPCParams
    title = "URPC"
    paper = "Luo et al. 2022, arXiv:2012.07042"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of all scales and their rectified consistency."""
        view = self.student.decode(self.student.encode(batch.images))
        both = [batch.split(z) for z in self.heads(view, _PERTURB[self.ndim])]
        supervised = [supervised_loss(z_l, batch.label) for z_l, _ in both]
        return {
            "supervised": torch.stack(supervised).mean(),
            "consistency": self.params.weight_at(t) * rectified_consistency([u for _, u in both]),
        }
