"""FixMatch (Sohn et al. 2020, arXiv:2001.07685) for segmentation.

    yhat_i = argmax_k p_ik^w,    m_i = [max_k p_ik^w >= theta]        p^w = sg p(weak view)
    L = L_sup(x_l, y) + lam (1/|Omega|) sum_i m_i CE(z_i^s, yhat_i)   z^s = z(strong view)

The strong view keeps the weak view's geometry: intensity jitter, blur and CutMix. Pixels below the
threshold are ignored. Deviations:
- strong augmentation for grey-scale images in place of RandAugment and Cutout;
- the weak views, without gradient, are a batch of their own in batch norm;
- the trained network is tested (paper: its EMA);
- each image is mixed with probability `cutmix`, with the next image of the batch;
- not the `FixMatch` of SSL4MIS, where pixels below the threshold become background.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, MethodParams, Progress, tuned
from methods.blocks.families import OneNet
from methods.blocks.losses import softmax32, supervised_loss
from methods.blocks.pseudo import masked_cross_entropy, pseudo_label
from methods.blocks.strong import strong_cutmix


class FixMatchParams(MethodParams):
    """Weight, threshold and CutMix."""

    weight: float = Field(
        1.0,
        ge=0,
        description="weight of the pseudo term",
        json_schema_extra=tuned(0.1, 10.0, log=True),
    )
    threshold: float = Field(0.95, ge=0, lt=1, description="least confidence of a pseudo-label")
    cutmix: float = Field(0.5, ge=0, le=1, description="probability of CutMix")


class FixMatch(OneNet[FixMatchParams]):
    """Confident predictions on weak views are the labels of strong views."""

    Params = FixMatchParams
    title = "FixMatch"
    paper = "Sohn et al. 2020, arXiv:2001.07685"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:  # noqa: ARG002
        """`L_sup` and the masked pseudo term."""
        p = self.params
        with torch.no_grad():
            label, confidence = pseudo_label(softmax32(self.student(batch.unlabeled)))
        strong, label, confidence = strong_cutmix(
            batch.unlabeled, label, confidence, probability=p.cutmix
        )
        logits_l, logits_s = batch.split(self.student(torch.cat([batch.image, strong])))
        keep = confidence >= p.threshold
        self.acted(pseudo=keep.sum())
        self.observe(confident_share=keep.float().mean())
        return {
            "supervised": supervised_loss(logits_l, batch.label),
            "pseudo": p.weight * masked_cross_entropy(logits_s, label, keep),
        }
