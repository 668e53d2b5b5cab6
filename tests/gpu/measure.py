"""All that `make gpu` times, in its order."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.common.errors import BenchError
from tests.gpu.packing import at_once_rows
from tests.gpu.timing import Row, Size, baseline_rows, blank_row, method_rows, prepared


def measure(
    root: Path,
    sizes: Sequence[Size],
    names: Sequence[str],
    device: torch.device,
    *,
    until: float = math.inf,
    packed: Sequence[tuple[Size, int]] = (),
    seconds: float = 3.0,
    mps: str = "",
) -> Iterator[Row]:
    """All rows, the most wanted first; what time is too short for is a row that says so.

    Args:
        root: empty folder.
        sizes: of steps.
        names: methods, the most wanted first.
        device: that is timed.
        until: `time.monotonic()` after which nothing more is timed.
        packed: steps that runs make at once on one card, with the number of runs.
        seconds: of each of these.
        mps: see `at_once_rows`.
    """
    every = dict.fromkeys((*sizes, *(size for size, _ in packed)))
    roots = {s: prepared(root / s.words.replace(" ", ""), s) for s in every}
    parts = [("mean_teacher", s, partial(baseline_rows, roots[s], s, device)) for s in sizes]
    for size, count in packed:
        shared = mps if count > 1 else ""
        together = partial(at_once_rows, roots[size], size, device, count, seconds, shared)
        parts.append(("mean_teacher", size, together))
    for name in names:
        parts += [(name, s, partial(method_rows, name, roots[s], s, device)) for s in sizes]
    for name, size, rows in parts:
        if time.monotonic() > until:
            yield blank_row(name, size, "", note="not timed: the time was over")
            continue
        try:
            yield from rows()
        except (RuntimeError, BenchError) as error:  # of the device, such as its memory
            yield blank_row(name, size, "", note=f"failed: {str(error).splitlines()[0]}")
