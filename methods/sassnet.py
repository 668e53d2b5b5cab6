"""SASSNet, shape-aware segmentation (Li, Zhang and He 2020, arXiv:2007.10732, MICCAI).

    m = tanh(h(f))                            one signed distance map per foreground class
    L_S = L_sup(x_l, y) + beta mean (m(x_l) - SDM(y))^2 + w(t) CE(D(m(x_u), x_u), 1)
    L_D = CE(D(sg m(x), x), s),               s = 1 for labelled images, 0 for others

A second head h on the decoder's last features f predicts the map of signed distances to the border
of each class: negative inside, each side scaled to 1. The discriminator D tells maps of labelled
from those of unlabelled images. Values are those of the code (github.com/kleinzcy/SASSnet at
1761aa8, `code/train_gan_sdfloss.py`: 37, 42, 47-48, 124): beta 0.3, w up to 0.01 over the whole run
(40 x 150 of 6,000 steps), D with an Adam of its own at 1e-4; preset `few_labels` is its README's
0.015 for 8 volumes. As there, D judges in eval mode what trains S, and is trained on what S
predicts in eval mode. Deviations from the code:
- a class that is absent from an image has the map 1 (there 0, the border everywhere);
- any number of classes, with a softmax over all (there one class, a sigmoid);
- the suite's L_sup (there Dice alone; its cross-entropy is computed, but takes no part);
- D sees the maps from before, not after, the segmenter's step of the same iteration, averages over
  all of the image, and its Adam has beta2 = 0.999 (there 0.99);
- in 2D, which the paper does not treat, the 2D discriminator of the same code;
- the suite's network and rate (there a V-Net with dropout; a tenth every 2,500 steps).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Batch, Player, Progress, tuned
from methods.blocks.adversarial import evaluating
from methods.blocks.discriminator import Discriminator
from methods.blocks.distance import signed_distance
from methods.blocks.families import OneNet, RampParams
from methods.blocks.losses import supervised_loss
from methods.networks import Decoded, NetBuilder

# Learning rate of D's Adam.
_RATE = 1e-4


class SASSNetParams(RampParams):
    """Weights of the distance and the adversarial term, size of D."""

    weight: float = Field(
        0.01,
        ge=0,
        description="largest weight of the adversarial term",
        json_schema_extra=tuned(0.001, 1.0, log=True),
    )
    beta: float = Field(0.3, ge=0, description="weight of the distance maps' error")
    width: int = Field(64, ge=1, description="channels after the discriminator's first layer")

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"few_labels": {"weight": 0.015}}


class SASSNet(OneNet[SASSNetParams]):
    """Distance maps of unlabelled images that look like those of labelled ones."""

    Params = SASSNetParams
    title = "SASSNet"
    paper = "Li et al. 2020, arXiv:2007.10732"
    auxiliary = frozenset({"discriminator"})

    def setup(self, build_net: NetBuilder) -> None:
        """Segmenter, head of the distance maps, discriminator."""
        super().setup(build_net)
        conv, maps = nn.Conv3d if self.ndim == 3 else nn.Conv2d, self.classes - 1
        self.distance_head = conv(self.student.stage_channels[0], maps, 1)
        self.discriminator = Discriminator(maps, ndim=self.ndim, width=self.params.width)

    def players(self) -> Sequence[Player]:
        """The discriminator."""
        return (Player("discriminator", lr=_RATE),)

    def distance_map(self, view: Decoded) -> Tensor:
        """m, (N, K - 1, *S) float32 in [-1, 1]."""
        return torch.tanh(self.distance_head(view.stages[0]).float())

    def view(self, image: Tensor) -> Decoded:
        """Output of the network's decoder."""
        return self.student.decode(self.student.encode(image))

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup`, the error of the distance maps, the term that fools D, and D's own."""
        view = self.view(batch.images)
        m_l, m_u = batch.split(self.distance_map(view))
        foreground = range(1, self.classes)
        target = torch.stack([signed_distance(batch.label == c) for c in foreground], 1)
        adversarial = self.discriminator.fooled(m_u, batch.unlabeled)
        with evaluating(self.student), torch.no_grad():
            m = self.distance_map(self.view(batch.images))
        judged, correct = self.discriminator.judged(m, batch)
        self.observe(discriminator_correct=correct)
        return {
            "supervised": supervised_loss(batch.split(view.logits)[0], batch.label),
            "distance": self.params.beta * F.mse_loss(m_l, target),
            "adversarial": self.params.weight_at(t) * adversarial,
            "discriminator": judged,
        }
