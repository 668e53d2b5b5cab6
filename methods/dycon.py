"""DyCON (Assefa et al. 2025, arXiv:2504.04566): UnCL and FeCL, on pseudo-labels.

    beta(t) = beta_max (beta_min / beta_max)^{t/T}
    L_UnCL  = mean_i [sum_k (p_ik - p'_ik)^2 / (e^{beta H_i} + e^{beta H'_i}) + beta (H_i + H'_i)]
    S_ij    = e^{<z_i, z_j> / tau} / (e^{<z_i, z_j> / tau} + sum_{n in N_i} e^{<z_i, z_n> / tau})
    L_FeCL  = mean_i (1/|P_i|) sum_{j in P_i} (1 - S_ij)^gamma (-ln S_ij)
    L_X     = mean of -ln(1 - <z_i, z'_j>) over i, j in N_i with <z_i, z'_j> > c(t)
    L       = 2 L_sup(x_l, y) + w(t) mean_ik (p_ik - p'_ik)^2 + lam (L_UnCL + L_FeCL + L_X)

p' and z' are the EMA teacher's on noisy images, H entropies in nats; L_UnCL is over all images, the
others over unlabelled ones. z are unit embeddings of the patches of one image, P_i those of the
class of i, N_i those of other classes. Values and equations are those of the code
(github.com/KU-CVML/DyCON at 69c1384, `code/utils/dycon_losses.py`, `code/train_DyCON_BraTS19.py`),
which is 3D with two classes; none are known in 2D.

The published code takes the class of a patch of an UNLABELLED image from its TRUE label (lines
226-251 of the latter; the authors' answer in issue 1). Here it is the teacher's prediction;
`dycon_oracle` is the published variant. Other deviations:
- no maxima of columns are subtracted from the similarities (there, so that S_ij is no ratio of one
  softmax); focal weights of negatives, which there multiply 0, and the paper's top-k negatives and
  entropy weights, which are switched off there, are left out;
- w over p and p' (there: softmax of both once more), ramp over the whole run (there: 30,000 steps
  of which 20,000 are made); c's ramp 0.45 of it (there: 1,500 epochs of 6 steps of 20,000);
- -ln(1 - s) up to s = 1 - 1e-6; 0 ln 0 = 0 in place of ln(p + 1e-6);
- patch labels are read at the nearest pixel (there: interpolated trilinearly and cut at 0.5);
- the projection has the encoder's width inside (there: 512) and no batch norm at its end;
- the suite's L_sup, twice, and its rate (there: CE and Dice of the foreground, constant rate,
  gradients cut to norm 1); the student is tested, the teacher is logged beside it.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from methods.base import Batch, Progress, Scalar, tuned
from methods.blocks.contrast import nearest_at
from methods.blocks.ema import copy_weights, ema_update, gaussian_noise, step_of
from methods.blocks.entropy import entropy
from methods.blocks.families import StudentTeacher, TeacherParams
from methods.blocks.heads import ProjectionHead
from methods.blocks.losses import consistency_mse, masked_mean, softmax32, supervised_loss
from methods.blocks.ramps import sigmoid_ramp
from methods.blocks.resize import resize_linear
from methods.networks import NetBuilder, SegNet

# c(t): first and last value, share of the run until it is reached.
_FIRST, _LAST, _LENGTH = 0.3, 0.5, 0.45
# Stands for a missing negative in a log-sum-exp; least value of 1 - s.
_NEVER, _CLOSE = -1e4, 1e-6


class DyCONParams(TeacherParams):
    """Weights, uncertainty and contrast; `weight` is that of the plain consistency."""

    weight_dycon: float = Field(
        0.5,
        ge=0,
        description="lam, weight of UnCL and FeCL",
        json_schema_extra=tuned(0.01, 1.0, log=True),
    )
    beta_max: float = Field(5.0, gt=0, description="first beta")
    beta_min: float = Field(0.5, gt=0, description="last beta")
    gamma: float = Field(2.0, ge=0, description="focus on hard positives")
    temperature: float = Field(0.6, gt=0, description="tau of the contrast")
    dim: int = Field(256, ge=2, description="size of the embedding")


def uncertain_consistency(p: Tensor, target: Tensor, beta: Scalar) -> Tensor:
    """`L_UnCL`, 0-d, of two probabilities (N, K, *S)."""
    h, h_t = entropy(p), entropy(target)
    squared = (p - target).square().sum(1)
    return (squared / ((beta * h).exp() + (beta * h_t).exp()) + beta * (h + h_t)).mean()


def focal_contrast(
    z: Tensor, label: Tensor, *, temperature: float, gamma: float
) -> tuple[Tensor, Tensor]:
    """`L_FeCL`, 0-d, and the number of patches that have a positive and a negative.

    Args:
        z: (N, P, D) unit vectors of the P patches of every image.
        label: (N, P) int64.
        temperature: tau.
        gamma: 0 for plain InfoNCE.
    """
    same = label[:, :, None] == label[:, None]
    positive = same & ~torch.eye(label.shape[1], dtype=torch.bool, device=label.device)
    s = z @ z.mT / temperature
    nll = F.softplus(s.masked_fill(same, _NEVER).logsumexp(2, keepdim=True) - s)
    focused = (1 - (-nll).exp()).pow(gamma) * nll * positive
    loss = (focused.sum(2) / positive.sum(2).clamp(min=1)).mean()
    return loss, (positive.any(2) & ~same.all(2)).sum()


def least_at(t: Progress) -> float:
    """`c(t)`."""
    return _FIRST + (_LAST - _FIRST) * sigmoid_ramp(t.fraction, _LENGTH)


def cross_contrast(
    z: Tensor, other: Tensor, label: Tensor, *, least: Scalar
) -> tuple[Tensor, Tensor]:
    """`L_X`, 0-d, and its number of pairs.

    Args:
        z: (N, P, D) unit vectors of the student.
        other: (N, P, D) of the teacher.
        label: (N, P) int64.
        least: c, similarity above which a pair counts.
    """
    s = z @ other.mT
    hard = (label[:, :, None] != label[:, None]) & (s > least)
    return masked_mean(-(1 - s).clamp(min=_CLOSE).log(), hard), hard.sum()


class DyCON(StudentTeacher[DyCONParams]):
    """Consistency that certainty weighs, and contrast that hard positives lead."""

    Params = DyCONParams
    title = "DyCON"
    paper = "Assefa et al. 2025, arXiv:2504.04566"
    footnote = "DyCON: its contrast on pseudo-labels; the published code reads true labels."

    def setup(self, build_net: NetBuilder) -> None:
        """Student and teacher with projections of the encoder's coarsest map."""
        super().setup(build_net)
        channels, dim = self.student.level_channels[-1], self.params.dim
        self.head = ProjectionHead(channels, dim, ndim=self.ndim)
        self.teacher_head = ProjectionHead(channels, dim, ndim=self.ndim).requires_grad_(False)
        copy_weights(self.teacher_head, self.head)

    def losses(self, batch: Batch, t: Progress) -> dict[str, Tensor]:
        """`L_sup`, both forms of consistency, and both contrasts."""
        par, (z, logits) = self.params, self.seen(self.student, self.head, batch.images)
        with torch.no_grad():
            noisy = gaussian_noise(batch.images, sigma=par.noise, clip=par.clip)
            z_t, logits_t = self.seen(self.teacher, self.teacher_head, noisy)
        p, target = softmax32(logits), softmax32(logits_t)
        target_u = batch.split(target)[1]
        label = nearest_at(self.classes_of(batch, target_u), z.shape[2:]).flatten(1)
        z_u, zt_u = (batch.split(v)[1].flatten(2).mT for v in (z, z_t))
        with torch.autocast(z.device.type, enabled=False):
            focal, used = focal_contrast(z_u, label, temperature=par.temperature, gamma=par.gamma)
            cross, hard = cross_contrast(
                z_u,
                zt_u,
                label,
                least=t.scalar(least_at),
            )
        self.acted(contrast=used, cross=hard)
        fall = par.beta_min / par.beta_max
        beta = t.scalar(lambda now: par.beta_max * fall**now.fraction)
        plain = consistency_mse(batch.split(p)[1], target_u)
        return {
            "supervised": 2 * supervised_loss(batch.split(logits)[0], batch.label),
            "consistency": par.weight_at(t) * plain,
            "uncertainty": par.weight_dycon * uncertain_consistency(p, target, beta),
            "contrast": par.weight_dycon * focal,
            "cross": par.weight_dycon * cross,
        }

    def classes_of(self, batch: Batch, target: Tensor) -> Tensor:
        """Classes (U, *S) that the contrasts go by: the teacher's, of probabilities (U, K, *S)."""
        del batch
        return target.argmax(1)

    @staticmethod
    def seen(net: SegNet, head: ProjectionHead, image: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (N, D, *G) of the patches of images (N, C, *S), and logits (N, K, *S)."""
        levels = net.encode(image)
        double = [2 * voxels for voxels in levels[-1].shape[2:]]
        coarse = resize_linear(levels[-1], double, align_corners=True)
        return head(coarse), net.decode(levels).logits

    def after_step(self, t: Progress) -> None:
        """EMA of network and projection."""
        super().after_step(t)
        step = t.scalar(step_of)
        ema_update(self.teacher_head, self.head, decay=self.params.decay, step=step)
