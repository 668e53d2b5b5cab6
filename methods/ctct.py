"""CTCT, cross teaching of CNN and transformer (Luo et al. 2022, arXiv:2112.04894).

    L = sum_v [L_sup(z^v, y) + w(t) Dice(p^v(x_u), argmax z^{3-v}(x_u))]

Network 1 is the configured CNN and is tested, network 2 a Swin-UNet. Deviations:
- the transformer starts from random weights, as all networks here do (paper: ImageNet weights), and
  has the CNN's widths and strides; its stem at full resolution and its decoder's stages at full and
  at half resolution are convolutions (code: patches of 4 x 4 pixels, attention alone);
- both take the suite's image size, batch and optimiser (paper: 224 x 224, batch 8 + 8).
"""

from __future__ import annotations

from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.families import RampParams, TwoNets
from methods.blocks.losses import dice_loss, softmax32, supervised_loss


class CTCTParams(RampParams):
    """Weight and ramp."""


class CTCT(TwoNets[CTCTParams]):
    """A CNN and a transformer, each trained on the hard predictions of the other."""

    Params = CTCTParams
    title = "CTCT"
    paper = "Luo et al. 2022, arXiv:2112.04894"
    second = "swin"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of both networks and the pseudo terms."""
        z = [self.net_1(batch.images), self.net_2(batch.images)]
        p_1, p_2 = (softmax32(batch.split(v)[1]) for v in z)
        supervised = [supervised_loss(batch.split(v)[0], batch.label) for v in z]
        pseudo = dice_loss(p_1, p_2.argmax(1)) + dice_loss(p_2, p_1.argmax(1))
        return {
            "supervised": supervised[0] + supervised[1],
            "pseudo": self.params.weight_at(t) * pseudo,
        }
