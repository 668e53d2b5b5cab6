"""A CUDA graph played on the CPU: the operations of a call, done again on the same memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.engine.graph import Row
from benchmarks.engine.trainer import Trainer

# What hands a value or a size to Python, which no graph can.
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal"}


def state(trainer: Trainer) -> list[Tensor]:
    """All that a step changes: networks and optimisers."""
    return tensors([dict(trainer.method.state_dict()), trainer.optimizer.state_dict()])


class Tape:
    """A recording of everything below autograd, the backward pass and the optimiser included.

    Args:
        state: all tensors that a step changes, to undo what recording does.
    """

    def __init__(self, state: Callable[[], Sequence[Tensor]]) -> None:
        self._state = state
        self._calls: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def record(self, work: Callable[[], Row]) -> Row:
        kept = [(value, value.detach().clone()) for value in self._state()]
        random = torch.get_rng_state()
        with _Listener(self._calls):
            row = work()
        with torch.no_grad():
            for value, before in kept:
                value.copy_(before)
        torch.set_rng_state(random)
        return row

    @torch.no_grad()
    def play(self) -> None:
        for function, args, kwargs, results in self._calls:
            again = tensors(function(*args, **kwargs))
            for result, new in zip(results, again, strict=True):
                if result.data_ptr() != new.data_ptr():
                    result.copy_(new)


class _Listener(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, calls: list[Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls = calls

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        kwargs = kwargs or {}
        if func.overloadpacket.__name__ in WAITS:
            raise RuntimeError(f"{func} waits for the device")
        result = func(*args, **kwargs)
        aliases = [r.alias_info for r in func._schema.returns]
        if not any(a is not None and not a.is_write for a in aliases):  # a view stays what it is
            self._calls.append((func, args, kwargs, tensors(result)))
        return result


def tensors(value: object) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
