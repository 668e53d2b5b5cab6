"""Exponential-moving-average teachers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from methods.base import Progress, Scalar


def copy_weights(target: nn.Module, source: nn.Module) -> None:
    """Give `target` the parameters and buffers of `source`, a network of the same architecture."""
    target.load_state_dict(source.state_dict())


@torch.no_grad()
def ema_update(teacher: nn.Module, student: nn.Module, *, decay: float, step: Scalar) -> None:
    """`theta' <- a theta' + (1 - a) theta` with `a = min(1 - 1/(step + 1), decay)`.

    Only parameters are averaged (the SSL4MIS convention); batch-norm statistics are the teacher's
    own. At step 0 the student is copied.

    Args:
        teacher: network that is updated in place.
        student: trained network of the same architecture.
        decay: upper bound of `a`, in [0, 1).
        step: iteration, from 0.
    """
    old: list[Tensor] = list(teacher.parameters())
    new: list[Tensor] = list(student.parameters())
    if isinstance(step, Tensor):
        difference = torch._foreach_sub(new, old)
        torch._foreach_mul_(difference, (1 / (step + 1)).clamp(min=1 - decay))
        torch._foreach_add_(old, difference)
    else:
        torch._foreach_lerp_(old, new, 1.0 - min(1.0 - 1.0 / (step + 1), decay))


def step_of(t: Progress) -> int:
    """The iteration, from 0, for `Progress.scalar`."""
    return t.step


def gaussian_noise(image: Tensor, *, sigma: float, clip: float) -> Tensor:
    """Image plus clipped Gaussian noise, the input perturbation of the mean-teacher family.

    Args:
        image: (N, C, *S) float32.
        sigma: standard deviation in image units.
        clip: largest absolute noise, in image units.

    Returns:
        Same shape.
    """
    return image + (sigma * torch.randn_like(image)).clamp(-clip, clip)
