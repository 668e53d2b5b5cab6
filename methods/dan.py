"""DAN, deep adversarial network (Zhang et al. 2017, doi:10.1007/978-3-319-66179-7_47).

    L = L_sup(x_l, y) + w(t) CE(D(p_u, x_u), 1) + rho CE(D(sg p, x), s),  s = 1 labelled, 0 not

D tells the segmentations of labelled from those of unlabelled images; the segmenter fools it. The
second term trains the segmenter alone, the third D alone. Deviations:
- both are trained in one step by the suite's optimiser (SSL4MIS: Adam at 1e-4 in a second step), so
  D sees the predictions before, not after, the segmenter's step. rho = 0.01 gives D a hundredth of
  the segmenter's rate, 1e-4 in the protocol; at the full rate it diverges;
- D pools adaptively, so that the image size is free; several image channels enter as their mean.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from methods.base import Batch, Progress
from methods.blocks.families import OneNet, RampParams
from methods.blocks.losses import softmax32, supervised_loss
from methods.networks import NetBuilder


class DANParams(RampParams):
    """Weight of the adversarial term, rate and size of D."""

    rate: float = Field(
        0.01, gt=0, description="rho, D's learning rate relative to the segmenter's"
    )
    width: int = Field(64, ge=1, description="channels after the discriminator's first layer")


class Discriminator(nn.Module):
    """Five stride-2 convolutions on segmentation and image, then two logits.

    Args:
        classes: K.
        ndim: 2 or 3.
        width: channels of the first layer, doubled by each further one.
    """

    def __init__(self, classes: int, *, ndim: int, width: int) -> None:
        super().__init__()
        conv = nn.Conv3d if ndim == 3 else nn.Conv2d
        self.of_map, self.of_image = (conv(c, width, 4, 2, 1) for c in (classes, 1))
        self.layers = nn.ModuleList(conv(width * m, width * 2 * m, 4, 2, 1) for m in (1, 2, 4))
        self.classifier = nn.Linear(8 * width, 2)

    def forward(self, probability: Tensor, image: Tensor) -> Tensor:
        """(N, 2) float32 for (N, K, *S) and (N, C, *S)."""
        x = self.of_map(probability) + self.of_image(image.mean(1, keepdim=True))
        for layer in self.layers:
            x = layer(F.leaky_relu(x, 0.2))
        logits: Tensor = self.classifier(F.leaky_relu(x, 0.2).flatten(2).mean(2))
        return logits.float()


class DAN(OneNet[DANParams]):
    """Segmentations of unlabelled images that look like those of labelled ones."""

    Params = DANParams
    title = "DAN"
    paper = "Zhang et al. 2017, doi:10.1007/978-3-319-66179-7_47"

    def setup(self, build_net: NetBuilder) -> None:
        """Segmenter and discriminator."""
        super().setup(build_net)
        self.discriminator = Discriminator(self.classes, ndim=self.ndim, width=self.params.width)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup`, the term that fools D, and D's own."""
        logits = self.student(batch.images)
        logits_l, p = batch.split(logits)[0], softmax32(logits)
        frozen = {n: v.detach() for n, v in self.discriminator.named_parameters()}
        verdict_u = functional_call(
            self.discriminator, frozen, (batch.split(p)[1], batch.unlabeled)
        )
        source = (torch.arange(len(p), device=p.device) < len(batch.image)).long()
        return {
            "supervised": supervised_loss(logits_l, batch.label),
            "adversarial": self.params.weight_at(t)
            * F.cross_entropy(verdict_u, torch.ones_like(source[: len(verdict_u)])),
            "discriminator": self.params.rate
            * F.cross_entropy(self.discriminator(p.detach(), batch.images), source),
        }
