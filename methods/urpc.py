"""URPC, uncertainty-rectified pyramid consistency (Luo et al. 2022, arXiv:2012.07042).

    pbar = (1/S) sum_s p_s,    D_s = sum_k pbar_k (ln pbar_k - ln p_sk)         S = 4 scales
    L_u  = (1/S) sum_s { mean_i[mean_k (p_s - pbar)^2 e^{-D_s}] / mean_i[e^{-D_s}] + mean_i[D_s] }
    L    = (1/S) sum_s L_sup(z_s, y) + w(t) L_u

Gradients flow through `pbar` and the weights. Deviations:
- the coarse stages are perturbed in 2D only (dropout, feature dropout, feature noise; SSL4MIS);
- the finest head is the network's own; it is tested.
"""

from __future__ import annotations

from functools import partial

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.divergence import kl_from_mean
from methods.blocks.families import OneNet, RampParams
from methods.blocks.features import feature_drop, feature_noise, unit_dropout
from methods.blocks.losses import softmax32, supervised_loss
from methods.blocks.scales import ScaleHeads
from methods.networks import NetBuilder

_PERTURB = (partial(unit_dropout, probability=0.5), feature_drop, feature_noise)


class URPCParams(RampParams):
    """Weight, ramp, and perturbation of the coarse stages."""

    perturb: bool | None = Field(None, description="perturb the coarse stages; null: in 2D only")


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


class URPC(OneNet[URPCParams]):
    """Scales of one decoder agree, less where they disagree most."""

    Params = URPCParams
    title = "URPC"
    paper = "Luo et al. 2022, arXiv:2012.07042"

    def setup(self, build_net: NetBuilder) -> None:
        """One network with heads on its decoder's stages."""
        super().setup(build_net)
        self.heads = ScaleHeads(self.student, self.classes, self.ndim)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of all scales and their rectified consistency."""
        chosen = self.params.perturb
        perturb = _PERTURB if (self.ndim == 2 if chosen is None else chosen) else ()
        view = self.student.decode(self.student.encode(batch.images))
        both = [batch.split(z) for z in self.heads(view, perturb)]
        supervised = [supervised_loss(z_l, batch.label) for z_l, _ in both]
        return {
            "supervised": torch.stack(supervised).mean(),
            "consistency": self.params.weight_at(t) * rectified_consistency([u for _, u in both]),
        }
