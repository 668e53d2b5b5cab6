"""AD-MT, alternate diverse mean teacher (Zhao et al. 2023, arXiv:2311.17325).

    pbar   = normalise(sum_j e^{-(H_1 + H_2)} p'_j)^{1/T}      two EMA teachers on the weak view
    yhat, c = arg max pbar, max pbar;   where teachers and student disagree, the surer of both
    L_u    = Dice(agreeing pixels) + w_c Dice(conflicting pixels)    pixels with c >= theta
    L      = L_sup(x_l, y) + w(t) L_u

In turns of `period`, one teacher follows the student while the student is trained on strong views,
then the other while it is trained on CutMix of weak views. Equations from the public code
(github.com/ZhenZHAO/AD-MT), whose weight e^{-(H_1 + H_2)} is common to both teachers, so that
`pbar` is their sharpened mean. Deviations:
- turns of fixed length (code: drawn at random), both teachers in train mode;
- strong views for grey-scale images; the student is tested, both teachers are logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.ema import copy_weights, ema_update
from methods.blocks.families import EMAParams, OneNet
from methods.blocks.losses import softmax32, supervised_loss
from methods.blocks.perturb import strong_view
from methods.blocks.pseudo import masked_dice_loss, pseudo_label
from methods.blocks.strong import cutmix
from methods.networks import NetBuilder


class ADMTParams(EMAParams):
    """Teachers, turns, threshold and conflicts."""

    period: float = Field(0.01, gt=0, le=1, description="length of a turn, share of the run")
    temperature: float = Field(1.0, gt=0, description="T of the ensemble's sharpening")
    threshold: float = Field(0.95, ge=0, lt=1, description="least confidence of a pseudo-label")
    conflict: float = Field(1.0, ge=0, description="weight of pixels of conflicting teachers")


class ADMT(OneNet[ADMTParams]):
    """Two teachers that follow the student in turns."""

    Params = ADMTParams
    title = "AD-MT"
    paper = "Zhao et al. 2023, arXiv:2311.17325"

    def setup(self, build_net: NetBuilder) -> None:
        """Student and two teachers."""
        super().setup(build_net)
        self.teacher_1 = build_net().requires_grad_(False)
        self.teacher_2 = build_net().requires_grad_(False)
        for teacher in (self.teacher_1, self.teacher_2):
            copy_weights(teacher, self.student)

    def turn(self, t: Progress) -> int:
        """0 while the first teacher follows, 1 while the second does."""
        return int(t.fraction / self.params.period) % 2

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` and the Dice terms of agreeing and of conflicting pixels."""
        p, x_u = self.params, batch.unlabeled
        with torch.no_grad():
            p_1, p_2 = softmax32(self.teacher_1(x_u)), softmax32(self.teacher_2(x_u))
            mean = ((p_1 + p_2) / 2) ** (1 / p.temperature)
            label, sure = pseudo_label(mean / mean.sum(1, keepdim=True))
            conflict = p_1.argmax(1) != p_2.argmax(1)
            own, own_sure = pseudo_label(softmax32(self.student(x_u)))
            better = conflict & (own != label) & (own_sure > sure)
            label, sure = torch.where(better, own, label), torch.where(better, own_sure, sure)
        if self.turn(t) == 0:
            x_u = strong_view(x_u)
        else:
            x_u, label, sure, conflict = cutmix(x_u, label, sure, conflict, probability=1.0)
        z_l, z_u = batch.split(self.student(torch.cat([batch.image, x_u])))
        keep = sure >= p.threshold
        self.observe(confident_share=keep.float().mean(), conflict_share=conflict.float().mean())
        agreeing = masked_dice_loss(z_u, label, keep & ~conflict)
        conflicting = masked_dice_loss(z_u, label, keep & conflict)
        return {
            "supervised": supervised_loss(z_l, batch.label),
            "pseudo": p.weight_at(t) * (agreeing + p.conflict * conflicting),
        }

    def after_step(self, t: Progress) -> None:
        """EMA of the teacher whose turn it is."""
        teacher = (self.teacher_1, self.teacher_2)[self.turn(t)]
        ema_update(teacher, self.student, decay=self.params.decay, step=t.step // 2)

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """Both teachers."""
        return {"teacher_1": self.teacher_1, "teacher_2": self.teacher_2}
