"""ICT, interpolation consistency training (Verma et al. 2019, arXiv:1903.03825).

    x_m = (1 - lam) x_a + lam x_b,    lam ~ Beta(alpha, alpha) per pair
    L   = L_sup(x_l, y) + w(t) mean_ik (p_ik(x_m) - [(1 - lam) p'_ik(x_a) + lam p'_ik(x_b)])^2

`p'` is the EMA teacher without input noise. Deviations:
- pairs are neighbours in the unlabelled batch, so every unlabelled image takes part in two pairs
  (SSL4MIS pairs one half with the other and trains on half as many mixed images);
- squared difference of probabilities averaged over classes too, weight ramped over the whole run.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.families import EMAParams, WithTeacher
from methods.blocks.losses import consistency_mse, softmax32, supervised_loss


class ICTParams(EMAParams):
    """Parameters of the teacher and of the mixing."""

    alpha: float = Field(0.2, gt=0, description="both parameters of the Beta distribution")


def interpolate(value: Tensor, lam: Tensor) -> Tensor:
    """`(1 - lam) v_n + lam v_{n-1}` for every n of the batch axis; lam is (N, 1, ...)."""
    return torch.lerp(value, value.roll(1, 0), lam)


class ICT(WithTeacher[ICTParams]):
    """The prediction at a mixed image is the mix of the teacher's predictions."""

    Params = ICTParams
    title = "ICT"
    paper = "Verma et al. 2019, arXiv:1903.03825"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` and the consistency at mixed images."""
        x_u = batch.unlabeled
        alpha = x_u.new_full((len(x_u), *[1] * (x_u.ndim - 1)), self.params.alpha)
        # Checking the arguments would wait for the device.
        lam = torch.distributions.Beta(alpha, alpha, validate_args=False).sample()
        images = torch.cat([batch.image, interpolate(x_u, lam)])
        logits_l, logits_m = batch.split(self.student(images))
        target = interpolate(self.target(x_u), lam)
        return {
            "supervised": supervised_loss(logits_l, batch.label),
            "consistency": self.params.weight_at(t) * consistency_mse(softmax32(logits_m), target),
        }
