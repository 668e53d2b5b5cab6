"""Entropy minimisation (Grandvalet and Bengio 2004; dense form: Vu et al. 2019, arXiv:1811.12833).

    L = L_sup(x_l, y) + w(t) mean_i H_i,    H_i = -(1/ln K) sum_k p_ik ln p_ik    on all images

Deviations:
- `w(t)` ramps up over the run, as in SSL4MIS; the paper's weight is constant;
- 0 ln 0 = 0 in place of ln(p + 1e-6), and K is the number of classes, not a constant.
"""

from __future__ import annotations

from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.entropy import normalized_entropy
from methods.blocks.families import OneNet, RampParams
from methods.blocks.losses import softmax32, supervised_loss


class EntropyMinParams(RampParams):
    """Weight and ramp."""


class EntropyMin(OneNet[EntropyMinParams]):
    """Confident predictions everywhere."""

    Params = EntropyMinParams
    title = "Entropy minimisation"
    paper = "Vu et al. 2019, arXiv:1811.12833"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` and the mean entropy."""
        logits = self.student(batch.images)
        return {
            "supervised": supervised_loss(batch.split(logits)[0], batch.label),
            "entropy": self.params.weight_at(t) * normalized_entropy(softmax32(logits)).mean(),
        }
