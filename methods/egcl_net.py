"""EGCL-Net, entropy-guided contrastive learning (Xie, Wu, Zhu 2024, doi:10.1049/ipr2.12950).

RECONSTRUCTION from the abstract; the full text was not consulted. The abstract states: features of
low and of high entropy are separated by the average of predictions; a contrastive loss pulls
representations of one class together and pushes those of different classes apart; high-entropy
features are used, not discarded. Everything else below is our choice.

    pbar = (p_A + p_B) / 2                       average of two decoders, detached
    H_i  = -(1/ln K) sum_k pbar_ik ln pbar_ik    in [0, 1]
    low  = {i : H_i <= tau},  high = {i : H_i > tau}
    c_i  = y_i on labelled pixels, argmax_k pbar_ik on unlabelled ones
    L    = mean_v L_sup(z_v, y) + w(t) mean_ik (p_A - p_B)^2_unlabelled + w_con(t) L_con
    L_con = w_low L(low; low, low) + w_high L(high; high, high) + w_cross L(high; sg low, sg low)

`L(anchors; positives, negatives)` is `pair_loss`. The consistency term is not masked by entropy, so
that only the contrastive term treats high-entropy pixels. Embeddings come from decoder A at a
quarter of the resolution; labels and H are read at the same grid points. Decoder A is tested.
"""

from __future__ import annotations

from functools import partial

import torch
from pydantic import Field, model_validator
from torch import Tensor

from methods.base import Batch, MethodParams, NetBuilder, Progress, View
from methods.blocks.contrast import Memory, nearest_at, pair_loss, sample_group
from methods.blocks.entropy import normalized_entropy
from methods.blocks.families import OneNet
from methods.blocks.heads import ProjectionHead
from methods.blocks.losses import consistency_mse, softmax32, supervised_loss
from methods.blocks.ramps import sigmoid_ramp

LOW, HIGH = 0, 1


class EGCLParams(MethodParams):
    """Parameters of EGCL-Net."""

    tau: float = Field(0.5, gt=0, lt=1, description="entropy threshold, on entropy in [0, 1]")
    tau_c: float = Field(0.1, gt=0, description="contrastive temperature")
    w_low: float = Field(1 / 3, ge=0, description="share of the low-entropy term")
    w_high: float = Field(1 / 3, ge=0, description="share of the high-entropy term")
    w_cross: float = Field(1 / 3, ge=0, description="share of the high-to-low term")
    lam_con: float = Field(0.1, ge=0, description="largest contrastive weight")
    start: float = Field(1 / 30, ge=0, lt=1, description="share of the run before contrast")
    weight: float = Field(0.1, ge=0, description="largest consistency weight")
    dim: int = Field(128, ge=2, description="size of the embedding")
    anchors: int = Field(64, ge=1, description="anchors per class and group")
    keys: int = Field(256, ge=1, description="keys per class and group")
    memory: int | None = Field(
        None, ge=0, description="slots per class and group; null: 0 in 2D, 256 in 3D"
    )
    least: int = Field(8, ge=1, description="fewest pixels of a class and group to be sampled")
    least_group: int = Field(32, ge=1, description="fewest pixels of a group for its terms")

    @model_validator(mode="after")
    def _shares_sum_to_one(self) -> EGCLParams:
        total = self.w_low + self.w_high + self.w_cross
        if abs(total - 1) > 1e-6:
            raise ValueError(f"w_low + w_high + w_cross must be 1, got {total:g}")
        return self


class EGCLNet(OneNet[EGCLParams]):
    """Two decoders whose averaged prediction splits the pixels that are contrasted."""

    Params = EGCLParams
    title = "EGCL-Net (reconstructed)"
    paper = "Xie, Wu and Zhu 2024, doi:10.1049/ipr2.12950"
    footnote = "EGCL-Net: reconstructed from the abstract, full text not consulted."

    def setup(self, build_net: NetBuilder) -> None:
        """Network with decoders A and B, projection head, memory."""
        p = self.params
        self.student = build_net(decoders=2)
        self.head = ProjectionHead(self.student.feature_channels, p.dim, ndim=self.ndim)
        slots = p.memory if p.memory is not None else (256 if self.ndim == 3 else 0)
        self.memory = Memory(groups=2, classes=self.classes, size=slots, dim=p.dim)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of both decoders, their consistency, and the three contrastive terms."""
        a, b = self.student.views(batch.images)
        p_a, p_b = softmax32(a.logits), softmax32(b.logits)
        supervised = [supervised_loss(batch.split(v.logits)[0], batch.label) for v in (a, b)]
        w = self.params.weight * sigmoid_ramp(t.fraction)
        terms = {
            "supervised": torch.stack(supervised).mean(),
            "consistency": w * consistency_mse(batch.split(p_a)[1], batch.split(p_b)[1]),
        }
        if t.fraction >= self.params.start:
            w_con = self.params.lam_con * sigmoid_ramp(t.fraction)
            contrast = self.contrast(a, (p_a.detach() + p_b.detach()) / 2, batch)
            terms |= {f"contrast_{name}": w_con * value for name, value in contrast.items()}
        return terms

    def contrast(self, view: View, average: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The low, high and cross terms of `L_con`, each times its share.

        Args:
            view: decoder A on all images, (L + U, ...).
            average: `pbar`, (L + U, K, *S) float32, detached.
            batch: gives the labels of the labelled images.
        """
        p, z = self.params, self.head(view.features)
        grid = z.shape[2:]
        average = nearest_at(average, grid)
        label = average.argmax(1)
        label[: len(batch.label)] = nearest_at(batch.label, grid)
        high = normalized_entropy(average).flatten() > p.tau
        self.observe(high_share=high.float().mean())
        vectors, labels = z.movedim(1, -1).flatten(0, -2), label.flatten()
        members = (~high, high)
        drawn = [
            sample_group(vectors, labels, m, classes=self.classes, count=p.keys, least=p.least)
            for m in members
        ]
        keys = [drawn[g].extended(self.memory.read(g)) for g in (LOW, HIGH)]
        anchors = [drawn[g].first(p.anchors) for g in (LOW, HIGH)]
        for g in (LOW, HIGH):
            self.memory.write(g, drawn[g])
        low, high_group = (m.sum() >= p.least_group for m in members)
        self.observe(empty_group=(~(low & high_group)).float())
        loss = partial(pair_loss, temperature=p.tau_c)
        sg_low = keys[LOW].detach()
        return {
            "low": p.w_low * low * loss(anchors[LOW], keys[LOW], keys[LOW], skip_self=True),
            "high": p.w_high
            * high_group
            * loss(anchors[HIGH], keys[HIGH], keys[HIGH], skip_self=True),
            "cross": p.w_cross * (low & high_group) * loss(anchors[HIGH], sg_low, sg_low),
        }
