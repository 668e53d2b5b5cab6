"""Named random streams from one integer.

A stream is a pure function of the run's seed and a name, never of what was drawn before: an
interrupted run continues with the same numbers, and data order does not depend on the method.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream `names` of a run.

    Args:
        seed: of the run.
        names: path of the stream, for instance ("augment", step).
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator at the start of a stream."""
    return torch.Generator().manual_seed(derive(seed, *names))


@contextmanager
def fork_seed(seed: int, *names: str | int) -> Iterator[None]:
    """Seed torch's global generators inside the block and restore them after it."""
    with torch.random.fork_rng():
        torch.manual_seed(derive(seed, *names))
        yield
