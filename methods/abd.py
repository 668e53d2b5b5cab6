"""ABD, adaptive bidirectional displacement (Chi et al. 2024, arXiv:2405.00378, CVPR).

    x_1 = x, x_2 = strong(x);   z_v network v on x_v;   yhat_v = argmax_k z_v
    c_v, q_v: mean of max_k p_v, and softmax of the mean logits, of each patch;   u the other of v
    ABD-R, unlabelled:  x_v[i] <- x_u[j],   i = argmin c_v,
                        j = argmin KL(q_v[i] || q_u[j]) over the m largest of c_u
    ABD-I, labelled, each image with p = 1/2:  x_v[argmax c_v] <- x_u[argmin c_u],  labels alike
    L = sum_v L_sup(z_v, y) + 2 L_sup(z_v(x_I), y_I)
            + w(t) [Dice(p_v(x_v), yhat_u(x_u)) + Dice(p_v(x_R), yhat_u(x_R))]

A convolutional network sees weak, a transformer strong views, and both the displaced images of both
views: in ABD-R the least certain patch of a view gives way to a certain one of the other view whose
content is most alike, in ABD-I the most certain one to the least certain. Values are those of the
code for ACDC (github.com/chy-upc/ABD at 4efd525, `code/train_ACDC_Cross_Teaching.py`: 81-90,
202-213; `code/utils/displacement.py`): 4 patches an axis, m = 4, w up to 0.1 over the whole run,
the ABD-I term in the first 20,000 of 30,000 steps. As in the code, the second replacement sees the
first view with its patch already replaced. Network 1 is tested, as there. Deviations:
- the suite's strong view, jitter and blur (code: jitter, and Cutout that turns labels into
  background);
- the Swin network starts from random weights (code: ImageNet's);
- 3D, which the paper does not treat, has 4 patches an axis too, so 64.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Batch, Progress
from methods.blocks.families import RampParams, TwoNets
from methods.blocks.losses import dice_loss, softmax32, supervised_loss
from methods.blocks.patches import exchanged, patch_means
from methods.blocks.perturb import strong_view

Pair = tuple[Tensor, Tensor]


class ABDParams(RampParams):
    """Weights, patches, end of the ABD-I term."""

    weight_inverse: float = Field(2.0, ge=0, description="weight of the ABD-I term")
    inverse_until: float = Field(2 / 3, ge=0, le=1, description="share of the run with ABD-I")
    inverse_chance: float = Field(0.5, ge=0, le=1, description="probability of ABD-I, per image")
    patches: int = Field(4, ge=2, description="patches per axis; divides the sides of the images")
    candidates: int = Field(4, ge=1, le=4, description="m, certain patches to choose from")


class ABD(TwoNets[ABDParams]):
    """Two networks that teach each other on images with displaced patches."""

    Params = ABDParams
    title = "ABD"
    paper = "Chi et al. 2024, arXiv:2405.00378"
    second = "swin"

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup`, the ABD-I term, cross teaching on both views and on the ABD-R images."""
        p, strong = self.params, strong_view(batch.images)
        z = self.net_1(batch.images), self.net_2(strong)
        (l_1, u_1), (l_2, u_2) = (batch.split(v) for v in z)
        strong_l, strong_u = batch.split(strong)
        x_r = self.reliable((batch.unlabeled, strong_u), (u_1, u_2))
        terms = {
            "supervised": supervised_loss(l_1, batch.label) + supervised_loss(l_2, batch.label),
            "pseudo": p.weight_at(t) * taught(u_1, u_2),
            "displaced": p.weight_at(t) * taught(self.net_1(x_r), self.net_2(x_r)),
        }
        if t.choice(lambda now: now.fraction <= p.inverse_until):
            x_i, y_i = self.inverse((batch.image, strong_l), batch.label, (l_1, l_2))
            harder = [supervised_loss(net(x_i), y_i) for net in (self.net_1, self.net_2)]
            terms["inverse"] = p.weight_inverse * (harder[0] + harder[1])
        return terms

    def confidence(self, logits: Tensor) -> Tensor:
        """c, mean confidence of every patch, (N, P)."""
        return patch_means(softmax32(logits).amax(1, keepdim=True), self.params.patches)[..., 0]

    @torch.no_grad()
    def reliable(self, views: Pair, logits: Pair) -> Tensor:
        """ABD-R images (2 U, C, *S) of two views (U, C, *S) with logits (U, K, *S)."""
        c = [self.confidence(z) for z in logits]
        log_q = [patch_means(z, self.params.patches).log_softmax(2) for z in logits]
        low = c[0].argmin(1), c[1].argmin(1)
        source = [
            self.most_alike(
                c[v], log_q[v], log_q[1 - v].take_along_dim(low[1 - v][:, None, None], 1)
            )
            for v in (0, 1)
        ]
        self.observe(confidence_gain=_at(c[1], source[1]) - _at(c[0], low[0]))
        return exchanged(*views, to=low, source=(source[0], source[1]), count=self.params.patches)

    def most_alike(self, confidence: Tensor, log_q: Tensor, wanted: Tensor) -> Tensor:
        """Which of the m most certain patches has the least `KL(wanted || q)`, (N,).

        Args:
            confidence: (N, P).
            log_q: (N, P, K), logarithms of probabilities.
            wanted: (N, 1, K), the same of the patch that is replaced.
        """
        best = confidence.topk(self.params.candidates, 1).indices
        divergence = (wanted.exp() * (wanted - log_q)).sum(2).gather(1, best)
        return best.gather(1, divergence.argmin(1, keepdim=True))[:, 0]

    @torch.no_grad()
    def inverse(self, views: Pair, label: Tensor, logits: Pair) -> Pair:
        """ABD-I images (2 L, C, *S) and their labels (2 L, *S)."""
        c = [self.confidence(z) for z in logits]
        moved = torch.rand(len(label), device=label.device) < self.params.inverse_chance
        high = c[0].argmax(1).where(moved, -1), c[1].argmax(1).where(moved, -1)
        low = c[0].argmin(1), c[1].argmin(1)

        def move(first: Tensor, second: Tensor) -> Tensor:
            return exchanged(first, second, to=high, source=low, count=self.params.patches)

        return move(*views), move(label[:, None], label[:, None])[:, 0]


def taught(z_1: Tensor, z_2: Tensor) -> Tensor:
    """Dice losses of two predictions (N, K, *S) against each other's classes, 0-d."""
    return dice_loss(softmax32(z_1), z_2.argmax(1)) + dice_loss(softmax32(z_2), z_1.argmax(1))


def _at(confidence: Tensor, index: Tensor) -> Tensor:
    return confidence.take_along_dim(index[:, None], 1).mean()
