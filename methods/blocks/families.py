"""Network arrangements that several methods share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, TypeVar

import torch
from pydantic import Field
from torch import Tensor

from methods.base import Method, MethodParams, Progress, Scalar, tuned
from methods.blocks.ema import copy_weights, ema_update, gaussian_noise, step_of
from methods.blocks.losses import softmax32
from methods.blocks.ramps import sigmoid_ramp
from methods.networks import Architecture, NetBuilder

P = TypeVar("P", bound=MethodParams)


class OneNet(Method[P]):
    """A single network, which is tested."""

    def setup(self, build_net: NetBuilder) -> None:
        """One network."""
        self.student = build_net()

    def predict(self, image: Tensor) -> Tensor:
        """Logits of the network."""
        logits: Tensor = self.student(image)
        return logits


class RampParams(MethodParams):
    """Parameters of methods with one unlabelled term and a ramped weight."""

    weight: float = Field(
        0.1,
        ge=0,
        description="largest weight of the unlabelled term",
        json_schema_extra=tuned(0.01, 10.0, log=True),
    )
    ramp: float = Field(1.0, gt=0, le=1, description="share of the run until the weight is full")

    def weight_at(self, t: Progress) -> Scalar:
        """`w(t)`, the ramped weight."""
        return t.scalar(lambda now: self.weight * sigmoid_ramp(now.fraction, self.ramp))


class TwoNets(Method[P]):
    """Two networks from different starts. The first is tested, whichever is better.

    Attributes:
        second: architecture of the second network.
    """

    second: ClassVar[Architecture] = "configured"

    def setup(self, build_net: NetBuilder) -> None:
        """Both networks."""
        self.net_1 = build_net()
        self.net_2 = build_net(architecture=self.second)

    def predict(self, image: Tensor) -> Tensor:
        """Logits of network 1."""
        logits: Tensor = self.net_1(image)
        return logits

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """Network 2."""
        return {"net_2": self.net_2}


class EMAParams(RampParams):
    """Parameters of methods with an EMA teacher and a ramped weight."""

    decay: float = Field(0.99, ge=0, lt=1, description="EMA decay of the teacher")


E = TypeVar("E", bound=EMAParams)


class WithTeacher(OneNet[E]):
    """A student and its EMA teacher. The student is tested, the teacher is logged beside it.

    The teacher stays in train mode (batch statistics, dropout), as in SSL4MIS.
    """

    def setup(self, build_net: NetBuilder) -> None:
        """Student and teacher; the teacher takes no gradient."""
        super().setup(build_net)
        self.teacher = build_net().requires_grad_(False)
        copy_weights(self.teacher, self.student)

    @torch.no_grad()
    def target(self, image: Tensor) -> Tensor:
        """Teacher's probability (N, K, *S) float32."""
        return softmax32(self.teacher(image))

    def after_step(self, t: Progress) -> None:
        """EMA of the weights."""
        ema_update(self.teacher, self.student, decay=self.params.decay, step=t.scalar(step_of))

    def companions(self) -> Mapping[str, Callable[[Tensor], Tensor]]:
        """The teacher."""
        return {"teacher": self.teacher}


class TeacherParams(EMAParams):
    """Parameters of methods whose EMA teacher sees noisy inputs."""

    noise: float = Field(0.1, ge=0, description="noise on the teacher's input, image units")
    clip: float = Field(0.2, gt=0, description="largest absolute noise, image units")


T = TypeVar("T", bound=TeacherParams)


class StudentTeacher(WithTeacher[T]):
    """A student and a teacher with noisy input."""

    def teacher_probability(self, image: Tensor) -> Tensor:
        """Teacher's prediction (N, K, *S) float32 on images with fresh noise."""
        noisy = gaussian_noise(image, sigma=self.params.noise, clip=self.params.clip)
        return self.target(noisy)
