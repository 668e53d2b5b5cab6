"""Locks and folders that appear in one step."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

from benchmarks.common.files import claimed


def contend(lock: Path, held: Path, until: float, overlaps: multiprocessing.Queue[int]) -> None:
    """Claim in a tight loop; a second process inside finds the mark of the first."""
    count = 0
    while time.monotonic() < until:
        try:
            with claimed(lock):
                try:
                    os.close(os.open(held, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    count += 1
                    continue
                held.unlink()
        except BlockingIOError:
            continue
    overlaps.put(count)


def test_a_claim_is_exclusive(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    overlaps: multiprocessing.Queue[int] = context.Queue()
    until = time.monotonic() + 2
    arguments = (tmp_path / "lock", tmp_path / "held", until, overlaps)
    processes = [context.Process(target=contend, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    assert [overlaps.get(timeout=30) for _ in processes] == [0, 0, 0]
    for process in processes:
        process.join()
