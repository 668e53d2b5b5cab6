"""SS-Net, smoothness and class separation (Wu et al. 2022, arXiv:2203.01324).

    L_vat = D(p(x + r), sg p(x))        r: direction of largest change by one power step, |r| given
    L_c   = (1/K) sum_{k >= 1} mean_{i, m} a_i b_m (1 - cos(q_i, m))       q_i = q(h(f_i)), i of k
    L     = L_sup(x_l, y) + w(t) [L_vat + 0.1 (L_c on labelled + L_c on unlabelled pixels)]

f are decoder features, h a projection and q a prediction head, m the memory of class k: h(f) of
correctly predicted labelled pixels, those of highest s_k, new in every step that has one. a_i from
s_k(sg q_i) and b_m from s'_k(m) are sigmoids of learned selectors, rescaled to mean 1. There are no
negatives. Since the weights have mean 1, L_c of a class is 1 minus a product of two weighted means.
Weights are those of the code (github.com/ycwu1997/SS-Net at c0a8bf6): 2D w up to 0.1 over the whole
run, |r| 6 for 256 x 256 pixels; 3D w up to 1 over 0.4 of it (40 x 150 of 15,000 steps), |r| 10 for
112 x 112 x 80. Deviations:
- features (code: 16 channels at full resolution) and labels at a quarter of the resolution [stage];
- |r| as a root mean square over the pixels; p(x) from the pass that is trained (code: another one);
- the suite's L_sup, squared Dice as D, memory of highest scores as the paper says, b learned
  (preset `ss_net_code`: Dice alone, in 3D without squares, as is D there; lowest scores; b = 1);
- the suite's network and rate (code: 3D V-Net with dropout; constant, in 3D in steps of 0.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.adversarial import untracked_statistics, virtual_adversarial
from methods.blocks.attraction import ClassAttraction
from methods.blocks.contrast import nearest_at
from methods.blocks.families import OneNet, RampParams
from methods.blocks.losses import dice_loss, soft_dice_loss, softmax32, supervised_loss
from methods.blocks.overlap import foreground_dice_loss, joint_dice_loss
from methods.networks import NetBuilder

# Root mean square of a vector of length 10, the probe, in the images of the code.
_TEN = {2: 10 / 256, 3: 10 / (112 * 112 * 80) ** 0.5}


class SSNetParams(RampParams):
    """Weights, size of the adversarial step, memory."""

    magnitude: float = Field(6 / 256, gt=0, description="adversarial step, RMS in image units")
    weight_contrast: float = Field(0.1, ge=0, description="weight of L_c inside the bracket")
    dim: int = Field(32, ge=2, description="size of the embedding")
    memory: int = Field(32, ge=2, description="vectors per class")
    stage: Literal[0, 1, 2] = Field(
        2, description="decoder map that is embedded, at full, half or a quarter of the resolution"
    )
    literal: bool = Field(False, description="Dice losses and memory of the code")

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"ss_net_code": {"literal": True}}
    by_dimension: ClassVar[Mapping[int, Mapping[str, object]]] = {
        3: {"weight": 1.0, "ramp": 0.4, "magnitude": _TEN[3]}
    }


class SSNet(OneNet[SSNetParams]):
    """Smooth predictions, and features close to their class."""

    Params = SSNetParams
    title = "SS-Net"
    paper = "Wu et al. 2022, arXiv:2203.01324"
    uncaptured = "selectors"

    def setup(self, build_net: NetBuilder) -> None:
        """Network, and the heads, selectors and memory of L_c."""
        super().setup(build_net)
        p = self.params
        self.attraction = ClassAttraction(
            self.student.stage_channels[p.stage],
            classes=self.classes, dim=p.dim, size=p.memory, literal=p.literal,
        )  # fmt: skip

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup`, smoothness and the pull towards the memory."""
        p, view = self.params, self.student.decode(self.student.encode(batch.images))
        features = view.stages[p.stage]
        size = features.shape[2:]
        rows_l, rows_u = (f.movedim(1, -1).flatten(0, -2) for f in batch.split(features))
        own = batch.split(nearest_at(view.logits.argmax(1), size))
        label, predicted, pseudo = (v.flatten() for v in (nearest_at(batch.label, size), *own))
        self.attraction.remember(rows_l, label.where(label == predicted, 0))
        pull = self.attraction.pull(rows_l, label) + self.attraction.pull(rows_u, pseudo)
        self.acted(contrast=self.attraction.pulled(label) + self.attraction.pulled(pseudo))
        w, target = p.weight_at(t), softmax32(view.logits.detach())
        return {
            "supervised": self.supervision(batch.split(view.logits)[0], batch.label),
            "smoothness": w * self.smoothness(batch.images, target),
            "contrast": w * p.weight_contrast * pull,
        }

    def supervision(self, logits: Tensor, label: Tensor) -> Tensor:
        """`L_sup`, 0-d."""
        if not self.params.literal:
            return supervised_loss(logits, label)
        p = softmax32(logits)
        return foreground_dice_loss(p, label) if self.ndim == 3 else dice_loss(p, label)

    def smoothness(self, image: Tensor, target: Tensor) -> Tensor:
        """`L_vat`, 0-d."""
        dice = joint_dice_loss if self.params.literal and self.ndim == 3 else soft_dice_loss

        def distance(x: Tensor) -> Tensor:
            return dice(softmax32(self.student(x)), target)

        with untracked_statistics(self.student):
            size = self.params.magnitude
            r = virtual_adversarial(image, distance, probe=_TEN[self.ndim], magnitude=size)
            return distance(image + r)
