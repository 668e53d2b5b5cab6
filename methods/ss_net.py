"""SS-Net, smoothness and class separation (Wu et al. 2022, arXiv:2203.01324).

    L_vat = Dice(p(x + r), sg p(x))         r: direction of largest change, by one power step
    L_c   = mean_k mean_{i, m} w_i w_m (1 - cos(q(z_i), k_m))      class k >= 1, mean w = 1
    L     = L_sup(x_l, y) + w(t) [L_vat + 0.1 (L_c on labelled + L_c on unlabelled pixels)]

z is a projection of decoder features, q a prediction head, k_m the memory of correctly predicted
labelled pixels, w learned selectors. There are no negatives. Since the weights are normalised, L_c
of a class is 1 minus the product of two weighted means. Deviations:
- features and labels at a quarter of the resolution;
- the memory keeps the pixels of highest score, as the paper says (code: of lowest);
- the size of r is a root mean square, 6 / 256, which is the code's norm 6 on 256 x 256 images;
- L_sup with cross-entropy (code: Dice alone).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from methods.base import Batch, Progress
from methods.blocks.adversarial import untracked_statistics, virtual_adversarial
from methods.blocks.contrast import Memory, Samples, nearest_at
from methods.blocks.families import OneNet, RampParams
from methods.blocks.heads import ProjectionHead
from methods.blocks.losses import soft_dice_loss, softmax32, supervised_loss
from methods.networks import NetBuilder

_PROBE = 10 / 256


class SSNetParams(RampParams):
    """Weights, size of the adversarial step, memory."""

    magnitude: float = Field(6 / 256, gt=0, description="adversarial step, RMS in image units")
    weight_contrast: float = Field(0.1, ge=0, description="weight of L_c inside the bracket")
    dim: int = Field(64, ge=2, description="size of the embedding")
    memory: int = Field(32, ge=1, description="vectors per class")


class SSNet(OneNet[SSNetParams]):
    """Smooth predictions, and features close to their class."""

    Params = SSNetParams
    title = "SS-Net"
    paper = "Wu et al. 2022, arXiv:2203.01324"

    def setup(self, build_net: NetBuilder) -> None:
        """Network, projection, prediction head, one selector per class for pixels and memory."""
        super().setup(build_net)
        d = self.params.dim
        self.head = ProjectionHead(self.student.feature_channels, d, ndim=self.ndim)
        self.prediction = nn.Sequential(nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d))
        self.select_pixel, self.select_memory = (nn.Linear(d, self.classes) for _ in range(2))
        self.memory = Memory(groups=1, classes=self.classes, size=self.params.memory, dim=d)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup`, smoothness and the pull towards the memory."""
        p, view = self.params, self.student.decode(self.student.encode(batch.images))
        z = self.head(view.features)
        label, predicted = (
            nearest_at(v, z.shape[2:])
            for v in (torch.cat([batch.label, batch.split(view.logits)[1].argmax(1)]),
                      view.logits.argmax(1))
        )  # fmt: skip
        labeled = torch.zeros_like(label, dtype=torch.bool)
        labeled[: len(batch.image)] = True
        vectors = z.movedim(1, -1).flatten(0, -2)
        flat = [v.flatten() for v in (label, labeled, labeled & (label == predicted))]
        self.remember(vectors.detach(), flat[0], flat[2])
        pull = self.pull(vectors, flat[0], flat[1]) + self.pull(vectors, flat[0], ~flat[1])
        w = p.weight_at(t)
        return {
            "supervised": supervised_loss(batch.split(view.logits)[0], batch.label),
            "smoothness": w * self.smoothness(batch.images, softmax32(view.logits.detach())),
            "contrast": w * p.weight_contrast * pull,
        }

    def smoothness(self, image: Tensor, target: Tensor) -> Tensor:
        """`L_vat`, 0-d."""
        with untracked_statistics(self.student):

            def distance(x: Tensor) -> Tensor:
                return soft_dice_loss(softmax32(self.student(x)), target)

            r = virtual_adversarial(image, distance, probe=_PROBE, magnitude=self.params.magnitude)
            return distance(image + r)

    @torch.no_grad()
    def remember(self, vectors: Tensor, label: Tensor, correct: Tensor) -> None:
        """Store the correct pixels of highest score of every foreground class."""
        classes = torch.arange(self.classes, device=label.device)[:, None]
        of_class = (label == classes) & correct & (classes > 0)
        score = self.select_memory(vectors).sigmoid().T.masked_fill(~of_class, -1)
        best, index = score.topk(min(self.params.memory, len(label)), dim=1)
        self.memory.write(0, Samples(vectors[index], best >= 0))

    def pull(self, vectors: Tensor, label: Tensor, member: Tensor) -> Tensor:
        """`L_c` over the member pixels, averaged over the classes that have pixels and memory."""
        keys = self.memory.read(0)
        classes = torch.arange(self.classes, device=label.device)[:, None]
        pixels = ((label == classes) & member & (classes > 0)).float()
        w_i = self.select_pixel(vectors).float().sigmoid().T * pixels
        scores = self.select_memory(keys.vectors).float().sigmoid()
        w_m = torch.einsum("cmc->cm", scores) * keys.valid
        q = F.normalize(self.prediction(vectors).float(), dim=1)
        mean_i = F.normalize(w_i, p=1, dim=1) @ q
        mean_m = (F.normalize(w_m, p=1, dim=1)[..., None] * keys.vectors).sum(1)
        present = pixels.any(1) & keys.valid.any(1)
        distance = (1 - (mean_i * mean_m).sum(1)).clamp(min=0)
        return (distance * present).sum() / present.sum().clamp(min=1)
