"""UA-MT, uncertainty-aware Mean Teacher (Yu et al. 2019, arXiv:1907.07034).

    pbar = (1/T) sum_t softmax(z'_t)        T noisy passes of the teacher, dropout active
    u_i  = -sum_k pbar_ik ln pbar_ik
    m_i  = [u_i < (3/4 + r(t)/4) u_max]
    L    = L_sup + w(t) sum_i m_i sum_k (p_ik - p'_ik)^2 / (c sum_i m_i)

`p'` is one further noisy teacher pass. Deviations from the paper:
- `u_max` is ln K and `c` is K by default, which is the paper's rule (binary: ln 2 and 2) carried to
  K classes; with 4 classes the threshold then starts at 1.04 nats, above a tie of two classes
  (0.69), and leaves out little. Preset `ssl4mis` takes ln 2 and 2 for any K, as that code base does
  (`code/train_uncertainty_aware_mean_teacher_2D.py` at 06df604);
- the T passes run as one forward on a repeated batch, so batch statistics are shared by them;
- 0 ln 0 = 0 in place of ln(p + 1e-6); an empty mask gives exactly 0;
- the student is tested, the teacher is logged beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.entropy import entropy
from methods.blocks.families import StudentTeacher, TeacherParams
from methods.blocks.losses import certain_mse, softmax32, supervised_loss
from methods.blocks.ramps import sigmoid_ramp


class UAMTParams(TeacherParams):
    """Parameters of UA-MT: those of Mean Teacher and the uncertainty mask."""

    passes: int = Field(8, ge=1, description="stochastic teacher passes for the uncertainty")
    threshold_base: Literal["lnK", "ln2"] = Field("lnK", description="largest uncertainty")
    norm: Literal["K", "two"] = Field("K", description="divisor of the class sum")

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "ssl4mis": {"threshold_base": "ln2", "norm": "two"}
    }


class UAMT(StudentTeacher[UAMTParams]):
    """Mean Teacher restricted to pixels of which the teacher is certain."""

    Params = UAMTParams
    title = "UA-MT"
    paper = "Yu et al. 2019, arXiv:1907.07034"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` and the masked consistency term."""
        p, k = self.params, self.classes
        logits_l, logits_u = batch.split(self.student(batch.images))
        target = self.teacher_probability(batch.unlabeled)
        passes = self.teacher_probability(batch.unlabeled.repeat(p.passes, *[1] * (self.ndim + 1)))
        u = entropy(torch.stack(passes.chunk(p.passes)).mean(0))
        u_max = math.log(2 if p.threshold_base == "ln2" else k)
        consistency, certain = certain_mse(
            softmax32(logits_u),
            target,
            u,
            threshold=t.scalar(lambda now: (0.75 + 0.25 * sigmoid_ramp(now.fraction)) * u_max),
            norm=2 if p.norm == "two" else k,
        )
        self.acted(consistency=certain * u.numel())
        self.observe(certain_share=certain)
        return {
            "supervised": supervised_loss(logits_l, batch.label),
            "consistency": self.params.weight_at(t) * consistency,
        }
