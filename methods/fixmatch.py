"""FixMatch (Sohn et al. 2020, arXiv:2001.07685) for segmentation.

    yhat_i = argmax_k p_ik^w,    m_i = [max_k p_ik^w >= theta]        p^w = sg p(weak view)
    L = L_sup(x_l, y) + lam (1/|Omega|) sum_i m_i CE(z_i^s, yhat_i)   z^s = z(strong view)

The strong view keeps the weak view's geometry: intensity jitter, blur and CutMix. Pixels below the
threshold are ignored. Deviations:
- this suite's L_sup, half of which is Dice (paper: CE), with the published lam;
- strong augmentation for grey-scale images in place of RandAugment and Cutout;
- the weak views, without gradient, are a batch of their own in batch norm;
- the trained network is tested (paper: its EMA);
- each image is mixed with probability `cutmix`, with the next image of the batch;
- not the `FixMatch` of SSL4MIS, where pixels below the threshold become background.

`filter: entropy` (preset `nnfiltermatch`) is the rule of nnFilterMatch (Yang 2025,
arXiv:2509.19746), which leaves out what the network is sure of: there is no threshold, and all
pixels of an image count unless its H_n = sum_i H(p_ni^w) is among the least 1 - 0.85^r after the
r-th third of the run, before which there are `start` steps on labels alone. Its code
(github.com/Ordi117/nnFilterMatch at 382b01d, `nnUNetTrainer_nnfiltermatch.py:1095,1600,1652`) takes
15 % of the unlabelled cases out of the pool after 100 and 200 of 300 epochs. Deviations: images of
a batch in place of whole cases, again in every step, against the last `recent` images in place of
the pool; the strong view above (code: quarter turns and flips, one loss of labels and
pseudo-labels); the paper's text was not consulted beyond its abstract.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, MethodParams, Progress, tuned
from methods.blocks.entropy import entropy
from methods.blocks.families import OneNet
from methods.blocks.losses import softmax32, supervised_loss
from methods.blocks.pseudo import masked_cross_entropy, pseudo_label
from methods.blocks.recent import Recent
from methods.blocks.strong import strong_cutmix
from methods.networks import NetBuilder

# nnFilterMatch: share that stays in every round, and rounds of a run; the first leaves out nothing.
_STAYS, _ROUNDS = 0.85, 3


class FixMatchParams(MethodParams):
    """Weight, threshold and CutMix."""

    weight: float = Field(
        1.0,
        ge=0,
        description="weight of the pseudo term",
        json_schema_extra=tuned(0.1, 10.0, log=True),
    )
    threshold: float = Field(0.95, ge=0, lt=1, description="least confidence of a pseudo-label")
    cutmix: float = Field(0.5, ge=0, le=1, description="probability of CutMix")
    filter: Literal["confidence", "entropy"] = Field(
        "confidence", description="what counts: confident pixels, or images of much entropy"
    )
    start: float = Field(0.0, ge=0, lt=1, description="share of the run on labels alone")
    recent: int = Field(256, ge=2, description="images that `filter: entropy` compares with")

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "nnfiltermatch": {"filter": "entropy", "start": 20 / 300, "cutmix": 0.0}
    }


class FixMatch(OneNet[FixMatchParams]):
    """Confident predictions on weak views are the labels of strong views."""

    Params = FixMatchParams
    title = "FixMatch"
    paper = "Sohn et al. 2020, arXiv:2001.07685"
    stages: ClassVar[Mapping[str, str]] = {"pseudo": "start"}

    def setup(self, build_net: NetBuilder) -> None:
        """Network, and the entropies of recent images where they are compared."""
        super().setup(build_net)
        if self.params.filter == "entropy":
            self.recent = Recent(self.params.recent)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` and the masked pseudo term."""
        p = self.params
        if t.choice(lambda now: now.fraction < p.start):
            return {"supervised": supervised_loss(self.student(batch.image), batch.label)}
        with torch.no_grad():
            keep, label = self.trusted(softmax32(self.student(batch.unlabeled)), t)
        strong, label, keep = strong_cutmix(batch.unlabeled, label, keep, probability=p.cutmix)
        logits_l, logits_s = batch.split(self.student(torch.cat([batch.image, strong])))
        self.acted(pseudo=keep.sum())
        self.observe(confident_share=keep.float().mean())
        return {
            "supervised": supervised_loss(logits_l, batch.label),
            "pseudo": p.weight * masked_cross_entropy(logits_s, label, keep),
        }

    def trusted(self, probability: Tensor, t: Progress) -> tuple[Tensor, Tensor]:
        """Pixels that count, (N, *S) bool, and their pseudo-labels, of (N, K, *S)."""
        label, confidence = pseudo_label(probability)
        if self.params.filter == "confidence":
            return confidence >= self.params.threshold, label
        h = entropy(probability).flatten(1).sum(1)
        self.recent.write(h)
        finished = t.choice(lambda now: int(_ROUNDS * now.fraction))
        least = self.recent.quantile(1 - _STAYS**finished)
        return (h >= least).view(-1, *[1] * self.ndim).expand_as(label), label
