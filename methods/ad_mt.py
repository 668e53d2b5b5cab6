"""AD-MT, alternate diverse mean teacher (Zhao et al. 2023, arXiv:2311.17325, ECCV 2024).

    H_j    = -sum_k p'_jk log2 p'_jk                         j = 1, 2: EMA teachers on the weak view
    pbar   = sum_j e^{-H_j} p'_j / sum_j e^{-H_j}            (eq. 8, 9)
    yhat, c = arg max pbar, max pbar;   where the teachers conflict and the student differs from
              yhat and is surer, its own class and confidence
    L      = L_sup(x_l, y) + w(t) L_u,    L_u = loss of the pixels with c >= theta:
             one Dice over all of them in 2D, their mean cross-entropy in 3D

Turns of random length in {1, ..., `turn`} (RPA): one teacher follows the student while the student
is trained on strong views, then the other while it is trained on CutMix of weak views. For the
first `copy_steps` steps the teacher whose turn it is copies the student. Defaults are those of the
public code (github.com/ZhenZHAO/AD-MT at 03ef84c), also where they differ in 3D. Deviations:
- the student's map is mixed like the teachers' before they are compared (code: the map of the image
  before mixing);
- only parameters are averaged; the resting teacher, which the code too runs in evaluation mode,
  uses the batch-norm statistics that it gathered in its turns (code: averages of the student's);
- the suite's strong view, jitter and blur in 2D and 3D, with the code's probabilities 0.8 and 0.2;
- the suite's supervised loss; the student is tested, both teachers are logged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Progress, tuned
from methods.blocks.ema import copy_weights, ema_update
from methods.blocks.entropy import entropy
from methods.blocks.families import EMAParams, OneNet
from methods.blocks.losses import masked_mean, softmax32, supervised_loss
from methods.blocks.mixing import beta_boxes, paste
from methods.blocks.perturb import strong_view
from methods.blocks.pseudo import masked_dice_loss, pseudo_label
from methods.networks import NetBuilder

# Probability of blur in the strong view.
_BLUR = 0.2


class ADMTParams(EMAParams):
    """Weight, teachers, turns, threshold."""

    weight: float = Field(
        2.0,
        ge=0,
        description="largest weight of the pseudo term",
        json_schema_extra=tuned(0.1, 10.0, log=True),
    )
    ramp: float = Field(0.25, gt=0, le=1, description="share of the run until the weight is full")
    turn: int = Field(50, ge=1, description="longest turn, steps")
    copy_steps: int = Field(100, ge=0, description="steps in which the teachers copy the student")
    threshold: float = Field(0.95, ge=0, lt=1, description="least confidence of a pseudo-label")
    loss: Literal["dice", "ce"] = Field("dice", description="loss of the pseudo-labels")

    by_dimension: ClassVar[Mapping[int, Mapping[str, object]]] = {
        3: {"ramp": 0.4, "turn": 19, "copy_steps": 80, "threshold": 0.8, "loss": "ce"}
    }


def ensemble(p_1: Tensor, p_2: Tensor) -> Tensor:
    """`sum_j e^{-H_j} p_j / sum_j e^{-H_j}`, H in bits, of two probabilities (N, K, *S)."""
    nats = torch.stack([entropy(p_1), entropy(p_2)])
    weight = torch.softmax(-nats / math.log(2), 0)[:, :, None]
    return weight[0] * p_1 + weight[1] * p_2


def mixing(image: Tensor) -> Callable[[Tensor], Tensor]:
    """CutMix of one draw for images (N, C, *S) and for all maps (N, *S) that belong to them."""
    boxes, partner = beta_boxes(image), torch.randperm(len(image), device=image.device)
    return lambda value: paste(boxes, value[partner], value)


class ADMT(OneNet[ADMTParams]):
    """Two teachers that follow the student in turns of random length."""

    Params = ADMTParams
    title = "AD-MT"
    paper = "Zhao et al. 2023, arXiv:2311.17325"
    uncaptured = "turns"
    stages: ClassVar[Mapping[str, str]] = {"pseudo": "copy_steps"}

    def setup(self, build_net: NetBuilder) -> None:
        """Student and two teachers; the first turn is the first teacher's."""
        super().setup(build_net)
        self.teacher_1 = build_net().requires_grad_(False)
        self.teacher_2 = build_net().requires_grad_(False)
        for teacher in (self.teacher_1, self.teacher_2):
            copy_weights(teacher, self.student)
        self.active, self.left = 0, self._length()

    def _length(self) -> int:
        # Drawn on the CPU, whose generator the engine seeds for every step.
        return int(torch.randint(1, self.params.turn + 1, ()))

    def get_extra_state(self) -> Tensor:
        """Index of the teacher whose turn it is, and steps left of the turn: (2,) int64."""
        return torch.tensor([self.active, self.left])

    def set_extra_state(self, state: Tensor) -> None:
        """Take up a turn where it was left."""
        self.active, self.left = state.tolist()

    @torch.no_grad()
    def pseudo_labels(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Ensemble's class, its confidence and whether the teachers conflict, each (N, *S)."""
        self.teacher_1.train(self.active == 0)
        self.teacher_2.train(self.active == 1)
        p_1, p_2 = softmax32(self.teacher_1(image)), softmax32(self.teacher_2(image))
        return *pseudo_label(ensemble(p_1, p_2)), p_1.argmax(1) != p_2.argmax(1)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` and the loss of the confident pixels."""
        p, x_w = self.params, batch.unlabeled
        targets = self.pseudo_labels(x_w)
        mix = mixing(x_w) if self.active else lambda value: value
        x_s = mix(x_w) if self.active else strong_view(x_w, blur=_BLUR)
        sizes = len(batch.image), len(x_w), len(x_w)
        z_l, z_w, z_s = self.student(torch.cat([batch.image, x_w, x_s])).split(sizes)
        label, sure, conflict = (mix(value) for value in targets)
        own, own_sure = (mix(value) for value in pseudo_label(softmax32(z_w)))
        better = conflict & (own != label) & (own_sure > sure)
        label, sure = torch.where(better, own, label), torch.where(better, own_sure, sure)
        keep = sure >= p.threshold
        self.acted(pseudo=keep.sum())
        self.observe(confident_share=keep.float().mean(), conflict_share=conflict.float().mean())
        if p.loss == "ce":
            ce = F.cross_entropy(z_s.float(), label, reduction="none")
            pseudo = masked_mean(ce, keep)
        else:
            pseudo = masked_dice_loss(z_s, label, keep)
        return {
            "supervised": supervised_loss(z_l, batch.label),
            "pseudo": p.weight_at(t) * pseudo,
        }

    def after_step(self, t: Progress) -> None:
        """The teacher whose turn it is follows; a turn that is over gives way to the other's."""
        p, teacher = self.params, (self.teacher_1, self.teacher_2)[self.active]
        step = max(0, t.step // 2 - p.copy_steps // 2)
        ema_update(teacher, self.student, decay=p.decay, step=step)
        self.left -= 1
        if self.left == 0:
            self.active, self.left = 1 - self.active, self._length()

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """Both teachers."""
        return {"teacher_1": self.teacher_1, "teacher_2": self.teacher_2}
