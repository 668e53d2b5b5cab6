"""kill -9 at random moments, also inside the writing of a state; then resume, with the same bits.

`make kill` does it to every method, 20 times each, and writes reports/reliability/kills.csv.
"""

from __future__ import annotations

import multiprocessing
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.common.workspace import CASES
from benchmarks.config import BenchmarkConfig
from benchmarks.plan.resolve import Run, resolve
from benchmarks.scoring.evaluate import evaluate
from benchmarks.training.many import train_runs
from benchmarks.training.one import Place
from methods import method_ids
from tests.engine.small import make_config, weights
from tests.noting import FOLDER, replace_row

KILLS = 20


def work(_config: BenchmarkConfig, resolved: Run, place: Place) -> None:
    torch.set_num_threads(1)
    train_runs([resolved], place, jobs=1)


def killed_after(arguments: tuple[BenchmarkConfig, Run, Place], seconds: float) -> bool:
    """Train in a process of its own and kill it; False if it was done before."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode != 0


def results(config: BenchmarkConfig, resolved: Run, place: Place) -> tuple[object, ...]:
    """Digests of the weights, and the bytes of the losses and of the scores of all test cases."""
    folder = resolved.key.folder(place.root)
    scores = evaluate(config, resolved.key.dataset, resolved.key.method, place)
    return weights(folder), (folder / "metrics.jsonl").read_bytes(), (scores / CASES).read_bytes()


def survived(root: Path, folder: Path, method: str, kills: int) -> dict[str, int]:
    """Kill runs of a method until there were so many kills; every finished run must be the same."""
    for part in ("data", "datasets", "benchmarks", "methods"):
        (folder / part).symlink_to(root / part)
    torch.set_num_threads(1)
    config, rng = make_config(iterations=30), np.random.default_rng(0)
    # A state after every step, so that a good part of the time goes into writing states.
    place = Place(folder, "cpu", checkpoint_seconds=0.0)
    (resolved,) = resolve(config, "phantom_acdc", method, folder)
    arguments = (config, resolved, place)
    started = time.monotonic()
    work(*arguments)
    duration = time.monotonic() - started
    expected = results(*arguments)
    done = resolved.key.folder(folder)
    partial = done.with_name(f".{done.name}.partial")
    count = {"kills": 0, "inside_a_write": 0, "finished": 0, "identical": 0}
    while count["kills"] < kills:
        shutil.rmtree(done)
        while count["kills"] < kills and killed_after(
            arguments, float(rng.uniform(0, duration / 3))
        ):
            count["kills"] += 1
            count["inside_a_write"] += any(partial.glob(".*.tmp"))
        work(*arguments)
        count["finished"] += 1
        count["identical"] += results(*arguments) == expected
    return count


def test_killed_run_ends_with_the_same_bits(flat: Path, tmp_path: Path) -> None:
    count = survived(flat, tmp_path, "egcl_net", kills=4)
    assert count["kills"] == 4
    assert count["identical"] == count["finished"] > 0


@pytest.mark.kill
@pytest.mark.parametrize("method", method_ids())
def test_every_method_survives(method: str, flat: Path, tmp_path: Path) -> None:
    count = survived(flat, tmp_path, method, KILLS)
    replace_row(FOLDER / "kills.csv", {"method": method, **count})
    assert count["kills"] == KILLS
    assert count["identical"] == count["finished"] > 0
