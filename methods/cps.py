"""CPS, cross pseudo supervision (Chen et al. 2021, arXiv:2106.01226).

    L = sum_v [L_sup(z^v, y) + w(t) CE(z^v(x), argmax z^{3-v}(x))]

Deviations: by default the pseudo term acts on unlabelled images with a weight ramped to 0.1, as in
SSL4MIS; preset `paper` takes the published weight 1.5, full from the start, on all images, beside
this suite's L_sup, half of which is Dice (paper: CE). Network 1 is tested, chosen beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Progress
from methods.blocks.families import RampParams, TwoNets
from methods.blocks.losses import supervised_loss


class CPSParams(RampParams):
    """Weight, ramp, and where the pseudo term acts."""

    pseudo_on: Literal["unlabeled", "all"] = Field("unlabeled", description="images it acts on")

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "paper": {"weight": 1.5, "ramp": 1e-9, "pseudo_on": "all"}
    }


class CPS(TwoNets[CPSParams]):
    """Two networks, each trained on the hard predictions of the other."""

    Params = CPSParams
    title = "CPS"
    paper = "Chen et al. 2021, arXiv:2106.01226"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup` of both networks and the pseudo terms."""
        z_1, z_2 = self.net_1(batch.images), self.net_2(batch.images)
        first = 0 if self.params.pseudo_on == "all" else len(batch.image)
        u_1, u_2 = z_1[first:].float(), z_2[first:].float()
        pseudo = F.cross_entropy(u_1, u_2.argmax(1)) + F.cross_entropy(u_2, u_1.argmax(1))
        supervised = [supervised_loss(batch.split(z)[0], batch.label) for z in (z_1, z_2)]
        return {
            "supervised": supervised[0] + supervised[1],
            "pseudo": self.params.weight_at(t) * pseudo,
        }
