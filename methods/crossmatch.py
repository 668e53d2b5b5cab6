"""CrossMatch (Zhao et al. 2024, arXiv:2405.00354).

    z, z^wk, z^st: decoder on the encoder's maps, on maps weakly and strongly dropped by channels
    y, c = argmax p(x_w), max p(x_w)       x_w: weak view;  s1, s2: strong views with CutMix
    L_img = 1/4 sum_v D(z(s_v), y_v; c_v)
    L_T   = 1/4 sum_{a = wk, st} [D(z^a(x_w), y; c) + D(z^a(s2), y_2; c_2)]
    L_S   = 1/2 sum_{a = wk, st} D(z^a(s2), y^a_2; c^a_2)
    L     = 1/2 {L_sup(x_l, y_l) + L_img + lam [(1 - eta) L_T + eta L_S]},   eta = 0.3

D is the Dice loss over pixels of confidence >= theta; y^a, c^a are those of z^a(x_w), and an index
v says that they are mixed like the image. Labelled, weak and dropped maps pass the decoder as one
batch, both strong views and the dropped maps of s2 as another. Values are those of the code
(github.com/AiEson/CrossMatch at 59772e0): 2D `ACDC/train_cross_match.py:253-315`, lam 1/2, theta
0.95; 3D `LA/code/train_cross_match.py:301-367`, lam 1, theta from 0.75 ln 2 to ln 2 along a ramp;
channels are dropped with probability 1/4 and 3/4 (`ACDC/model/unet.py:149-150`). Deviations:
- the CutMix partner is the next image of the batch, with the pseudo-labels of the same pass (code:
  a further batch, predicted twice without gradient);
- theta's 3D ramp is complete at the end of the run (code: after 17,000 of 14,000 steps);
- jitter of brightness, contrast and gamma for grey-scale images (3D code: bias field and gamma);
- smoothing 1e-5 of the Dice loss (2D code: 1e-4), in 3D over both classes (code: the foreground);
- the suite's optimiser, rate and initial weights (code: 2D Nesterov, 3D AdamW at 0.001).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, MethodParams, Progress, Scalar, tuned
from methods.blocks.families import OneNet
from methods.blocks.features import channel_dropout
from methods.blocks.losses import softmax32, supervised_loss
from methods.blocks.pseudo import masked_dice_loss, pseudo_label
from methods.blocks.ramps import sigmoid_ramp
from methods.blocks.strong import strong_cutmix


class CrossMatchParams(MethodParams):
    """Weights, thresholds, dropout and CutMix."""

    weight: float = Field(
        0.5,
        ge=0,
        description="lam, weight of the distillation",
        json_schema_extra=tuned(0.05, 5.0, log=True),
    )
    eta: float = Field(0.3, ge=0, le=1, description="share of L_S in the distillation")
    threshold: float = Field(0.95, ge=0, lt=1, description="first theta, least confidence")
    threshold_last: float = Field(0.95, ge=0, lt=1, description="last theta")
    weak: float = Field(0.25, ge=0, lt=1, description="probability of a channel to be dropped")
    strong: float = Field(0.75, ge=0, lt=1, description="the same of the strong perturbation")
    cutmix: float = Field(0.5, ge=0, le=1, description="probability of CutMix")

    by_dimension: ClassVar[Mapping[int, Mapping[str, object]]] = {
        3: {"weight": 1.0, "threshold": 0.75 * math.log(2), "threshold_last": math.log(2)}
    }


def matched(theta: Scalar, *pairs: tuple[Tensor, Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
    """Mean Dice loss of several predictions, and the number of pixels that count; both 0-d.

    Args:
        theta: least confidence.
        pairs: logits (N, K, *S), with pseudo-labels (N, *S) int64 and confidences (N, *S).
    """
    kept = [confidence >= theta for _, (_, confidence) in pairs]
    terms = [masked_dice_loss(z, y[0], keep) for (z, y), keep in zip(pairs, kept, strict=True)]
    return torch.stack(terms).mean(), torch.stack(kept).sum()


class CrossMatch(OneNet[CrossMatchParams]):
    """Perturbed images and perturbed features learn from the clean ones, and from each other."""

    Params = CrossMatchParams
    title = "CrossMatch"
    paper = "Zhao et al. 2024, arXiv:2405.00354"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Half of `L_sup`, of the image views' loss and of both parts of the distillation."""
        p, x_u, count = self.params, batch.unlabeled, len(batch.unlabeled)
        clean, weak, strong = self.decoded(batch.images, count)
        logits_l, logits_w = batch.split(clean)
        views = [pseudo_label(softmax32(z.detach())) for z in (logits_w, weak, strong)]
        y = views[0]
        x_1, *y_1 = strong_cutmix(x_u, *y, probability=p.cutmix)
        x_2, *mixed = strong_cutmix(x_u, *chain(*views), probability=p.cutmix)
        y_2, y_weak, y_strong = mixed[:2], mixed[2:4], mixed[4:]
        both, weak_2, strong_2 = self.decoded(torch.cat([x_1, x_2]), count)
        z_1, z_2 = both.chunk(2)
        theta = t.scalar(
            lambda now: p.threshold + (p.threshold_last - p.threshold) * sigmoid_ramp(now.fraction)
        )
        image, in_image = matched(theta, (z_1, y_1), (z_2, y_2))
        taught, in_taught = matched(theta, (weak, y), (strong, y), (weak_2, y_2), (strong_2, y_2))
        own, in_own = matched(theta, (weak_2, y_weak), (strong_2, y_strong))
        self.acted(image=in_image, distillation=in_taught, self_distillation=in_own)
        self.observe(confident_share=(y[1] >= theta).float().mean())
        return {
            "supervised": 0.5 * supervised_loss(logits_l, batch.label),
            "image": 0.25 * image,
            "distillation": 0.5 * p.weight * (1 - p.eta) * taught,
            "self_distillation": 0.5 * p.weight * p.eta * own,
        }

    def decoded(self, image: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of images (N, C, *S), and of the last `count` with dropped maps, in one batch."""
        levels = self.student.encode(image)
        last = [x[len(image) - count :] for x in levels]
        dropped = (channel_dropout(last, q) for q in (self.params.weak, self.params.strong))
        joined = [torch.cat(maps) for maps in zip(levels, *dropped, strict=True)]
        sizes = [len(image), count, count]
        clean, weak, strong = torch.split(self.student.decode(joined).logits, sizes)
        return clean, weak, strong
