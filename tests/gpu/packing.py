"""Steps of several runs at once on one card."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.common.workers import Report, run_tasks
from benchmarks.engine.graph import why_eager
from tests.gpu.timing import FIRST, WARM, Row, Size, blank_row, make_trainer, played, wait

_PATIENCE = 120.0  # seconds that a run waits for those that are to run with it


@dataclass(frozen=True)
class Share:
    """One of several runs at once.

    Attributes:
        root: with prepared data.
        number: of this run.
        count: of runs.
        size: of a step.
        device: by name.
        seconds: that are counted once all are ready.
        mps: see `at_once_rows`.
    """

    root: Path
    number: int
    count: int
    size: Size
    device: str
    seconds: float
    mps: str


def stepping(share: Share, report: Report) -> float:
    """Steps a second of one run while the others run; called in a process of its own."""
    del report
    folder = share.root / f"at-once-{share.count}{'-mps' if share.mps else ''}"
    device = torch.device(share.device)
    own = folder.relative_to(share.root) / str(share.number)
    trainer = make_trainer(share.root, "mean_teacher", share.size, device, str(own), amp="bf16")
    step = trainer.step if why_eager(trainer.job, device) else played(trainer)
    for number in range(FIRST, FIRST + WARM):
        step(number)
    wait(device)
    (folder / f"ready-{share.number}").touch()
    patience = time.monotonic() + _PATIENCE
    while len(list(folder.glob("ready-*"))) < share.count:
        if time.monotonic() > patience:
            raise RuntimeError("the other runs do not start")
        time.sleep(0.01)
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < share.seconds:
        for _ in range(share.size.steps):
            step(FIRST + done % 80)
            done += 1
        wait(device)
    spent = time.perf_counter() - started
    trainer.loader.close()
    return done / spent


def at_once_rows(
    root: Path, size: Size, device: torch.device, count: int, seconds: float, mps: str
) -> Iterator[Row]:
    """Mean Teacher, bf16 and recorded where that is possible, in several processes on one card.

    Args:
        root: with prepared data.
        size: of a step.
        device: of all.
        count: of processes.
        seconds: that are counted.
        mps: pipe directory of NVIDIA's MPS, through which the processes share the card; "": they
            take turns on it.
    """
    shares = [Share(root, n, count, size, str(device), seconds, mps) for n in range(count)]
    around = {"CUDA_MPS_PIPE_DIRECTORY": mps} if mps else {}
    fork = device.type == "cpu"
    outcomes = run_tasks(
        stepping, shares, count, fork=fork, variables=None if fork else lambda _number: around
    )
    rate = sum(outcome.value() for outcome in outcomes)
    ms = 1e3 * count / rate
    mode = "at once, MPS" if mps else "at once"
    yield blank_row("mean_teacher", size, mode, ms, runs=count, steps_per_s=rate)
