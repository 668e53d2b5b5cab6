"""Runs whose training takes no time, so that all else is seen: `python -m tests.launch.stub`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from benchmarks.common.workers import quiet
from benchmarks.common.workspace import CHECKPOINTS, MECHANISMS, METRICS, weights_file
from benchmarks.engine import trainer
from benchmarks.engine.job import Job
from benchmarks.engine.state import Position
from benchmarks.launch.work import walk
from benchmarks.plan.resolve import Run, resolve
from benchmarks.training.one import Place
from tests.engine.small import make_config

__all__ = ["NoTraining", "main", "plan", "quiet"]


class NoTraining:
    """Stands for the trainer; leaves two files of weights as it does."""

    def __init__(self, job: Job, device: torch.device, hooks: trainer.Hooks) -> None:
        del device, hooks
        self.job = job

    def train(self) -> Position:
        for name in (*map(weights_file, CHECKPOINTS), METRICS, MECHANISMS):
            (self.job.folder / name).write_bytes(b"0")
        return Position(step=self.job.train.iterations)


def plan(root: Path, runs: int, iterations: int = 1) -> list[Run]:
    """So many runs of plain supervision, by their seeds."""
    config = make_config(iterations=iterations, validations=1)
    grid = config.grid.model_copy(update={"seeds": tuple(range(runs))})
    return resolve(config.model_copy(update={"grid": grid}), "phantom_acdc", "supervised", root)


def main() -> None:
    """Walk over a number of runs, for `strace`."""
    root, runs = Path(sys.argv[1]), int(sys.argv[2])
    setattr(trainer, "Trainer", NoTraining)  # noqa: B010 - a stand-in
    found = list(walk(plan(root, runs), Place(root, "cpu", threads=1), root / "notes", 0))
    assert {o.state for o in found} <= {"trained", "kept"} and len(found) == runs


if __name__ == "__main__":
    main()
