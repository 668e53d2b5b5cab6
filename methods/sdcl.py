"""SDCL, students' discrepancy-informed correction (Song and Wang 2024, arXiv:2409.16728, MICCAI).

    M = 0 in a box of 2/3 of every side, 1 elsewhere;   a, b: the two halves of a batch
    first share of the run:  x = x_l^a M + x_l^b (1 - M), with their labels
    then:  x_in = x_u^a M + x_l^a (1 - M),   x_out = x_l^b M + x_u^b (1 - M),   y mixed alike
    D = {i: argmax p_1i != argmax p_2i},   c_i = 1 where y_i is true, alpha where a pseudo-label
    L_v = sum_{in, out} [ l(true region) + alpha l(pseudo region),     l = (Dice + CE) / 2
          + 0.5 sum_{i in D} c_i mean_k (p_vik - y_ik)^2 / |D|
          + 0.05 sum_{i in D, argmax p_vi != y_i} c_i (-mean_k ln p_vik) / |{...}| ]

Copy-paste of BCP for two students. Where they disagree, each comes closer to the label (review)
and, where it is wrong, to the uniform distribution (rectification). Pseudo-labels are those of the
EMA teacher of student 1, of which the largest component of every class is kept. Values are those of
the code (github.com/pascalcpp/SDCL at cfb260f): alpha 0.5, weights 0.5 and 0.05
(`code/ACDC_train.py`: 50, 227-274, 531-535), first stage 100 of 500 epochs in 2D (343, 476) and 80
of 355 in 3D (`code/LA_train.py`: 225, 333). Student 1 alone is tested; the code scores the mean of
both students as well. Deviations:
- student 2 has a decoder with linear up-sampling (code: a residual network);
- the second stage goes on from the last weights (code: from the best ones in validation);
- the run's optimiser (code: Adam, 1e-3); one box per image (code: one per batch and both passes);
- the suite's Dice in 3D, and there too a first stage by regions (code: on the mixed label map);
- only parameters are averaged (code: in 2D the statistics of the batch norm too); student 2 and the
  teacher are logged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Progress, Scalar, tuned
from methods.blocks.components import largest_components
from methods.blocks.copy_paste import halves, region_loss
from methods.blocks.ema import copy_weights
from methods.blocks.families import EMAParams, WithTeacher
from methods.blocks.losses import masked_mean, one_hot
from methods.blocks.mixing import paste, paste_boxes
from methods.networks import NetBuilder

# Images (N, C, *S), their labels (N, *S).
Labelled = tuple[Tensor, Tensor]


class SDCLParams(EMAParams):
    """Boxes, weights, first stage, teacher."""

    weight: float = Field(
        0.5,
        ge=0,
        description="alpha, weight of the pseudo regions",
        json_schema_extra=tuned(0.05, 5.0, log=True),
    )
    ramp: float = Field(1e-9, gt=0, le=1, description="share of the run until it is full")
    weight_review: float = Field(0.5, ge=0, description="weight of the distance to the label")
    weight_rectify: float = Field(0.05, ge=0, description="weight of what evens wrong predictions")
    side: float = Field(2 / 3, gt=0, lt=1, description="side of the box, share of the image's")
    pretrain: float = Field(0.2, ge=0, lt=1, description="share of the run on labels alone")

    by_dimension: ClassVar[Mapping[int, Mapping[str, object]]] = {3: {"pretrain": 80 / 355}}


class SDCL(WithTeacher[SDCLParams]):
    """Two students that review and rectify themselves where they disagree."""

    Params = SDCLParams
    title = "SDCL"
    paper = "Song and Wang 2024, arXiv:2409.16728"
    uncaptured = "components"
    stages: ClassVar[Mapping[str, str]] = dict.fromkeys(("pseudo", "review", "rectify"), "pretrain")

    def setup(self, build_net: NetBuilder) -> None:
        """Student 1, its teacher, student 2."""
        super().setup(build_net)
        self.student_2 = build_net(decoders=["linear"])

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Losses on true and on pseudo regions, review and rectification, of both students."""
        if self.first_stage(t):
            (x_a, x_b), (y_a, y_b) = (halves(v, len(v)) for v in (batch.image, batch.label))
            image, label, pasted = self.mixed((x_a, y_a), (x_b, y_b))
            z = self.student(image), self.student_2(image)
            parts = [region_loss(v, label, m) for v in z for m in (pasted, ~pasted)]
            return {"supervised": torch.stack(parts).sum()}
        count = max(len(batch.image), len(batch.unlabeled))
        (x_a, x_b), (y_a, y_b) = (halves(v, count) for v in (batch.image, batch.label))
        u_a, u_b = halves(batch.unlabeled, count)
        inward = self.mixed((u_a, self.pseudo_label(u_a)), (x_a, y_a))
        outward = self.mixed((x_b, y_b), (u_b, self.pseudo_label(u_b)))
        views = inward, (*outward[:2], ~outward[2])
        found = [self.of_view(*view, alpha=self.params.weight_at(t)) for view in views]
        self.acted(
            review=found[0]["differ"] + found[1]["differ"],
            rectify=found[0]["wrong"] + found[1]["wrong"],
        )
        names = ("supervised", "pseudo", "review", "rectify")
        return {name: found[0][name] + found[1][name] for name in names}

    def of_view(
        self, image: Tensor, label: Tensor, true: Tensor, *, alpha: Scalar
    ) -> dict[str, Tensor]:
        """Terms of both students on mixed images, and how many pixels they act on.

        Args:
            image: (N, C, *S).
            label: (N, *S), partly pseudo-labels.
            true: (N, *S) bool, where they are none.
            alpha: weight of the others.
        """
        p, z = self.params, [self.student(image).float(), self.student_2(image).float()]
        classes = [v.argmax(1) for v in z]
        differ, trust = classes[0] != classes[1], torch.where(true, 1.0, alpha)
        wrong = [differ & (k != label) for k in classes]
        y = one_hot(label, self.classes)
        review = [masked_mean(trust * (v.softmax(1) - y).square().mean(1), differ) for v in z]
        even = [-F.log_softmax(v, 1).mean(1) for v in z]
        rectify = [masked_mean(trust * e, w) for e, w in zip(even, wrong, strict=True)]
        return {
            "supervised": region_loss(z[0], label, true) + region_loss(z[1], label, true),
            "pseudo": alpha * (region_loss(z[0], label, ~true) + region_loss(z[1], label, ~true)),
            "review": p.weight_review * (review[0] + review[1]),
            "rectify": p.weight_rectify * (rectify[0] + rectify[1]),
            "differ": differ.sum(),
            "wrong": wrong[0].sum() + wrong[1].sum(),
        }

    def first_stage(self, t: Progress) -> bool:
        """Whether there are only labelled images yet."""
        return t.fraction < self.params.pretrain

    def pseudo_label(self, image: Tensor) -> Tensor:
        """Largest component of every class the teacher sees, (N, *S) int64."""
        return largest_components(self.target(image).argmax(1), classes=self.classes)

    def mixed(self, outer: Labelled, inner: Labelled) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes of `inner` in `outer`: images, labels, and where the boxes are (N, *S) bool."""
        inside = paste_boxes(outer[0], side=self.params.side)
        return paste(inside, inner[0], outer[0]), paste(inside, inner[1], outer[1]), inside[:, 0]

    def after_step(self, t: Progress) -> None:
        """EMA of student 1; in the first stage a copy."""
        if self.first_stage(t):
            copy_weights(self.teacher, self.student)
        else:
            super().after_step(t)

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The teacher and student 2."""
        return {**super().companions(), "student_2": self.student_2}
