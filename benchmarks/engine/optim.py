"""Optimiser and learning-rate schedule."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from benchmarks.config import OptimizerConfig


def make_optimizer(
    parameters: Iterable[nn.Parameter], config: OptimizerConfig
) -> torch.optim.Optimizer:
    """SGD with momentum or AdamW over the parameters that take a gradient.

    Not `fused`: fused SGD fails when a parameter gets its first gradient after the first step, as
    those of a term that starts later do.
    """
    trained = [p for p in parameters if p.requires_grad]
    if config.kind == "adamw":
        return torch.optim.AdamW(
            trained, lr=config.lr, weight_decay=config.weight_decay, foreach=True
        )
    return torch.optim.SGD(
        trained,
        lr=config.lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        foreach=True,
    )


def learning_rate(config: OptimizerConfig, fraction: float) -> float:
    """Learning rate at a point of the run: `lr (1 - f)^power` (poly) or `lr`.

    Args:
        config: base rate and schedule.
        fraction: share of the run that is done, in [0, 1).
    """
    if config.schedule == "constant":
        return config.lr
    return float(config.lr * (1.0 - fraction) ** config.power)
