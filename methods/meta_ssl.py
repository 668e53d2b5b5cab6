"""MetaSSL, a heterogeneous loss for any reference (Zhao et al. 2025, arXiv:2509.01144, IEEE TMI).

    p supervised, q reference prediction of one image;   k_i = argmax p_i, r_i = argmax q_i
    c_k <- c_k / 2 + sum_i 1[class k] confidence_i / (2 (|class k| + 1)),    c_k = 0.9 at first
    unlabelled: target r_i,  confident where max q_i > c_{r_i}
    labelled:   target y_i,  confident where max p_i > c_{k_i}
    UC, US: k_i = r_i, confident or not;   DC, DS: k_i != r_i;   UC foreground and background apart
    H = sum over regions R:  w_R sum_{i in R} CE(p_i, target_i) / (|R| + 1)
    L = L_sup(x_l, y) + w(t) [H_labelled + H_unlabelled],    for every p that is trained

`base` says where q comes from: `cps`, another network, of which each is the reference of the other;
`mean_teacher`, the EMA teacher; `fixmatch`, the same network on weak views, which supervises strong
ones. Labelled and unlabelled images have thresholds of their own. Values are those of the code
(github.com/HiLab-git/MetaSSL at 4c58a66). In 2D (`code/train_MetaSSL_CPS_2D.py`: 63-76, 268,
343-352) w_R = w exp(-(j r)^3), j = 0 to 3, with w 50, r 0.6 (labelled: 85, 0.3), and w(t) is up to
0.1 after 30,000 of 100,000 steps. In 3D (`code_3D/train_MetaSSL_CPS_3D.py`: 63-76, 364-367,
418-421) thresholds are 0.9 at most (`code_3D/utils/utils.py`: 908-915), and it is 30,000 of 50,000
steps; both in preset `cps_code`. Preset `mean_teacher_code`: those of
`code/train_MetaSSL_MT_2D.py`: 357-365. Only the 2D weights of CPS fall in the order of the
abstract, UC > US > DC > DS; in the others DC is below DS. Deviations:
- w(t) up to 0.01 unless a preset of the code is named: at the learning rate 0.1 of the presets for
  CPUs, ten times the code's, the code's weight diverges;
- UC foreground takes part in 2D too (code: background twice, `code/utils/utils.py`: 1015-1018);
- |R| counts pixels once (3D code: once for every image of the batch; it changes the + 1 alone);
- `fixmatch`, for which there is no code in that commit: the weights of CPS, the suite's strong view
  with CutMix, and on labelled images q from the pass without gradient.
The paper's text was not at hand: equations are those of the code, names those of the abstract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress, tuned
from methods.blocks import heterogeneous as h
from methods.blocks.ema import copy_weights, ema_update, step_of
from methods.blocks.families import EMAParams, OneNet
from methods.blocks.losses import softmax32, supervised_loss
from methods.blocks.pseudo import pseudo_label
from methods.blocks.strong import strong_cutmix
from methods.networks import NetBuilder

# Class and confidence, (N, *S) each.
Prediction = tuple[Tensor, Tensor]

# Thresholds at first.
_FIRST = 0.9


class MetaSSLParams(EMAParams):
    """Where the reference comes from, weights of the regions, thresholds."""

    base: Literal["cps", "mean_teacher", "fixmatch"] = Field("cps", description="reference")
    weight: float = Field(
        0.01,
        ge=0,
        description="largest weight of H",
        json_schema_extra=tuned(0.001, 1.0, log=True),
    )
    ramp: float = Field(0.3, gt=0, le=1, description="share of the run until the weight is full")
    unlabeled: h.Weights = Field(h.falling(50, 0.6), description="weights of UC, US, DC, DS")
    labeled: h.Weights = Field(h.falling(85, 0.3), description="the same on labelled images")
    cap: float = Field(1.0, gt=0, le=1, description="largest threshold")
    cutmix: float = Field(0.5, ge=0, le=1, description="probability of CutMix, for fixmatch")

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "cps_code": {"weight": 0.1},
        "mean_teacher": {"base": "mean_teacher"},
        "fixmatch": {"base": "fixmatch"},
        "mean_teacher_code": {
            "base": "mean_teacher",
            "weight": 0.1,
            "ramp": 0.6,
            "unlabeled": h.CODE_UNLABELED,
            "labeled": h.powers(50, 1.4),
        },
    }
    by_dimension: ClassVar[Mapping[int, Mapping[str, object]]] = {
        3: {"ramp": 0.6, "cap": 0.9, "unlabeled": h.CODE_UNLABELED, "labeled": h.powers(50, 1.5)}
    }


class MetaSSL(OneNet[MetaSSLParams]):
    """A loss that weighs pixels by agreement and confidence."""

    Params = MetaSSLParams
    title = "MetaSSL"
    paper = "Zhao et al. 2025, arXiv:2509.01144"
    threshold: Tensor

    def setup(self, build_net: NetBuilder) -> None:
        """The tested network and, where the reference is another one, that."""
        super().setup(build_net)
        if self.params.base != "fixmatch":
            self.other = build_net()
        if self.params.base == "mean_teacher":
            copy_weights(self.other.requires_grad_(False), self.student)
        self.register_buffer("threshold", torch.full((2, 2, self.classes), _FIRST))

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` and H on labelled and on unlabelled images."""
        pairs, w = self.pairs(batch), self.params.weight_at(t)
        terms = [self.of_pair(number, *pair, batch) for number, pair in enumerate(pairs)]
        supervised, labeled, pseudo = torch.stack([torch.stack(part) for part in terms]).sum(0)
        return {"supervised": supervised, "labeled": w * labeled, "pseudo": w * pseudo}

    def pairs(self, batch: Batch) -> list[tuple[Tensor, Prediction]]:
        """Trained logits (L + U, K, *S) with their reference on the same images."""
        if self.params.base == "cps":
            z = self.student(batch.images), self.other(batch.images)
            p_1, p_2 = (pseudo_label(softmax32(v)) for v in z)
            return [(z[0], p_2), (z[1], p_1)]
        with torch.no_grad():
            source = self.student if self.params.base == "fixmatch" else self.other
            label, sure = pseudo_label(softmax32(source(batch.images)))
        if self.params.base == "mean_teacher":
            return [(self.student(batch.images), (label, sure))]
        (label_l, label_u), (sure_l, sure_u) = batch.split(label), batch.split(sure)
        chance = self.params.cutmix
        strong, label_u, sure_u = strong_cutmix(
            batch.unlabeled, label_u, sure_u, probability=chance
        )
        reference = torch.cat([label_l, label_u]), torch.cat([sure_l, sure_u])
        return [(self.student(torch.cat([batch.image, strong])), reference)]

    def of_pair(
        self, number: int, z: Tensor, reference: Prediction, batch: Batch
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`L_sup`, H on labelled and H on unlabelled images of one trained prediction."""
        p, (z_l, z_u) = self.params, batch.split(z)
        own, own_sure = pseudo_label(softmax32(z))
        (own_l, own_u), (ref_l, ref_u) = batch.split(own), batch.split(reference[0])
        sure_l = self.confident(number, 0, own_l, batch.split(own_sure)[0])
        sure_u = self.confident(number, 1, ref_u, batch.split(reference[1])[1])
        self.observe(confident_share=sure_u.float().mean())
        r_l, r_u = h.regions(own_l, ref_l, sure_l), h.regions(own_u, ref_u, sure_u)
        labeled = h.heterogeneous_loss(z_l, batch.label, r_l, p.labeled)
        pseudo = h.heterogeneous_loss(z_u, ref_u, r_u, p.unlabeled)
        return supervised_loss(z_l, batch.label), labeled, pseudo

    @torch.no_grad()
    def confident(self, number: int, kind: int, label: Tensor, confidence: Tensor) -> Tensor:
        """Where a confidence exceeds its class's threshold, after that has followed the batch."""
        threshold = self.threshold[number, kind]
        threshold.lerp_(h.class_confidence(label, confidence, self.classes), 0.5)
        return confidence > threshold.clamp(max=self.params.cap)[label]

    def after_step(self, t: Progress) -> None:
        """EMA of the weights, for a teacher."""
        if self.params.base == "mean_teacher":
            ema_update(self.other, self.student, decay=self.params.decay, step=t.scalar(step_of))

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The other network."""
        return {} if self.params.base == "fixmatch" else {"other": self.other}
