"""Optimisers and learning-rate schedules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.common.errors import ConfigError
from benchmarks.config import OptimizerConfig
from methods.base import Method


class Optimizers:
    """The configured optimiser, then one for each of the method's players; all step together.

    Attributes:
        rate: present learning rate of the configured optimiser.

    Args:
        method: whose parameters are trained.
        config: for all parameters that no player takes.

    Raises:
        ConfigError: a player names no module with parameters, or one that another player has.
    """

    def __init__(self, method: Method[Any], config: OptimizerConfig) -> None:
        taken: set[int] = set()
        players = []
        for player in method.players():
            module = getattr(method, player.module, None)
            parameters = _trained(module) if isinstance(module, nn.Module) else []
            if not parameters or taken & set(map(id, parameters)):
                known = ", ".join(name for name, _ in method.named_children())
                raise ConfigError(
                    f"{type(method).__name__}.players: '{player.module}' holds no parameters that"
                    f" are free to train; modules of the method: {known}"
                )
            taken |= set(map(id, parameters))
            own = OptimizerConfig(
                kind=player.optimizer, lr=player.lr, schedule=player.schedule, weight_decay=0.0
            )
            players.append((_make(parameters, own), own))
        rest = [p for p in _trained(method) if id(p) not in taken]
        self.rate = config.lr
        self._all = [(_make(rest, config), config), *players]

    def set_rate(self, fraction: float) -> None:
        """Set all rates for a point of the run, in [0, 1)."""
        rates = [learning_rate(config, fraction) for _, config in self._all]
        for (optimizer, _), rate in zip(self._all, rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"].fill_(rate)
        self.rate = rates[0]

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for optimizer, _ in self._all:
            optimizer.zero_grad(set_to_none=True)

    def step(self) -> None:
        """One step of every optimiser."""
        for optimizer, _ in self._all:
            optimizer.step()

    def state_dict(self) -> list[dict[str, Any]]:
        """States in the order of the players, the configured optimiser's first."""
        return [optimizer.state_dict() for optimizer, _ in self._all]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Restore what `state_dict` gave for the same method."""
        for (optimizer, _), state in zip(self._all, states, strict=True):
            optimizer.load_state_dict(state)
            for group in optimizer.param_groups:  # states are read on the CPU
                group["lr"] = group["lr"].to(group["params"][0].device)


def _trained(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.requires_grad]


def _make(parameters: Sequence[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    """SGD with momentum, Adam or AdamW: one kernel for many parameters, and the rate in a tensor.

    Momenta are made beforehand: fused SGD fails when a parameter gets its first gradient after the
    first step, as those of a term that starts later do. From 0 the first step is that of SGD.
    """
    rate = torch.tensor(config.lr, device=parameters[0].device)
    options: dict[str, Any] = {"lr": rate, "weight_decay": config.weight_decay, "fused": True}
    adaptive = {**options, "capturable": rate.device.type == "cuda"}
    if config.kind == "adamw":
        return torch.optim.AdamW(parameters, **adaptive)
    if config.kind == "adam":
        return torch.optim.Adam(parameters, **adaptive)
    sgd = torch.optim.SGD(parameters, momentum=config.momentum, **options)
    if config.momentum > 0:
        for parameter in parameters:
            sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd


def learning_rate(config: OptimizerConfig, fraction: float) -> float:
    """Learning rate at a point of the run: `lr (1 - f)^power` (poly) or `lr`.

    Args:
        config: base rate and schedule.
        fraction: share of the run that is done, in [0, 1).
    """
    if config.schedule == "constant":
        return config.lr
    return float(config.lr * (1.0 - fraction) ** config.power)
