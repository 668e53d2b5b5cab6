"""UGPCL, uncertainty-guided pixel contrast (Wang et al. 2022, doi:10.24963/ijcai.2022/201).

    pbar = (p_cnn + p_swin) / 2,    u_i = -sum_k pbar_ik ln pbar_ik
    certain: u_i <= (3/4 + r(t)/4) ln K;  c_i = y_i if labelled, argmax_k pbar_ik if certain
    L = L_sup(cnn) + 0.4 L_sup(swin) + w(t) mean_ik (p_cnn - p_swin)^2_unlabelled
        + 0.1 CE(rotation) + 0.1 L_con(labelled and certain pixels; c)

One encoder, a convolutional and a Swin decoder; the images are turned by a multiple of 90 degrees,
which a classifier on the deepest map has to tell. Uncertain pixels are left out. Deviations:
- encoder from random weights, as for all methods (code: ImageNet ResNet-50);
- ln K in place of the code's ln 2; preset `ugpcl_code` has ln 2;
- the suite's supervised loss (code: Dice without background);
- the memory holds true embeddings only (code: zero vectors of class 0 and random ones take part);
- embeddings from the CNN decoder at a quarter of the resolution (code: encoder at an eighth).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Batch, Progress
from methods.blocks.contrast import Memory, nearest_at, pair_loss, sample_group
from methods.blocks.entropy import entropy
from methods.blocks.families import OneNet, RampParams
from methods.blocks.heads import ProjectionHead
from methods.blocks.losses import consistency_mse, softmax32, supervised_loss
from methods.blocks.ramps import sigmoid_ramp
from methods.blocks.rotation import draw_turns, rotate
from methods.networks import NetBuilder


class UGPCLParams(RampParams):
    """Weights, threshold, contrast."""

    weight_swin: float = Field(0.4, ge=0, description="weight of the Swin decoder's L_sup")
    weight_rotation: float = Field(0.1, ge=0, description="weight of the rotation term")
    weight_contrast: float = Field(0.1, ge=0, description="weight of the contrast")
    start: float = Field(0.1, ge=0, lt=1, description="share of the run before contrast")
    threshold_base: Literal["lnK", "ln2"] = Field("lnK", description="largest uncertainty")
    tau_c: float = Field(0.07, gt=0, description="contrastive temperature")
    dim: int = Field(256, ge=2, description="size of the embedding")
    anchors: int = Field(64, ge=1, description="anchors per class")
    memory: int = Field(500, ge=0, description="slots per class")

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "ugpcl_code": {"threshold_base": "ln2", "weight": 0.01}
    }


class UGPCL(OneNet[UGPCLParams]):
    """Contrast of certain pixels; two different decoders find them."""

    Params = UGPCLParams
    title = "UGPCL"
    paper = "Wang et al. 2022, doi:10.24963/ijcai.2022/201"

    def setup(self, build_net: NetBuilder) -> None:
        """Encoder with two decoders, projection, rotation classifier, memory."""
        self.student = build_net(decoders=["transposed", "swin"])
        dim = self.params.dim
        self.head = ProjectionHead(self.student.feature_channels, dim, ndim=self.ndim)
        self.rotation = nn.Linear(self.student.level_channels[-1], 4)
        self.memory = Memory(groups=1, classes=self.classes, size=self.params.memory, dim=dim)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of both decoders, consistency, rotation, contrast."""
        p, turns = self.params, draw_turns(batch.images, identity=True)
        label = rotate(batch.label, turns[: len(batch.image)])
        levels = self.student.encode(rotate(batch.images, turns))
        cnn, swin = (self.student.decode(levels, index) for index in (0, 1))
        z_l, swin_l = batch.split(cnn.logits)[0], batch.split(swin.logits)[0]
        p_cnn, p_swin = softmax32(cnn.logits), softmax32(swin.logits)
        told = self.rotation(levels[-1].flatten(2).mean(2)).float()
        mean = (p_cnn.detach() + p_swin.detach()) / 2
        terms = {
            "supervised": supervised_loss(z_l, label)
            + p.weight_swin * supervised_loss(swin_l, label),
            "consistency": p.weight_at(t)
            * consistency_mse(batch.split(p_cnn)[1], batch.split(p_swin)[1]),
            "rotation": p.weight_rotation
            * F.cross_entropy(told, torch.tensor(turns, device=told.device)),
        }
        if t.fraction >= p.start:
            contrast = self.contrast(cnn.features, mean, label, t)
            terms["contrast"] = p.weight_contrast * contrast
        return terms

    def contrast(self, features: Tensor, mean: Tensor, label: Tensor, t: Progress) -> Tensor:
        """`L_con` of features (N, C, *G), mean prediction (N, K, *S), true labels (L, *S)."""
        p = self.params
        mean, label = (nearest_at(v, features.shape[2:]) for v in (mean, label))
        base = 2 if p.threshold_base == "ln2" else self.classes
        certain = entropy(mean) <= (0.75 + 0.25 * sigmoid_ramp(t.fraction)) * math.log(base)
        certain[: len(label)] = True
        self.observe(certain_share=certain[len(label) :].float().mean())
        label = torch.cat([label, mean[len(label) :].argmax(1)])
        drawn = sample_group(
            self.head.rows(features), label.flatten(), certain.flatten(),
            classes=self.classes, count=p.anchors, least=1,
        )  # fmt: skip
        keys = drawn.extended(self.memory.read(0))
        loss = pair_loss(drawn, keys, keys, temperature=p.tau_c, skip_self=True)
        self.memory.write(0, drawn)
        return loss

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The Swin decoder."""
        return {"swin": lambda image: self.student.decode(self.student.encode(image), 1).logits}
