"""EGCL-Net, entropy-guided contrastive learning (Xie, Wu, Zhu 2024, doi:10.1049/ipr2.12950).

RECONSTRUCTION from the abstract; the full text was not consulted. The abstract states: features of
low and of high entropy are separated by the average of predictions; a contrastive loss pulls
representations of one class together and pushes those of different classes apart; high-entropy
features are used, not discarded. Everything else below is our choice.

    pbar = (p_A + p_B) / 2                       average of two decoders, detached      [avg]
    H_i  = -(1/ln K) sum_k pbar_ik ln pbar_ik    in [0, 1]
    low  = {i : H_i <= tau},  high = {i : H_i > tau}                                    [split]
    c_i  = y_i on labelled pixels, argmax_k pbar_ik on unlabelled ones                  [high_label]
    L    = mean_v L_sup(z_v, y) + w(t) mean_ik (p_A - p_B)^2_unlabelled + w_con(t) L_con
    L_con = w_low L(low; low, low) + w_high L(high; high, high) + w_cross L(high; sg low, sg low)

`L(anchors; positives, negatives)` is `pair_loss`. The consistency term is not masked by entropy, so
that only the contrastive term treats high-entropy pixels. Embeddings come from decoder A at a
quarter of the resolution; labels and H are read at the same grid points. Decoder A is tested.

Names in brackets are parameters with other readings of the abstract. `reading`: `semantic` is the
above; `entropy_group` contrasts low with high whatever the class; `joint` takes (class, group) as
the class. The remaining parameters make the controls of the ablation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from methods.base import Batch, Method, Progress, tuned
from methods.blocks.averages import Averaged, AverageKind, averager
from methods.blocks.contrast import (
    Memory,
    Samples,
    mean_similarities,
    nearest_at,
    pair_loss,
    sample_group,
)
from methods.blocks.entropy import normalized_entropy
from methods.blocks.groups import HIGH, LOW, GroupParams, Groups, assign_groups
from methods.blocks.heads import ProjectionHead
from methods.blocks.losses import softmax32, supervised_loss
from methods.blocks.ramps import sigmoid_ramp
from methods.networks import NetBuilder


class EGCLParams(GroupParams):
    """Parameters of EGCL-Net: those of the split into groups, and the following."""

    avg: AverageKind = Field("dual_decoder", description="which predictions are averaged")
    passes: int = Field(8, ge=1, description="teacher passes of avg: mc_passes")
    low_negatives: Literal["low", "all"] = Field("low", description="negatives of low anchors")
    reading: Literal["semantic", "entropy_group", "joint"] = Field(
        "semantic", description="what a class is in the contrast"
    )
    cross_direction: Literal["high_to_low", "both"] = Field(
        "high_to_low", description="side of the cross term that takes the gradient"
    )
    embed_from: Literal["decoder", "encoder"] = Field(
        "decoder", description="decoder map at stride 4, or encoder map at stride 8"
    )
    tau_c: float = Field(
        0.1,
        gt=0,
        description="contrastive temperature",
        json_schema_extra=tuned(0.05, 0.5, log=True),
    )
    w_low: float = Field(1 / 3, ge=0, description="share of the low-entropy term")
    w_high: float = Field(1 / 3, ge=0, description="share of the high-entropy term")
    w_cross: float = Field(1 / 3, ge=0, description="share of the high-to-low term")
    lam_con: float = Field(
        0.1,
        ge=0,
        description="largest contrastive weight; 0: no contrast",
        json_schema_extra=tuned(0.01, 1.0, log=True),
    )
    con_ramp: Literal["ramp", "none"] = Field("ramp", description="growth of that weight")
    start: float = Field(1 / 30, ge=0, lt=1, description="share of the run before contrast")
    weight: float = Field(0.1, ge=0, description="largest consistency weight")
    lam_entropy: float = Field(0.0, ge=0, description="largest weight of entropy minimisation")
    dim: int = Field(128, ge=2, description="size of the embedding")
    anchors: int = Field(64, ge=1, description="anchors per class and group")
    keys: int = Field(256, ge=1, description="keys per class and group")
    memory: int | None = Field(
        None, ge=0, description="slots per class and group; null: 0 in 2D, 256 in 3D"
    )
    least: int = Field(8, ge=1, description="fewest pixels of a class and group to be sampled")
    least_group: int = Field(32, ge=1, description="fewest pixels of a group for its terms")

    @model_validator(mode="after")
    def _consistent(self) -> EGCLParams:
        total = self.w_low + self.w_high + self.w_cross
        if abs(total - 1) > 1e-6:
            raise ValueError(f"w_low + w_high + w_cross must be 1, got {total:g}")
        if self.reading != "semantic" and self.w_cross > 0:
            raise ValueError(f"reading '{self.reading}' excludes the cross term: set w_cross to 0")
        return self


class EGCLNet(Method[EGCLParams]):
    """Two decoders whose averaged prediction splits the pixels that are contrasted."""

    Params = EGCLParams
    title = "EGCL-Net (reconstructed)"
    paper = "Xie, Wu and Zhu 2024, doi:10.1049/ipr2.12950"
    footnote = "EGCL-Net: reconstructed from the abstract, full text not consulted."

    def setup(self, build_net: NetBuilder) -> None:
        """Averaging network, projection head, memory."""
        p = self.params
        self.net = averager(p.avg, build_net, passes=p.passes, classes=self.classes, ndim=self.ndim)
        student = self.net.student
        from_decoder = p.embed_from == "decoder"
        channels = student.feature_channels if from_decoder else student.level_channels[3]
        self.head = ProjectionHead(channels, p.dim, ndim=self.ndim)
        slots = p.memory if p.memory is not None else (256 if self.ndim == 3 else 0)
        self.memory = Memory(groups=2, classes=self.classes, size=slots, dim=p.dim)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of the trained heads, consistency, and the contrastive terms."""
        p, out = self.params, self.net(batch)
        supervised = [supervised_loss(batch.split(z)[0], batch.label) for z in out.trained]
        terms = {
            "supervised": torch.stack(supervised).mean(),
            "consistency": p.weight * sigmoid_ramp(t.fraction) * out.consistency,
        }
        if p.lam_entropy > 0:
            h = normalized_entropy(softmax32(out.view.logits)).mean()
            terms["entropy"] = p.lam_entropy * sigmoid_ramp(t.fraction) * h
        if p.lam_con > 0 and t.fraction >= p.start:
            w_con = p.lam_con * (sigmoid_ramp(t.fraction) if p.con_ramp == "ramp" else 1)
            contrast = self.contrast(out, batch, t)
            terms |= {f"contrast_{name}": w_con * value for name, value in contrast.items()}
        return terms

    def predict(self, image: Tensor) -> Tensor:
        """Logits of decoder A."""
        logits: Tensor = self.net.student(image)
        return logits

    def after_step(self, t: Progress) -> None:
        """EMA of a teacher, where there is one."""
        self.net.after_step(t)

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The teacher, where there is one."""
        return self.net.companions()

    def contrast(self, out: Averaged, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """The terms of `L_con`, each times its share.

        Args:
            out: predictions on all images.
            batch: gives the labels of the labelled images.
            t: position in the run.
        """
        p = self.params
        features = out.view.features if p.embed_from == "decoder" else out.levels[3]
        average, truth = (nearest_at(v, features.shape[2:]) for v in (out.mean, batch.label))
        groups = assign_groups(average, truth, p, t.fraction)
        z = self.head.rows(features)
        draw = partial(sample_group, z, least=p.least, traits=groups.traits)
        some = [m.sum() >= p.least_group for m in groups.members]
        needed = (p.w_low > 0, p.w_high + p.w_cross > 0)
        missing = [~s & n for s, n in zip(some, needed, strict=True)]
        self.observe(empty_group=(missing[LOW] | missing[HIGH]).float(), **groups.facts)
        if p.reading != "semantic":
            return {"group": self.regrouped(draw, groups)}
        drawn = [draw(groups.label, m, classes=self.classes, count=p.keys) for m in groups.members]
        keys = [drawn[g].extended(self.memory.read(g)) for g in (LOW, HIGH)]
        anchors = [drawn[g].first(p.anchors) for g in (LOW, HIGH)]
        for g in (LOW, HIGH):
            self.memory.write(g, drawn[g])
        near, far = mean_similarities(keys[LOW])
        self.observe(positive_similarity=near, negative_similarity=far)
        others = keys[LOW].extended(keys[HIGH]) if p.low_negatives == "all" else keys[LOW]
        reliable = keys[LOW].detach() if p.cross_direction == "high_to_low" else keys[LOW]
        loss = partial(pair_loss, temperature=p.tau_c)
        terms = {}
        if p.w_low > 0:
            low = loss(anchors[LOW], keys[LOW], others, skip_self=True)
            terms["low"] = p.w_low * some[LOW] * low
        if p.w_high > 0:
            high = loss(anchors[HIGH], keys[HIGH], keys[HIGH], skip_self=True)
            terms["high"] = p.w_high * some[HIGH] * high
        if p.w_cross > 0:
            cross = loss(anchors[HIGH], reliable, reliable)
            terms["cross"] = p.w_cross * (some[LOW] & some[HIGH]) * cross
        return terms

    def regrouped(self, draw: Callable[..., Samples], groups: Groups) -> Tensor:
        """Contrast whose classes are the groups, or (class, group); the pair budget is unchanged.

        Args:
            draw: samples pixels by label and membership.
            groups: of the grid points.
        """
        p, high = self.params, groups.members[HIGH].long()
        joint = p.reading == "joint"
        label = groups.label + self.classes * high if joint else high
        classes, share = (2 * self.classes, 1) if joint else (2, self.classes)
        member = groups.members[LOW] | groups.members[HIGH]
        keys = draw(label, member, classes=classes, count=p.keys * share)
        anchors = keys.first(p.anchors * share)
        return pair_loss(anchors, keys, keys, temperature=p.tau_c, skip_self=True)
