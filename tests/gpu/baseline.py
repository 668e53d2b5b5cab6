"""The Mean Teacher step of SSL4MIS, written anew from its protocol, to compare with.

HiLab-git/SSL4MIS, `code/train_mean_teacher_2D.py` and `_3D.py`: everything in float32; the images
copied to the device in the step; student on all images, teacher with noise on the unlabelled ones;
cross entropy and a Dice loss that goes over the classes one by one; plain SGD; an average that goes
over the weights one by one; and every iteration reads its losses, to log them.

In its favour: a batch lies ready in pinned memory, so that its loader costs nothing, and no log is
written. The network is the suite's, with the widths and the norm of its protocol, so that the step
alone differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.networks import SegNet

_RATE, _DECAY, _TOTAL = 0.01, 0.99, 30_000
_WEIGHT, _RAMP, _EPOCH = 0.1, 200, 150  # consistency, and iterations to an "epoch" of its ramp
_SMOOTH = 1e-5


def dice_loss(probability: Tensor, label: Tensor) -> tuple[Tensor, list[float]]:
    """Mean Dice loss over the classes, and the Dice of each, read from the device.

    Args:
        probability: (N, K, *S).
        label: (N, *S) int64.
    """
    classes = probability.shape[1]
    target = torch.cat([(label == k)[:, None] for k in range(classes)], 1).float()
    total, scores = probability.new_zeros(()), []
    for k in range(classes):
        p, y = probability[:, k], target[:, k]
        both = (p * y).sum()
        loss = 1 - (2 * both + _SMOOTH) / ((p * p).sum() + (y * y).sum() + _SMOOTH)
        scores.append(1 - loss.item())
        total = total + loss
    return total / classes, scores


def ramp(iteration: int) -> float:
    """Weight of the consistency term: `0.1 exp(-5 (1 - e / 200)^2)` for `e = iteration // 150`."""
    done = min(iteration // _EPOCH, _RAMP) / _RAMP
    return _WEIGHT * math.exp(-5 * (1 - done) ** 2)


@torch.no_grad()
def average(teacher: nn.Module, student: nn.Module, iteration: int) -> None:
    """Move the teacher's weights towards the student's."""
    decay = min(1 - 1 / (iteration + 1), _DECAY)
    for kept, new in zip(teacher.parameters(), student.parameters(), strict=True):
        kept.mul_(decay).add_(new, alpha=1 - decay)


def stepper(
    student: SegNet, teacher: SegNet, images: Tensor, label: Tensor, device: torch.device
) -> Callable[[int], float]:
    """A function that makes a step of an iteration and returns its loss.

    Args:
        student: on the device, as the teacher.
        teacher: with the student's architecture.
        images: (N, C, *S) float32 in the memory of the host, labelled ones first.
        label: (L, *S) int64 of the first L images.
        device: that trains.
    """
    optimizer = torch.optim.SGD(student.parameters(), lr=_RATE, momentum=0.9, weight_decay=1e-4)
    student.train()
    teacher.train().requires_grad_(False)
    if device.type == "cuda":
        images, label = images.pin_memory(), label.pin_memory()
    known = len(label)

    def step(iteration: int) -> float:
        batch, truth = images.to(device), label.to(device)
        rest = batch[known:]
        noise = (torch.randn_like(rest) * 0.1).clamp(-0.2, 0.2)
        logits = student(batch)
        probability = logits.softmax(1)
        with torch.no_grad():
            target = teacher(rest + noise).softmax(1)
        entropy = F.cross_entropy(logits[:known], truth)
        dice, _ = dice_loss(probability[:known], truth)
        apart = ((probability[known:] - target) ** 2).mean()
        loss = 0.5 * (dice + entropy) + ramp(iteration) * apart
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average(teacher, student, iteration)
        for group in optimizer.param_groups:
            group["lr"] = _RATE * (1 - iteration / _TOTAL) ** 0.9
        logged = [value.item() for value in (entropy, dice, apart, loss)]
        return float(logged[-1])

    return step
