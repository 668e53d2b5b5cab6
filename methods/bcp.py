"""BCP, bidirectional copy-paste (Bai et al. 2023, arXiv:2305.00673).

    M = 0 in a box of 2/3 of every side, 1 elsewhere
    first share of the run:  x = x_l M + x_l' (1 - M), both parts with their labels
    then:  x_in = x_u M + x_l (1 - M),   x_out = x_l M + x_u (1 - M)
    L = sum_{in, out} [ l(true region) + alpha l(pseudo region) ],   l = (Dice + CE) / 2

Pseudo-labels are the EMA teacher's, of which the largest component of every class is kept; Dice and
CE are taken over their region. `mix: false` is the control without copy-paste. Deviations:
- both stages in one run (code: 10 000 steps, then 30 000 from the best validation weights), and
  the teacher follows the student from the start; only parameters are averaged;
- the first stage takes the mean over both directions (code: half the images, one direction);
- one box per image (code: one per batch); where there are more images of one kind than of the
  other, the fewer take part repeatedly;
- components in 3D for volumes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Progress, tuned
from methods.blocks.components import largest_components
from methods.blocks.families import EMAParams, WithTeacher
from methods.blocks.losses import masked_mean
from methods.blocks.mixing import paste, paste_boxes
from methods.blocks.pseudo import masked_dice_loss


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


def region_loss(logits: Tensor, label: Tensor, region: Tensor) -> Tensor:
    """`(Dice + CE) / 2` over a region (N, *S) bool, 0-d; 0 with a graph where it is empty."""
    ce = F.cross_entropy(logits.float(), label, reduction="none")
    return 0.5 * (masked_mean(ce, region) + masked_dice_loss(logits, label, region))


class BCP(WithTeacher[BCPParams]):
    """Labelled boxes in unlabelled images, and the reverse."""

    Params = BCPParams
    title = "BCP"
    paper = "Bai et al. 2023, arXiv:2305.00673"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """Loss on true regions (`supervised`) and on pseudo regions."""
        x_l, y, count = batch.image, batch.label, max(len(batch.image), len(batch.unlabeled))
        if t.fraction < self.params.pretrain:
            x_a, y_a, x_b, y_b = x_l, y, x_l.roll(1, 0), y.roll(1, 0)
        else:
            index = torch.arange(count, device=x_l.device)
            pick_l, pick_u = index % len(x_l), index % len(batch.unlabeled)
            label = self.target(batch.unlabeled).argmax(1)
            pseudo = largest_components(label, classes=self.classes)
            x_a, y_a, x_b, y_b = x_l[pick_l], y[pick_l], batch.unlabeled[pick_u], pseudo[pick_u]
        true, other = self.mixed_losses((x_a, y_a), (x_b, y_b))
        if t.fraction < self.params.pretrain:
            return {"supervised": (true + other) / 2}
        return {"supervised": true, "pseudo": self.params.weight_at(t) * other}

    def mixed_losses(
        self, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Loss on the pixels from a and on those from b, each summed over both directions.

        Args:
            a: images (N, C, *S) and labels (N, *S).
            b: the same of the images they are mixed with.
        """
        inside = paste_boxes(a[0], side=self.params.side)
        if not self.params.mix:
            inside = torch.ones_like(inside)
        image = torch.cat([paste(inside, a[0], b[0]), paste(inside, b[0], a[0])])
        labels = paste(inside, a[1], b[1]), paste(inside, b[1], a[1])
        regions = inside[:, 0], ~inside[:, 0]
        sides = list(zip(self.student(image).chunk(2), labels, regions, strict=True))
        true = torch.stack([region_loss(z, y, from_a) for z, y, from_a in sides]).sum()
        other = torch.stack([region_loss(z, y, ~from_a) for z, y, from_a in sides]).sum()
        return true, other
