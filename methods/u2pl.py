"""U2PL, unreliable pseudo-labels (Wang et al. 2022, arXiv:2203.03884).

    H_i = -sum_k p'_ik ln p'_ik of the teacher;   reliable: H_i <= its a-quantile, a: 0.8 -> 1
    L_pseudo = |Omega| / |reliable| mean_{reliable} CE(z_i, argmax p'_i)         on CutMix images
    L_c = mean_k mean_{anchors} -ln e^{<z, z+_k>/T} / (e^{<z, z+_k>/T} + sum_n e^{<z, z-_kn>/T})
    L = L_sup(x_l, y) + L_pseudo + w_c L_c

Pixels of class k, by label or pseudo-label, are *low* if H_i is at most the alpha-quantile, alpha =
0.2 (1 - t/T), labelled ones always. Anchors: low ones with p'_ik > 0.3. z+_k: mean of the teacher's
embeddings at all low ones. z-_k: a memory of the teacher's embeddings of pixels of other classes:
labelled ones for which k is among the first `low_rank` classes of p'_i, whatever their entropy, and
unlabelled ones with H_i at least the (1 - alpha)-quantile for which it is not.
Deviations from the published code (github.com/Haochen-Wang409/U2PL at ab3d2be):
- its negatives must also carry label k, which leaves none of the labelled pixels and those of the
  unlabelled ones whose pseudo-label changed with CutMix: dropped, as the paper has no such rule;
- `low_rank` is K // 2 (code: 3 of 21 or 19 classes), without an upper rank (code: 20);
- classes keep their own index where one is absent; mean over the classes that have anchors and
  negatives (code: over those present);
- all negatives of a class's memory are used (code: 50 drawn per anchor from a longer memory);
- embeddings at a quarter of the resolution, of length 1 also in the mean;
- this suite's L_sup, half of which is Dice (code: CE), with the published weight of L_pseudo;
- weight of L_c 0.1 as the authors advise (issue 52); supervision alone for 1/30 of the run, whose
  teacher is a copy of the student (code: one epoch of 80, none of 200; a copy in the next one);
- pseudo-labels from the teacher in train mode (code: evaluation mode), which is logged; the student
  is tested (code: the teacher);
- whether to mix is drawn per image (code: for the batch); in 3D a box takes the half too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Progress, Scalar, tuned
from methods.blocks.contrast import Memory, nearest_at, prototype_loss, sample_masks
from methods.blocks.ema import copy_weights, ema_update
from methods.blocks.entropy import entropy
from methods.blocks.families import EMAParams, WithTeacher
from methods.blocks.heads import ProjectionHead
from methods.blocks.losses import masked_mean, softmax32, supervised_loss
from methods.blocks.mixing import half_boxes, mixed
from methods.networks import Decoded, NetBuilder, SegNet

# Quantiles are taken over at most this many pixels.
_MOST = 1_000_000


class U2PLParams(EMAParams):
    """Weights, reliability, contrast."""

    weight: float = Field(
        1.0, ge=0, description="weight of the pseudo term",
        json_schema_extra=tuned(0.1, 10.0, log=True),
    )  # fmt: skip
    ramp: float = Field(1e-9, gt=0, le=1, description="share of the run until it is full")
    weight_contrast: float = Field(0.1, ge=0, description="weight of the contrast")
    start: float = Field(1 / 30, ge=0, lt=1, description="share of the run on labels alone")
    alpha: float = Field(0.2, gt=0, lt=0.5, description="first share of unreliable pixels")
    confident: float = Field(0.3, ge=0, lt=1, description="least probability of an anchor")
    low_rank: int | None = Field(None, ge=1, description="likely classes of a pixel; null: K // 2")
    temperature: float = Field(0.5, gt=0, description="T of the contrast")
    cutmix: float = Field(0.5, ge=0, le=1, description="probability of CutMix")
    dim: int = Field(256, ge=2, description="size of the embedding")
    anchors: int = Field(256, ge=1, description="anchors per class")
    memory: int = Field(256, ge=1, description="negatives per class")


def quantile(value: Tensor, q: Scalar) -> Tensor:
    """Quantile of all entries, 0-d; of an evenly spaced part where there are many."""
    flat = value.flatten()
    # `Tensor.quantile` reads a `q` that is a tensor.
    ordered = flat[:: 1 + len(flat) // _MOST].sort().values
    rank = ordered.new_ones(1) * q * (len(ordered) - 1)
    below = rank.floor().long()
    above = (below + 1).clamp(max=len(ordered) - 1)
    return ordered.take(below).lerp(ordered.take(above), rank - below)[0]


class U2PL(WithTeacher[U2PLParams]):
    """Reliable pixels are labels, unreliable ones negatives."""

    Params = U2PLParams
    title = "U2PL"
    paper = "Wang et al. 2022, arXiv:2203.03884"
    stages: ClassVar[Mapping[str, str]] = {"pseudo": "start", "contrast": "start"}

    def setup(self, build_net: NetBuilder) -> None:
        """Student and teacher with representation heads, memory of negatives."""
        super().setup(build_net)
        channels, dim = self.student.feature_channels, self.params.dim
        self.head = ProjectionHead(channels, dim, ndim=self.ndim)
        self.teacher_head = ProjectionHead(channels, dim, ndim=self.ndim).requires_grad_(False)
        copy_weights(self.teacher_head, self.head)
        self.memory = Memory(groups=1, classes=self.classes, size=self.params.memory, dim=dim)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup`, the pseudo term and the contrast."""
        p = self.params
        if t.choice(lambda now: now.fraction < p.start):
            return {"supervised": supervised_loss(self.student(batch.image), batch.label)}
        label_u = self.target(batch.unlabeled).argmax(1)
        boxes = half_boxes(batch.unlabeled, probability=p.cutmix)
        x_u, label_u = (mixed(boxes, value) for value in (batch.unlabeled, label_u))
        images, label = torch.cat([batch.image, x_u]), torch.cat([batch.label, label_u])
        with torch.no_grad():
            view_t = _view(self.teacher, images)
            p_t, z_t = softmax32(view_t.logits), self.teacher_head(view_t.features)
        view = _view(self.student, images)
        logits_l, logits_u = batch.split(view.logits)
        u = entropy(batch.split(p_t)[1])
        alpha = t.scalar(lambda now: p.alpha * (1 - now.fraction))
        reliable = u <= quantile(u, 1 - alpha)
        self.acted(pseudo=reliable.sum())
        ce = F.cross_entropy(logits_u.float(), label_u, reduction="none")
        pseudo = masked_mean(ce, reliable) / reliable.float().mean().clamp(min=1e-6)
        contrast = self.contrast(self.head(view.features), z_t, p_t, label, len(batch.image), t)
        return {
            "supervised": supervised_loss(logits_l, batch.label),
            "pseudo": p.weight_at(t) * pseudo,
            "contrast": p.weight_contrast * contrast,
        }

    def contrast(
        self, z: Tensor, z_t: Tensor, p_t: Tensor, label: Tensor, labeled: int, t: Progress
    ) -> Tensor:
        """`L_c`, 0-d.

        Args:
            z: (N, D, *G) student's embeddings.
            z_t: (N, D, *G) teacher's.
            p_t: (N, K, *S) teacher's probability.
            label: (N, *S) true and pseudo-labels.
            labeled: number of labelled images, which come first.
            t: position in the run.
        """
        p, k = self.params, self.classes
        alpha = t.scalar(lambda now: p.alpha * (1 - now.fraction))
        p_t, label = (nearest_at(v, z.shape[2:]) for v in (p_t, label))
        u = entropy(p_t)
        low, high = u <= quantile(u[labeled:], alpha), u >= quantile(u[labeled:], 1 - alpha)
        low[:labeled] = True
        given = torch.zeros_like(low)
        given[:labeled] = True
        vectors, keys, prob = (v.movedim(1, 0).flatten(1).T for v in (z, z_t, p_t))
        own = label.flatten() == torch.arange(k, device=label.device)[:, None]
        positive = own & low.flatten()
        anchor = positive & (p.confident < prob.T)
        centre = F.normalize(positive.to(keys.dtype) @ keys, dim=1)
        rank = prob.argsort(1, descending=True).argsort(1).T
        likely = rank < (p.low_rank or k // 2)
        negative = ~own & torch.where(given.flatten(), likely, high.flatten() & ~likely)
        self.memory.write(0, sample_masks(keys, negative, count=p.memory))
        drawn, others = sample_masks(vectors, anchor, count=p.anchors), self.memory.read(0)
        self.acted(contrast=(drawn.valid & others.valid.any(1, keepdim=True)).sum())
        self.observe(anchor_classes=anchor.any(1).sum(), negatives=negative.sum())
        return prototype_loss(drawn, centre, others, temperature=p.temperature)

    def after_step(self, t: Progress) -> None:
        """EMA of network and head, a copy as long as there is supervision alone."""
        first = math.ceil(self.params.start * t.total)
        step = t.scalar(lambda now: max(0, now.step - first))
        for teacher, student in ((self.teacher, self.student), (self.teacher_head, self.head)):
            ema_update(teacher, student, decay=self.params.decay, step=step)


def _view(net: SegNet, image: Tensor) -> Decoded:
    return net.decode(net.encode(image))
