"""Mean Teacher (Tarvainen and Valpola 2017, arXiv:1703.01780), as used for segmentation by SSL4MIS.

    L = L_sup(x_l, y) + w(t) mean_ik (p_ik(x_u) - p'_ik(x_u + n))^2,    theta' = EMA(theta)

Deviations from the paper:
- consistency on the unlabelled images only (paper: on all), noise on the teacher's input only;
- probability MSE averaged over classes too, so the weight is per class and pixel;
- the ramp spans the whole run by default (`ramp`), the paper's a fixed number of steps;
- the student is tested, the teacher is logged beside it, with running statistics that have seen
  noisy images only, as in SSL4MIS; it teaches with those of the batch.
"""

from __future__ import annotations

from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.families import StudentTeacher, TeacherParams
from methods.blocks.losses import consistency_mse, softmax32, supervised_loss


class MeanTeacherParams(TeacherParams):
    """Parameters of Mean Teacher."""


class MeanTeacher(StudentTeacher[MeanTeacherParams]):
    """Student and EMA teacher that agree under input noise."""

    Params = MeanTeacherParams
    title = "Mean Teacher"
    paper = "Tarvainen and Valpola 2017, arXiv:1703.01780"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` and the consistency term."""
        logits_l, logits_u = batch.split(self.student(batch.images))
        target = self.teacher_probability(batch.unlabeled)
        return {
            "supervised": supervised_loss(logits_l, batch.label),
            "consistency": self.params.weight_at(t) * consistency_mse(softmax32(logits_u), target),
        }
