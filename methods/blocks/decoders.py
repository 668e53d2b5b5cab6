"""Decoders of a network beside the tested one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from methods.networks import SegNet


def other_decoders(net: SegNet) -> Mapping[str, Callable[[Tensor], Tensor]]:
    """Logits (N, K, *S) of every decoder but the first for images (N, C, *S), by a name.

    They are logged beside the tested decoder, and tell whether the others learn.
    """

    def decoder(index: int) -> Callable[[Tensor], Tensor]:
        return lambda image: net.decode(net.encode(image), index).logits

    return {f"decoder_{index + 1}": decoder(index) for index in range(1, len(net.decoders))}
