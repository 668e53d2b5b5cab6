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
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from methods.base import Batch, Player, Progress
from methods.blocks.adversarial import evaluating
from methods.blocks.families import OneNet, RampParams
from methods.blocks.losses import softmax32, supervised_loss
from methods.networks import NetBuilder

# Learning rate of D's Adam in SSL4MIS.
_RATE = 1e-4


class DANParams(RampParams):
    """Weight of the adversarial term and size of D."""

    width: int = Field(64, ge=1, description="channels after the discriminator's first layer")


class Discriminator(nn.Module):
    """Four stride-2 convolutions on segmentation and image, then two logits.

    In 3D the sum of the first layers passes a leaky ReLU and dropout, in 2D neither, as published.

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
        self.dropout = nn.Dropout3d(0.5) if ndim == 3 else nn.Dropout2d(0.5)
        self.classifier = nn.Linear(8 * width, 2)

    def forward(self, probability: Tensor, image: Tensor) -> Tensor:
        """(N, 2) float32 for (N, K, *S) and (N, C, *S)."""
        x = self.of_map(probability) + self.of_image(image.mean(1, keepdim=True))
        if isinstance(self.dropout, nn.Dropout3d):
            x = self.dropout(F.leaky_relu(x, 0.2))
        *inner, last = self.layers
        for layer in inner:
            x = self.dropout(F.leaky_relu(layer(x), 0.2))
        x = F.leaky_relu(last(x), 0.2)
        logits: Tensor = self.classifier(x.flatten(2).mean(2))
        return logits.float()


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
        frozen = {n: v.detach() for n, v in self.discriminator.named_parameters()}
        with evaluating(self.discriminator):
            seen = (softmax32(logits_u), batch.unlabeled)
            verdict_u = functional_call(self.discriminator, frozen, seen)
        with evaluating(self.student), torch.no_grad():
            p = softmax32(self.student(batch.images))
        source = (torch.arange(len(p), device=p.device) < len(batch.image)).long()
        verdict = self.discriminator(p, batch.images)
        self.observe(discriminator_correct=(verdict.argmax(1) == source).float().mean())
        return {
            "supervised": supervised_loss(logits_l, batch.label),
            "adversarial": self.params.weight_at(t)
            * F.cross_entropy(verdict_u, torch.ones_like(source[: len(verdict_u)])),
            "discriminator": F.cross_entropy(verdict, source),
        }
