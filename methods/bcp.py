"""BCP, bidirectional copy-paste (Bai et al. 2023, arXiv:2305.00673).

    M = 0 in a box of 2/3 of every side, 1 elsewhere;   a, b: the two halves of a batch
    first share of the run:  x = x_l^a M + x_l^b (1 - M), both parts with their labels
    then:  x_in = x_u^a M + x_l^a (1 - M),   x_out = x_l^b M + x_u^b (1 - M), in two passes
    L = sum_{in, out} [ l(true region) + alpha l(pseudo region) ],   l = (Dice + CE) / 2

Pseudo-labels are the EMA teacher's, of which the largest component of every class is kept (corners
touch, as in the code); Dice and CE are taken over their region. The first stage is a quarter of the
run in 2D (10 000 of 40 000 steps) and 2/17 of it in 3D (2 000 of 17 000), by the code
(github.com/DeepMed-Lab-ECNU/BCP at 7879f98). The teacher copies the student until the second stage,
then follows it. `mix: false` is the control without copy-paste: both images of a pair stay whole.
Deviations:
- the second stage goes on from the last weights (code: from the best ones in validation);
- the run's learning-rate schedule (code: constant for ACDC; a tenth every 2 500 steps for LA);
- one box per image (code: one per batch and both passes), its side rounded (code: cut off);
- where there are more images of one kind than of the other, or an odd number, some take part twice;
- the suite's Dice in 3D, and there too a first stage by regions (code: on the mixed label map);
- only parameters are averaged in the second stage; the student is tested, the teacher is logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress, tuned
from methods.blocks.components import largest_components
from methods.blocks.copy_paste import halves, region_loss
from methods.blocks.ema import copy_weights
from methods.blocks.families import EMAParams, WithTeacher
from methods.blocks.mixing import paste, paste_boxes


class BCPParams(EMAParams):
    """Boxes, weight of pseudo regions, first stage, teacher."""

    weight: float = Field(
        0.5,
        ge=0,
        description="alpha, weight of the pseudo regions",
        json_schema_extra=tuned(0.05, 5.0, log=True),
    )
    ramp: float = Field(1e-9, gt=0, le=1, description="share of the run until it is full")
    side: float = Field(2 / 3, gt=0, lt=1, description="side of the box, share of the image's")
    pretrain: float = Field(0.25, ge=0, lt=1, description="share of the run on labels alone")
    mix: bool = Field(True, description="copy and paste; false: the control without")

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"no_mixing": {"mix": False}}
    by_dimension: ClassVar[Mapping[int, Mapping[str, object]]] = {3: {"pretrain": 2 / 17}}


class BCP(WithTeacher[BCPParams]):
    """Labelled boxes in unlabelled images, and the reverse."""

    Params = BCPParams
    title = "BCP"
    paper = "Bai et al. 2023, arXiv:2305.00673"
    uncaptured = "components"
    stages: ClassVar[Mapping[str, str]] = {"pseudo": "pretrain"}

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Loss on true regions (`supervised`) and on pseudo regions."""
        if self.first_stage(t):
            pairs = zip(*(halves(v, len(v)) for v in (batch.image, batch.label)), strict=True)
            return {"supervised": torch.stack(self.mixed_losses(*pairs)).sum()}
        count = max(len(batch.image), len(batch.unlabeled))
        x_a, x_b = halves(batch.image, count)
        y_a, y_b = halves(batch.label, count)
        u_a, u_b = halves(batch.unlabeled, count)
        pseudo_in, true_in = self.mixed_losses((u_a, self.pseudo_label(u_a)), (x_a, y_a))
        true_out, pseudo_out = self.mixed_losses((x_b, y_b), (u_b, self.pseudo_label(u_b)))
        return {
            "supervised": true_in + true_out,
            "pseudo": self.params.weight_at(t) * (pseudo_in + pseudo_out),
        }

    def first_stage(self, t: Progress) -> bool:
        """Whether there are only labelled images yet."""
        return t.fraction < self.params.pretrain

    def pseudo_label(self, image: Tensor) -> Tensor:
        """Largest component of every class the teacher sees, (N, *S) int64."""
        return largest_components(self.target(image).argmax(1), classes=self.classes)

    def mixed_losses(
        self, outer: tuple[Tensor, Tensor], inner: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Paste boxes of `inner` into `outer`: loss on the pixels of `outer`, and on the pasted.

        Args:
            outer: images (N, C, *S) and labels (N, *S).
            inner: the same of the images that lend their boxes.
        """
        (x_o, y_o), (x_i, y_i) = outer, inner
        if not self.params.mix:
            everywhere = torch.ones_like(y_o, dtype=torch.bool)
            z_o, z_i = self.student(torch.cat([x_o, x_i])).chunk(2)
            return region_loss(z_o, y_o, everywhere), region_loss(z_i, y_i, everywhere)
        inside = paste_boxes(x_o, side=self.params.side)
        z, pasted = self.student(paste(inside, x_i, x_o)), inside[:, 0]
        return region_loss(z, y_o, ~pasted), region_loss(z, y_i, pasted)

    def after_step(self, t: Progress) -> None:
        """EMA of the weights; in the first stage a copy."""
        if self.first_stage(t):
            copy_weights(self.teacher, self.student)
        else:
            super().after_step(t)
