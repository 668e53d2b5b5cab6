"""A method's losses and gradients on two devices, from the same weights, images and draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from methods.base import Method
from methods.networks import SegNet
from tests.contract.case import CPU, END, Case, gradients, state_of, trained

# Below so small a loss term its error is not taken in relation to it.
_LEAST = 1e-3


class SameDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Random numbers as the CPU draws them, on any device."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            return func(*args, **kwargs)
        own = [a.device for a in args if isinstance(a, Tensor)]
        device = torch.device(kwargs.get("device") or (own or [CPU])[0])
        options = {**kwargs, **({"device": CPU} if "device" in kwargs else {})}
        here = tree_map(lambda v: v.to(CPU) if isinstance(v, Tensor) else v, (args, options))
        result = func(*here[0], **here[1])
        first = func._schema.arguments[0].alias_info
        if first is not None and first.is_write:
            return args[0].copy_(result)
        return tree_map(lambda v: v.to(device) if isinstance(v, Tensor) else v, result)


@dataclass(frozen=True)
class Difference:
    """How far two devices are apart.

    Attributes:
        loss: largest error of a loss term in relation to it.
        gradient: norm of the difference of all gradients in relation to that of the gradients.
        running: the same of the running statistics after the step, which the test reads.
    """

    loss: float
    gradient: float
    running: float


def difference(
    name: str, ndim: int, device: torch.device, layout: torch.memory_format | None = None
) -> Difference:
    """Compare a step on the CPU with one on a device.

    Args:
        name: of the method.
        ndim: 2 or 3.
        device: the other one.
        layout: of the weights on the other one; another layout is other kernels.
    """
    reference = trained(Case(name, ndim, 4))
    other = Case(name, ndim, 4, device).make()
    other.load_state_dict(state_of(reference))
    for net in other.modules():
        if layout is not None and isinstance(net, SegNet):
            net.to(memory_format=layout)
    losses, grads = _step(reference, Case(name, ndim, 4))
    same, again = _step(other, Case(name, ndim, 4, device))
    assert losses.keys() == same.keys() and grads.keys() == again.keys()
    apart = [abs(same[n] - value) / max(abs(value), _LEAST) for n, value in losses.items()]
    running = _apart(_running(reference), _running(other))
    return Difference(max(apart), _apart(grads, again), running)


def _step(method: Method[Any], case: Case) -> tuple[dict[str, float], dict[str, Tensor]]:
    for module in method.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # the CPU draws its masks in a way of its own
    torch.manual_seed(0)
    with SameDraws():  # type: ignore[no-untyped-call]
        terms = method.losses(case.batch(77), END)
        found = gradients(method, torch.stack(list(terms.values())).sum())
    return {name: term.item() for name, term in terms.items()}, found


def _running(method: Method[Any]) -> dict[str, Tensor]:
    return {name: value for name, value in method.named_buffers() if "running_" in name}


def _apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Norm of the difference in relation to that of the first; 0 of nothing."""
    if not one:
        return 0.0
    whole = _vector(one)
    return float((_vector(other) - whole).norm() / whole.norm())


def _vector(gradients: dict[str, Tensor]) -> Tensor:
    return torch.cat([gradients[name].to(CPU).flatten().double() for name in sorted(gradients)])
