"""Times steps of runs for `test_before.py`, in a process of its own, of this commit or an old one.

Called in the root of a checkout: `python FILE FOLDER METHOD KEY=VALUE ...`. Reads a number of steps
from every line and answers with the seconds that they took. Only names that both commits have are
used.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path.cwd()))

import torch

from benchmarks.engine.trainer import Trainer
from tests.engine.small import QUIET, build, job_of, make_config

SIZE, PATIENTS = 96, 6


def main(folder: Path, method: str, *given: str) -> None:
    """Build a phantom and a run, then step on command."""
    torch.set_num_threads(1)
    train: dict[str, Any] = dict(text.split("=") for text in given)
    config = make_config(
        labeled_batch=4, unlabeled_batch=4, iterations=1000, augment="ssl4mis",
        network={"kind": "unet", "channels": [16, 32, 64, 128]}, **train,
    )  # fmt: skip
    update = {"prepare": {"size": [SIZE] * 2}, "fetch": {"patients": PATIENTS, "matrix": SIZE}}
    block = config.data["phantom_acdc"].model_copy(update=update)
    config = config.model_copy(update={"data": {"phantom_acdc": block}})
    build(folder, config)
    trainer = Trainer(job_of(folder, folder / "run", method, config), torch.device("cpu"), QUIET)
    numbers = itertools.count(500)  # in the middle of a run: all terms are at work
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            trainer.step(next(numbers))
        sys.stdout.write(f"{time.perf_counter() - started}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
