"""Counts what goes through the networks, and compiles them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from methods.base import SegNet


def networks(module: nn.Module) -> Iterator[SegNet]:
    """Every segmentation network inside a module once, teachers included."""
    seen = set()
    for net in module.modules():
        if isinstance(net, SegNet) and id(net) not in seen:
            seen.add(id(net))
            yield net


class PassCounter:
    """Images that go through the encoders of a method's networks.

    Args:
        method: whose networks are watched, from now on.
    """

    def __init__(self, method: nn.Module) -> None:
        self._forward = self._backward = 0
        for net in networks(method):
            self._watch(net)

    def take(self) -> tuple[int, int]:
        """Images since the last call: through any encoder, and those whose gradients are wanted."""
        taken = self._forward, self._backward
        self._forward = self._backward = 0
        return taken

    def _watch(self, net: SegNet) -> None:
        encode = net.encode
        trained = any(p.requires_grad for p in net.parameters())

        def counted(image: Tensor) -> list[Tensor]:
            self._forward += len(image)
            if torch.is_grad_enabled() and (trained or image.requires_grad):
                self._backward += len(image)
            return encode(image)

        net.encode = counted  # type: ignore[method-assign]


def compile_networks(method: nn.Module) -> None:
    """Let `torch.compile` make kernels of every encoder and decoder; needs a C++ compiler or CUDA.

    Args:
        method: whose networks are compiled, at their first pass.
    """
    for net in networks(method):
        compiled: Any = torch.compile(net.encode, dynamic=False)
        net.encode = compiled  # type: ignore[method-assign]
        compiled = torch.compile(net.decode, dynamic=False)
        net.decode = compiled  # type: ignore[method-assign]
