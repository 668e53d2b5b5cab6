"""Arithmetic that is compared with the CPU's: float32 throughout, the same in every call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmarks.common.device import pick_device


@contextmanager
def exact() -> Iterator[torch.device]:
    """A CUDA device on which convolutions do not round to TF32, for the length of a block."""
    device = pick_device("cuda")
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield device
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.allow_tf32 = before
