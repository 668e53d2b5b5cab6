"""UniMatch (Yang et al. 2023, arXiv:2208.09910), its version for medical images.

    L = 1/2 [L_sup(x_l, y) + lam/2 (L(z^s1) + L(z^s2)) + mu L(z^fp)]       lam = mu = 1/2

L is the Dice loss against the weak view's pseudo-label over pixels of confidence >= theta; s1 and
s2 are strong image views with CutMix, fp the weak view under channel dropout of the encoder's maps.
Deviations:
- the CutMix partner is the next image of the batch with its pseudo-label of the same pass (code:
  a further batch, predicted in evaluation mode);
- the feature view of the unlabelled images passes the decoder as a batch of its own (code: labelled
  and unlabelled maps, plain and dropped, in one batch of the decoder's batch norm);
- jitter of brightness, contrast and gamma for grey-scale images, without 8-bit rounding.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, MethodParams, Progress
from methods.blocks.families import OneNet
from methods.blocks.features import channel_dropout
from methods.blocks.losses import softmax32, supervised_loss
from methods.blocks.pseudo import masked_dice_loss, pseudo_label
from methods.blocks.strong import strong_cutmix


class UniMatchParams(MethodParams):
    """Weights, threshold and CutMix."""

    weight_image: float = Field(0.5, ge=0, description="lam, weight of both strong views")
    weight_feature: float = Field(0.5, ge=0, description="mu, weight of the feature view")
    threshold: float = Field(0.95, ge=0, lt=1, description="least confidence of a pseudo-label")
    cutmix: float = Field(0.5, ge=0, le=1, description="probability of CutMix")


class UniMatch(OneNet[UniMatchParams]):
    """One weak view labels two strong views and one view of perturbed features."""

    Params = UniMatchParams
    title = "UniMatch"
    paper = "Yang et al. 2023, arXiv:2208.09910"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:  # noqa: ARG002
        """Half of `L_sup`, of the image views' loss and of the feature view's loss."""
        p, x_u = self.params, batch.unlabeled
        levels = self.student.encode(batch.images)
        logits_l, logits_w = batch.split(self.student.decode(levels).logits)
        label, confidence = pseudo_label(softmax32(logits_w.detach()))
        perturbed = channel_dropout([batch.split(x)[1] for x in levels])
        feature = self.student.decode(perturbed).logits
        views = [strong_cutmix(x_u, label, confidence, probability=p.cutmix) for _ in range(2)]
        strong = self.student(torch.cat([view[0] for view in views])).chunk(2)
        sure = [c >= p.threshold for _, _, c in views]
        image_losses = [
            masked_dice_loss(z, y, own)
            for z, (_, y, _), own in zip(strong, views, sure, strict=True)
        ]
        keep = confidence >= p.threshold
        self.acted(image=torch.stack(sure).sum(), feature=keep.sum())
        self.observe(confident_share=keep.float().mean())
        return {
            "supervised": 0.5 * supervised_loss(logits_l, batch.label),
            "image": 0.5 * p.weight_image * torch.stack(image_losses).mean(),
            "feature": 0.5 * p.weight_feature * masked_dice_loss(feature, label, keep),
        }
