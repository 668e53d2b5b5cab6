"""AC-MT, ambiguity-consensus Mean Teacher (Xu et al. 2023, doi:10.1016/j.media.2023.102880).

    p = softmax z(x_u),   p' = softmax z'(x_u + n)               z': EMA teacher, n: clipped noise
    a_i = [H_i >= tau(t) ln 2],   tau(t) = tau_0 + (tau_1 - tau_0) r(t / T)
    L   = L_sup(x_l, y) + w(t) sum_i a_i (1/K) sum_k (p_ik - p'_ik)^2 / sum_i a_i

With `uncertainty` the code sums over k, without 1/K.
Consistency on ambiguous pixels a_i alone; r is the ramp of w. The paper's four ways to find them
(`select`; github.com/lemoshu/AC-MT at 62c7702, `code/train_ACMT_{Ent,MU,SErr,PErr}_3D*.py`):
- entropy: H = -sum_k p_k ln p_k of the student;
- uncertainty: H of the mean of T passes of the student with noise and dropout;
- confident_learning: what confident learning calls a wrong label, of argmax p given the teacher;
- prototype: where argmax p is not the class of the nearest of the teacher's prototypes, made from
  what varies little (deviation of sigmoid(z' / 2) below 0.1) over T passes.
Weights are those of the code, which is 3D with two classes and for one data set; none is known in
2D. It raises tau to 0.95, to 0.90 with `uncertainty` (preset `uncertainty`), and names in a comment
a fall to 0.60 (preset `falling`); the paper's text could not be consulted. Deviations:
- K classes: tau in units of ln 2, a tie of two classes, whatever K; ln K would leave out the border
  of two classes where K > 2;
- T passes as one batch of one network, 8 for both ways (code: 10 with `prototype`, by themselves);
  the student's do not move its batch-norm statistics;
- `prototype`: features of the decoder at half of the resolution from the T passes, p' from their
  first; no entropy minimisation elsewhere (code: on all other pixels);
- confident learning on the device, its counts rounded one by one (code: cleanlab, row by row, which
  differs by one pixel at times);
- 0 ln 0 = 0 in place of ln(p + 1e-6); the student is tested, the teacher is logged beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress, tuned
from methods.blocks.adversarial import untracked_statistics
from methods.blocks.ambiguity import label_issues, off_prototype
from methods.blocks.ema import gaussian_noise
from methods.blocks.entropy import entropy
from methods.blocks.families import StudentTeacher, TeacherParams
from methods.blocks.losses import masked_mean, softmax32, supervised_loss
from methods.blocks.ramps import sigmoid_ramp

# `uncertainty_th` of the code, and its temperature.
_STEADY, _TEMPERATURE = 0.1, 2.0
# Index into `Decoded.stages` of the map at half of the resolution.
_HALF = 1


class ACMTParams(TeacherParams):
    """Parameters of Mean Teacher and of the ambiguity."""

    ramp: float = Field(0.75, gt=0, le=1, description="share of the run until the weight is full")
    select: Literal["entropy", "uncertainty", "confident_learning", "prototype"] = Field(
        "entropy", description="how ambiguous pixels are found"
    )
    first: float = Field(
        0.75, ge=0, le=1, description="tau_0, in ln 2", json_schema_extra=tuned(0.1, 0.95)
    )
    last: float = Field(0.95, ge=0, le=1, description="tau_1, in ln 2")
    passes: int = Field(8, ge=2, description="T, of `uncertainty` and `prototype`")

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "uncertainty": {"select": "uncertainty", "last": 0.9},
        "falling": {"last": 0.6},
    }


class ACMT(StudentTeacher[ACMTParams]):
    """Mean Teacher restricted to pixels of which the student is not certain."""

    Params = ACMTParams
    title = "AC-MT"
    paper = "Xu et al. 2023, doi:10.1016/j.media.2023.102880"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` and the consistency of ambiguous pixels."""
        logits_l, logits_u = batch.split(self.student(batch.images))
        p, target = softmax32(logits_u), self.teacher_probability(batch.unlabeled)
        ambiguous = self.ambiguous(p, batch.unlabeled, t)
        squared = (p - target).square()
        squared = squared.sum(1) if self.params.select == "uncertainty" else squared.mean(1)
        self.acted(consistency=ambiguous.sum())
        self.observe(ambiguous_share=ambiguous.float().mean())
        return {
            "supervised": supervised_loss(logits_l, batch.label),
            "consistency": self.params.weight_at(t) * masked_mean(squared, ambiguous),
        }

    @torch.no_grad()
    def ambiguous(self, p: Tensor, image: Tensor, t: Progress) -> Tensor:
        """`a`, (N, *S) bool, of the student's probability (N, K, *S) on images (N, C, *S)."""
        if self.params.select == "confident_learning":
            return label_issues(p.argmax(1), self.target(image))
        if self.params.select == "prototype":
            return self.off_prototype(p.argmax(1), image)
        h = entropy(p if self.params.select == "entropy" else self.mean_pass(image))
        first, last = self.params.first, self.params.last
        return h >= t.scalar(
            lambda now: (first + (last - first) * sigmoid_ramp(now.fraction)) * math.log(2)
        )

    def mean_pass(self, image: Tensor) -> Tensor:
        """Mean probability (N, K, *S) of the student's passes."""
        noisy = gaussian_noise(self.repeated(image), sigma=self.params.noise, clip=self.params.clip)
        with untracked_statistics(self.student):
            p = softmax32(self.student(noisy))
        return torch.stack(p.chunk(self.params.passes)).mean(0)

    def off_prototype(self, label: Tensor, image: Tensor) -> Tensor:
        """Pixels (N, *S) bool whose label is not that of the nearest prototype."""
        view, count = self.teacher.decode(self.teacher.encode(self.repeated(image))), len(image)
        z = torch.stack(view.logits.float().chunk(self.params.passes))
        f = torch.stack(view.stages[_HALF].float().chunk(self.params.passes)).mean(0)
        steady = torch.sigmoid(z / _TEMPERATURE).std(0) < _STEADY
        return off_prototype(label, f, softmax32(view.logits[:count]), steady)

    def repeated(self, image: Tensor) -> Tensor:
        """The images (T N, C, *S), once for every pass."""
        return image.repeat(self.params.passes, *[1] * (self.ndim + 1))
