"""kill -9 at random moments, also inside the writing of a state; then resume, with the same bits.

`make kill` does it to every method, 20 times each, and writes reports/reliability/kills.csv.
"""

from __future__ import annotations

import csv
import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.engine.job import Job
from benchmarks.engine.trainer import Trainer
from methods import method_ids
from tests.engine.small import QUIET, job_of, make_config, weights

TABLE = Path(__file__).parents[2] / "reports/reliability/kills.csv"
KILLS = 20
# A state after every step, so that a good part of the time goes into writing states.
HOOKS = replace(QUIET, checkpoint_seconds=0.0)


def work(job: Job) -> None:
    torch.set_num_threads(1)
    Trainer(job, torch.device("cpu"), HOOKS).train()


def killed_after(job: Job, seconds: float) -> bool:
    """Train in a process of its own and kill it; False if it was done before."""
    process = multiprocessing.get_context("fork").Process(target=work, args=(job,))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode != 0


def survived(root: Path, folder: Path, method: str, kills: int) -> dict[str, int]:
    """Kill runs of a method until there were so many kills; every finished run must be the same."""
    torch.set_num_threads(1)
    config, rng = make_config(iterations=30), np.random.default_rng(0)
    whole = job_of(root, folder / "whole", method, config)
    started = time.monotonic()
    work(whole)
    duration = time.monotonic() - started
    expected = weights(folder / "whole"), (folder / "whole/metrics.jsonl").read_bytes()
    count = {"kills": 0, "inside_a_write": 0, "finished": 0, "identical": 0}
    number = 0
    while True:
        cut = folder / f"cut{number}"
        job = job_of(root, cut, method, config)
        while count["kills"] < kills and killed_after(job, float(rng.uniform(0, duration / 3))):
            count["kills"] += 1
            count["inside_a_write"] += any(p.name.endswith(".tmp") for p in cut.iterdir())
        work(job)
        count["finished"] += 1
        same = (weights(cut), (cut / "metrics.jsonl").read_bytes()) == expected
        count["identical"] += same
        if count["kills"] >= kills:
            return count
        number += 1


def test_killed_run_ends_with_the_same_bits(flat: Path, tmp_path: Path) -> None:
    count = survived(flat, tmp_path, "egcl_net", kills=4)
    assert count["kills"] == 4
    assert count["identical"] == count["finished"] > 0


@pytest.mark.kill
@pytest.mark.parametrize("method", method_ids())
def test_every_method_survives(method: str, flat: Path, tmp_path: Path) -> None:
    count = survived(flat, tmp_path, method, KILLS)
    write_row({"method": method, **count})
    assert count["kills"] == KILLS
    assert count["identical"] == count["finished"] > 0


def write_row(row: dict[str, object]) -> None:
    """Replace the method's row."""
    rows = []
    if TABLE.is_file():
        with TABLE.open(encoding="utf-8", newline="") as stream:
            rows = [dict(r) for r in csv.DictReader(stream) if r["method"] != row["method"]]
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    with TABLE.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted([*rows, row], key=lambda r: str(r["method"])))
