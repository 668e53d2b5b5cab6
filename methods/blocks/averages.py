"""Networks that predict a pixel several times; the predictions are averaged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from methods.base import Batch, Method, MethodParams, Progress
from methods.blocks.decoders import coarse_scales, other_decoders
from methods.blocks.ema import copy_weights, ema_update, gaussian_noise, step_of
from methods.blocks.losses import consistency_mse, softmax32
from methods.blocks.scales import ScaleHeads
from methods.networks import Decoded, NetBuilder, SegNet

AverageKind = Literal["dual_decoder", "student_teacher", "mc_passes", "multi_scale"]

# Mean Teacher's noise and decay in SSL4MIS.
_NOISE, _CLIP, _DECAY = 0.1, 0.2, 0.99


@dataclass(frozen=True)
class Averaged:
    """Predictions of one step on all images of a batch, labelled first.

    Attributes:
        trained: logits (L + U, K, *S) of every head that learns from labels.
        mean: (L + U, K, *S) float32, the averaged probability, without gradient.
        consistency: 0-d, mean squared disagreement on the unlabelled images.
        levels: maps of the encoder, finest first.
        view: output of the tested decoder.
    """

    trained: list[Tensor]
    mean: Tensor
    consistency: Tensor
    levels: list[Tensor]
    view: Decoded


class Averager(nn.Module, ABC):
    """A network with several predictions per pixel.

    Attributes:
        student: the tested network.
    """

    student: SegNet

    @abstractmethod
    def forward(self, batch: Batch) -> Averaged:
        """Predictions of one step."""

    def after_step(self, t: Progress) -> None:
        """Update what no gradient trains."""

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """Networks that are logged beside the tested one."""
        return {}


class DualDecoder(Averager):
    """One encoder, two decoders with different up-sampling."""

    def __init__(self, build_net: NetBuilder) -> None:
        super().__init__()
        self.student = build_net(decoders=2)

    def forward(self, batch: Batch) -> Averaged:
        """`mean` is that of both decoders; `consistency` their squared difference."""
        levels = self.student.encode(batch.images)
        a, b = (self.student.decode(levels, index) for index in (0, 1))
        p_a, p_b = softmax32(a.logits), softmax32(b.logits)
        mean = (p_a.detach() + p_b.detach()) / 2
        consistency = consistency_mse(batch.split(p_a)[1], batch.split(p_b)[1])
        return Averaged([a.logits, b.logits], mean, consistency, levels, a)

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The other decoder."""
        return other_decoders(self.student)


class TeacherAverage(Averager):
    """A student and its EMA teacher, whose batch norm uses running statistics."""

    def __init__(self, build_net: NetBuilder) -> None:
        super().__init__()
        self.student = build_net()
        self.teacher = build_net().requires_grad_(False)
        copy_weights(self.teacher, self.student)

    def forward(self, batch: Batch) -> Averaged:
        """`mean` is that of student and teacher; `consistency` that of Mean Teacher."""
        levels = self.student.encode(batch.images)
        view = self.student.decode(levels)
        p, target = softmax32(view.logits), self.target(batch.images)
        consistency = consistency_mse(batch.split(p)[1], batch.split(target)[1])
        return Averaged([view.logits], self.mean(p.detach(), target), consistency, levels, view)

    def mean(self, p: Tensor, target: Tensor) -> Tensor:
        """Average of the student's and the teacher's probability, (N, K, *S)."""
        return (p + target) / 2

    @torch.no_grad()
    def target(self, image: Tensor) -> Tensor:
        """The teacher's probability on noisy images."""
        self.teacher.eval()
        return softmax32(self.teacher(gaussian_noise(image, sigma=_NOISE, clip=_CLIP)))

    def after_step(self, t: Progress) -> None:
        """EMA of the weights; running statistics are copied."""
        ema_update(self.teacher, self.student, decay=_DECAY, step=t.scalar(step_of))
        for own, new in zip(self.teacher.buffers(), self.student.buffers(), strict=True):
            own.copy_(new)

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The teacher."""
        return {"teacher": self.teacher}


class McPasses(TeacherAverage):
    """An EMA teacher that is run several times with dropout and noise.

    Args:
        build_net: makes the networks.
        passes: stochastic passes.
    """

    def __init__(self, build_net: NetBuilder, passes: int) -> None:
        super().__init__(build_net)
        self.passes = passes

    def mean(self, p: Tensor, target: Tensor) -> Tensor:  # noqa: ARG002
        """The teacher's average alone."""
        return target

    @torch.no_grad()
    def target(self, image: Tensor) -> Tensor:
        """Mean of the passes, run as one batch; the teacher is in train mode."""
        self.teacher.train()
        repeated = image.repeat(self.passes, *[1] * (image.ndim - 1))
        noisy = gaussian_noise(repeated, sigma=_NOISE, clip=_CLIP)
        return torch.stack(softmax32(self.teacher(noisy)).chunk(self.passes)).mean(0)


class MultiScale(Averager):
    """One decoder with a head on every stage, as in URPC; coarse logits are repeated."""

    def __init__(self, build_net: NetBuilder, classes: int, ndim: int) -> None:
        super().__init__()
        self.student = build_net()
        self.heads = ScaleHeads(self.student, classes, ndim)

    def forward(self, batch: Batch) -> Averaged:
        """`mean` is that of the scales; `consistency` their squared distance from it."""
        levels = self.student.encode(batch.images)
        view = self.student.decode(levels)
        trained = self.heads(view)
        p = torch.stack([softmax32(z) for z in trained])
        mean = p.mean(0).detach()
        unlabeled = p[:, len(batch.image) :]
        target = batch.split(mean)[1].expand_as(unlabeled)
        return Averaged(trained, mean, consistency_mse(unlabeled, target), levels, view)

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The coarse scales."""
        return coarse_scales(self.student, self.heads)


def averager(
    kind: AverageKind, build_net: NetBuilder, *, passes: int, classes: int, ndim: int
) -> Averager:
    """The averaging network of a kind.

    Args:
        kind: what is averaged.
        build_net: makes the networks; the tested one is built first.
        passes: of `mc_passes`.
        classes: K.
        ndim: 2 or 3.
    """
    if kind == "dual_decoder":
        return DualDecoder(build_net)
    if kind == "multi_scale":
        return MultiScale(build_net, classes, ndim)
    return TeacherAverage(build_net) if kind == "student_teacher" else McPasses(build_net, passes)


class AverageParams(MethodParams):
    """Which predictions are averaged."""

    avg: AverageKind = Field("dual_decoder", description="which predictions are averaged")
    passes: int = Field(8, ge=1, description="teacher passes of avg: mc_passes")


A = TypeVar("A", bound=AverageParams)


class WithAverage(Method[A]):
    """A network that predicts every pixel several times. Its student is tested."""

    def setup(self, build_net: NetBuilder) -> None:
        """The averaging network; the tested one is built first."""
        p, k = self.params, self.classes
        self.net = averager(p.avg, build_net, passes=p.passes, classes=k, ndim=self.ndim)

    def predict(self, image: Tensor) -> Tensor:
        """Logits of the student."""
        logits: Tensor = self.net.student(image)
        return logits

    def after_step(self, t: Progress) -> None:
        """EMA of a teacher, where there is one."""
        self.net.after_step(t)

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """Teacher, other decoder or coarse scales."""
        return self.net.companions()
