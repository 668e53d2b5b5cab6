"""UGPCL, uncertainty-guided pixel contrast (Wang et al. 2022, doi:10.24963/ijcai.2022/201).

    pbar = (p_cnn + p_swin) / 2,    u_i = -sum_k pbar_ik ln pbar_ik
    certain: u_i <= (3/4 + r(t)/4) ln 2;  c_i = y_i if labelled, argmax_k pbar_ik if certain
    L = L_sup(cnn) + 0.4 L_sup(swin) + w(t) mean_ik (p_cnn - p_swin)^2_unlabelled
        + 0.1 CE(rotation) + 0.1 L_con(labelled and certain pixels; c)

One encoder, a convolutional and a Swin decoder. Images have their colours jittered and are turned
by a multiple of 90 degrees, which a classifier on the deepest map has to tell. Uncertain pixels are
left out. Anchors: of each image and class of two pixels or more one pixel, one that the CNN gets
right where there is any. Keys: a memory of class means, one per image and class. Values are those
of the code's run on ACDC. Deviations from the code:
- encoder from random weights, as for all methods (there ImageNet's ResNet-50); embeddings from its
  third map from below as there, but that is at a quarter of the resolution (there an eighth);
- the suite's supervised loss (there Dice without background) and weak augmentation without quarter
  turns: small rotations for half of the images in 2D and none in 3D (there for all);
- the memory starts empty and holds background too (there: random vectors; background anchors have
  zero vectors as positives), so the contrast starts one step later;
- each class counts alike in the contrast (there each anchor);
- no dropout before the rotation's classifier.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Batch, Progress, tuned
from methods.blocks.contrast import Memory, Pairs, Samples, contrasted, nearest_at
from methods.blocks.entropy import entropy
from methods.blocks.families import OneNet, RampParams
from methods.blocks.heads import ProjectedRows, ProjectionHead
from methods.blocks.jitter import color_jitter
from methods.blocks.losses import consistency_mse, softmax32, supervised_loss
from methods.blocks.ramps import sigmoid_ramp
from methods.blocks.rotation import draw_turns, rotate
from methods.networks import NetBuilder

# Level of the encoder that is embedded, from below.
_LEVEL = -3


class UGPCLParams(RampParams):
    """Weights, contrast."""

    weight: float = Field(
        0.01,
        ge=0,
        description="largest weight of the consistency",
        json_schema_extra=tuned(0.01, 10.0, log=True),
    )
    weight_swin: float = Field(0.4, ge=0, description="weight of the Swin decoder's L_sup")
    weight_rotation: float = Field(0.1, ge=0, description="weight of the rotation term")
    weight_contrast: float = Field(0.1, ge=0, description="weight of the contrast")
    start: float = Field(0.1, ge=0, lt=1, description="share of the run before contrast")
    tau_c: float = Field(0.07, gt=0, description="contrastive temperature")
    dim: int = Field(256, ge=2, description="size of the embedding")
    memory: int = Field(500, ge=1, description="slots per class")


class UGPCL(OneNet[UGPCLParams]):
    """Contrast of certain pixels; two different decoders find them."""

    Params = UGPCLParams
    title = "UGPCL"
    paper = "Wang et al. 2022, doi:10.24963/ijcai.2022/201"
    stages: ClassVar[Mapping[str, str]] = {"contrast": "start"}
    quarter_turns = False

    def setup(self, build_net: NetBuilder) -> None:
        """Encoder with two decoders, projection, rotation classifier, memory."""
        self.student = build_net(decoders=["transposed", "swin"])
        dim, channels = self.params.dim, self.student.level_channels
        self.head = ProjectionHead(channels[_LEVEL], dim, ndim=self.ndim)
        self.rotation = nn.Linear(channels[-1], 4)
        self.memory = Memory(groups=1, classes=self.classes, size=self.params.memory, dim=dim)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of both decoders, consistency, rotation, contrast."""
        p, turns = self.params, draw_turns(batch.images, identity=True)
        label = rotate(batch.label, turns[: len(batch.image)])
        image = color_jitter(batch.images, brightness=0.4, contrast=0.4, probability=0.8)
        levels = self.student.encode(rotate(image, turns))
        z_cnn, z_swin = (self.student.decode(levels, index).logits for index in (0, 1))
        p_cnn, p_swin = softmax32(z_cnn), softmax32(z_swin)
        told = self.rotation(levels[-1].flatten(2).mean(2)).float()
        self.observe(rotation_correct=(told.argmax(1) == turns).float().mean())
        terms = {
            "supervised": supervised_loss(batch.split(z_cnn)[0], label)
            + p.weight_swin * supervised_loss(batch.split(z_swin)[0], label),
            "consistency": p.weight_at(t)
            * consistency_mse(batch.split(p_cnn)[1], batch.split(p_swin)[1]),
            "rotation": p.weight_rotation * F.cross_entropy(told, turns),
        }
        if t.choice(lambda now: now.fraction >= p.start):
            contrast = self.contrast(levels[_LEVEL], (p_cnn.detach(), p_swin.detach()), label, t)
            terms["contrast"] = p.weight_contrast * contrast
        return terms

    def contrast(
        self, features: Tensor, predictions: tuple[Tensor, Tensor], label: Tensor, t: Progress
    ) -> Tensor:
        """`L_con` of a map (N, F, *G), p_cnn and p_swin (N, K, *S) and true labels (L, *S)."""
        p_cnn, p_swin, label = (nearest_at(v, features.shape[2:]) for v in (*predictions, label))
        mean, known = (p_cnn + p_swin) / 2, len(label)
        certain = entropy(mean) <= t.scalar(
            lambda now: (0.75 + 0.25 * sigmoid_ramp(now.fraction)) * math.log(2)
        )
        self.observe(certain_share=certain[known:].float().mean())
        certain[:known] = True
        label = torch.cat([label, mean[known:].argmax(1)]).flatten(1)
        of_class = label[:, None] == torch.arange(self.classes, device=label.device)[:, None]
        of_class &= certain.flatten(1)[:, None]
        rows, keys = self.head.rows(features), self.memory.read(0)
        anchors = draw_anchors(rows, of_class, p_cnn.argmax(1).flatten(1) == label)
        self.memory.write(0, class_means(rows, of_class))
        term = contrasted(Pairs(anchors, keys, keys), temperature=self.params.tau_c)
        self.acted(contrast=term.anchors)
        return term.loss

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The Swin decoder."""
        return {"swin": lambda image: self.student.decode(self.student.encode(image), 1).logits}


def draw_anchors(rows: ProjectedRows, of_class: Tensor, correct: Tensor) -> Samples:
    """One pixel of every image and class that has two, a correctly predicted one if there is any.

    Args:
        rows: embeddings (N P, D).
        of_class: (N, K, P) bool.
        correct: (N, P) bool.

    Returns:
        (K, N, D).
    """
    images, _, pixels = of_class.shape
    # A correct pixel draws from [1, 2), any other from [0, 1).
    score = torch.rand(images, pixels, device=of_class.device) + correct
    chosen = score[:, None].masked_fill(~of_class, -1).argmax(2)
    first = pixels * torch.arange(images, device=of_class.device)
    return Samples(rows[(first[:, None] + chosen).T], (of_class.sum(2) > 1).T)


@torch.no_grad()
def class_means(rows: ProjectedRows, of_class: Tensor) -> Samples:
    """Unit mean embedding of every class of every image, those of classes that are there first.

    Args:
        rows: embeddings (N P, D).
        of_class: (N, K, P) bool.

    Returns:
        (K, N, D).
    """
    images, _, pixels = of_class.shape
    every = torch.arange(images * pixels, device=of_class.device).view(images, pixels)
    with torch.autocast(of_class.device.type, enabled=False):
        mean = F.normalize(of_class.float() @ rows[every], dim=2).transpose(0, 1)
    valid, order = of_class.any(2).T.sort(dim=1, descending=True, stable=True)
    return Samples(mean.gather(1, order[..., None].expand_as(mean)), valid)
