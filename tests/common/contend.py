"""Processes that want the same claim, to see that one at a time has it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path

Take = Callable[[Path], AbstractContextManager[object]]
FORK = get_context("fork")


def _contend(take: Take, lock: Path, until: float, overlaps: Queue[int]) -> None:
    """Claim in a tight loop; a second process inside finds the mark of the first."""
    count, held = 0, lock.with_name("held")
    while time.monotonic() < until:
        try:
            with take(lock):
                try:
                    os.close(os.open(held, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    count += 1
                    continue
                held.unlink()
        except BlockingIOError:
            continue
    overlaps.put(count)


def overlaps_of(take: Take, lock: Path, *, processes: int, seconds: float) -> list[int]:
    """How often each process found another one inside."""
    overlaps: Queue[int] = FORK.Queue()
    arguments = (take, lock, time.monotonic() + seconds, overlaps)
    running = [FORK.Process(target=_contend, args=arguments) for _ in range(processes)]
    for process in running:
        process.start()
    found = [overlaps.get(timeout=30) for _ in running]
    for process in running:
        process.join()
    return found
