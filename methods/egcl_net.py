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

`L(anchors; positives, negatives)` is `contrasted`: an anchor without a positive or a negative does
not count, and a term without anchors is 0, which `inert_<term>` tells. The consistency term is not
masked by entropy, so that only the contrastive term treats high-entropy pixels. Embeddings come
from decoder A at a quarter of the resolution, or finer where an image is small; labels and H are
read at the same grid points. Decoder A is tested.

Names in brackets are parameters with other readings of the abstract, `split: mean` among them. The
other readings and the controls of the ablation are in `blocks/groups.py` and `blocks/controls.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress, tuned
from methods.blocks.averages import Averaged, AverageParams, WithAverage
from methods.blocks.contrast import Pairs, contrasted
from methods.blocks.contrast_facts import embedding_facts, term_facts
from methods.blocks.controls import ControlParams, control_pairs, entropy_term
from methods.blocks.embedding import EmbeddingParams, GroupEmbedding
from methods.blocks.groups import assign_groups
from methods.blocks.losses import supervised_loss
from methods.blocks.ramps import sigmoid_ramp
from methods.networks import NetBuilder


class EGCLParams(AverageParams, ControlParams, EmbeddingParams):
    """Parameters of EGCL-Net: of average, groups and embedding, shares and controls, and these."""

    tau_c: float = Field(
        0.1,
        gt=0,
        description="contrastive temperature",
        json_schema_extra=tuned(0.05, 0.5, log=True),
    )
    lam_con: float = Field(
        0.1,
        ge=0,
        description="largest contrastive weight; 0: no contrast",
        json_schema_extra=tuned(0.01, 1.0, log=True),
    )
    start: float = Field(1 / 30, ge=0, lt=1, description="share of the run before contrast")
    weight: float = Field(0.1, ge=0, description="largest consistency weight")


class EGCLNet(WithAverage[EGCLParams]):
    """Two decoders whose averaged prediction splits the pixels that are contrasted."""

    Params = EGCLParams
    title = "EGCL-Net (reconstructed)"
    paper = "Xie, Wu and Zhu 2024, doi:10.1049/ipr2.12950"
    footnote = "EGCL-Net: reconstructed from the abstract, full text not consulted."
    stages: ClassVar[Mapping[str, str]] = {
        f"contrast_{name}": "start" for name in ("low", "high", "cross")
    }

    def setup(self, build_net: NetBuilder) -> None:
        """Averaging network, projection and memory."""
        super().setup(build_net)
        self.embedding = GroupEmbedding(
            self.net.student, self.params, classes=self.classes, ndim=self.ndim
        )

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of the trained heads, consistency, and the contrastive terms."""
        p, out = self.params, self.net(batch)
        ramp = t.scalar(lambda now: sigmoid_ramp(now.fraction))
        supervised = [supervised_loss(batch.split(z)[0], batch.label) for z in out.trained]
        terms = {
            "supervised": torch.stack(supervised).mean(),
            "consistency": p.weight * ramp * out.consistency,
            **entropy_term(p, out.view.logits, t),
        }
        if p.lam_con > 0 and t.choice(lambda now: now.fraction >= p.start):
            contrast = self.contrast(out, batch, t)
            terms |= {f"contrast_{k}": p.lam_con * ramp * v for k, v in contrast.items()}
        return terms

    def contrast(self, out: Averaged, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """The terms of `L_con`, each times its share.

        Args:
            out: predictions on all images.
            batch: gives the labels of the labelled images.
            t: position in the run.
        """
        p, grid = self.params, self.embedding.grid(out.view)
        groups = assign_groups(out.mean, batch.label, grid, p, t)
        low, high = self.embedding(out.view, groups)
        sure = low.keys.detach()
        pairs = {
            "low": Pairs(low.anchors, low.keys, low.keys, skip_self=True),
            "high": Pairs(high.anchors, high.keys, high.keys, skip_self=True),
            "cross": Pairs(high.anchors, sure, sure),
            **control_pairs(p, low, high),
        }
        terms: dict[str, Tensor] = {}
        if self.observing:
            self.observe(**groups.facts(), **embedding_facts(low, high))
        for name, share in (("low", p.w_low), ("high", p.w_high), ("cross", p.w_cross)):
            if share > 0:
                term = contrasted(pairs[name], temperature=p.tau_c)
                terms[name] = share * term.loss
                self.acted(**{f"contrast_{name}": term.anchors})
                if self.observing:
                    self.observe(**term_facts(name, term))
        return terms
