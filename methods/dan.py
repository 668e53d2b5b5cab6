"""DAN, deep adversarial network (Zhang et al. 2017, doi:10.1007/978-3-319-66179-7_47).

    L_S = L_sup(x_l, y) + w(t) CE(D(p_u, x_u), 1)
    L_D = CE(D(sg p, x), s),    s = 1 for labelled images, 0 for others

D tells the segmentations of labelled from those of unlabelled images; the segmenter S fools it. As
in SSL4MIS, D has an Adam of its own at the constant rate 1e-4 and dropout, it judges in eval mode
what trains S, and it is trained on what S predicts in eval mode. Deviations from SSL4MIS:
- D sees the predictions from before, not after, the segmenter's step of the same iteration;
- D's map is averaged over all of the image, so that its size is free (there in 2D: over quadrants
  of 256 voxel images, whose four averages are classified);
- Adam with beta2 = 0.999 (there 0.99);
- several image channels enter D as their mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Player, Progress
from methods.blocks.adversarial import evaluating
from methods.blocks.discriminator import Discriminator
from methods.blocks.families import OneNet, RampParams
from methods.blocks.losses import softmax32, supervised_loss
from methods.networks import NetBuilder

# Learning rate of D's Adam in SSL4MIS.
_RATE = 1e-4


class DANParams(RampParams):
    """Weight of the adversarial term and size of D."""

    width: int = Field(64, ge=1, description="channels after the discriminator's first layer")


class DAN(OneNet[DANParams]):
    """Segmentations of unlabelled images that look like those of labelled ones."""

    Params = DANParams
    title = "DAN"
    paper = "Zhang et al. 2017, doi:10.1007/978-3-319-66179-7_47"
    auxiliary = frozenset({"discriminator"})

    def setup(self, build_net: NetBuilder) -> None:
        """Segmenter and discriminator."""
        super().setup(build_net)
        self.discriminator = Discriminator(self.classes, ndim=self.ndim, width=self.params.width)

    def players(self) -> Sequence[Player]:
        """The discriminator."""
        return (Player("discriminator", lr=_RATE),)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup`, the term that fools D, and D's own."""
        logits_l, logits_u = batch.split(self.student(batch.images))
        adversarial = self.discriminator.fooled(softmax32(logits_u), batch.unlabeled)
        with evaluating(self.student), torch.no_grad():
            p = softmax32(self.student(batch.images))
        judged, correct = self.discriminator.judged(p, batch)
        self.observe(discriminator_correct=correct)
        return {
            "supervised": supervised_loss(logits_l, batch.label),
            "adversarial": self.params.weight_at(t) * adversarial,
            "discriminator": judged,
        }
