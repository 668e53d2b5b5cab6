"""Whole steps of this commit against those of an old one, and what the mechanism ledger costs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmarks.common.device import environment, native_bf16
from benchmarks.common.files import write_text
from benchmarks.engine.ledger import probe_steps
from benchmarks.engine.trainer import Trainer
from benchmarks.report.tables import csv
from methods import load_method, method_ids
from tests.engine.small import QUIET, build, job_of, make_config
from tests.engine.test_waiting import WAITS
from tests.old_commit import COMMIT, ROOT, check_out
from tests.speed.conftest import FOLDER, median_ratio

pytestmark = pytest.mark.speed
METHODS = ("supervised", "mean_teacher", "egcl_net")
ROUNDS, STEPS = 15, 3
ITERATIONS, SHORT = 1000, 150


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the old commit."""
    return check_out(tmp_path_factory.mktemp("before"))


class Stepping:
    """A process that steps when it is told to."""

    def __init__(self, checkout: Path, folder: Path, method: str, **train: str) -> None:
        words = [f"{key}={value}" for key, value in train.items()]
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests/speed/stepper.py"), str(folder), method, *words],
            cwd=checkout, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def seconds(self, steps: int) -> float:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


@contextmanager
def stepping(before: Path, folder: Path, method: str) -> Iterator[dict[str, Stepping]]:
    """Old and new steps, the new ones in bf16 too where the processor has it."""
    made = {
        "before": Stepping(before, folder / "before", method, amp="off"),
        "float32": Stepping(ROOT, folder / "float32", method, amp="off"),
    }
    if native_bf16("cpu"):
        made["bf16"] = Stepping(ROOT, folder / "bf16", method, amp="bf16")
    try:
        yield made
    finally:
        for each in made.values():
            each.process.communicate()


def test_whole_steps_against_the_old_commit(before: Path, tmp_path: Path) -> None:
    """2D, 96 x 96, 16 to 128 channels, 4 + 4 images, one thread; processes take turns.

    What another kind of processor measured stays in the table.
    """
    rows, processor = [], environment("cpu")["processor"]
    for method in METHODS:
        with stepping(before, tmp_path / method, method) as made:
            for each in made.values():
                each.seconds(2)
            rounds = [{n: p.seconds(STEPS) / STEPS for n, p in made.items()} for _ in range(ROUNDS)]
        for name in list(made)[1:]:
            ratios = sorted(r[name] / r["before"] for r in rounds)
            rows.append(
                {
                    "processor": processor, "method": method, "precision": name,
                    "ratio": statistics.median(ratios),
                    "lowest": ratios[0], "highest": ratios[-1],
                    "before_ms": 1e3 * statistics.median(r["before"] for r in rounds),
                    "after_ms": 1e3 * statistics.median(r[name] for r in rounds),
                    "rounds": ROUNDS, "load": os.getloadavg()[0],
                }
            )  # fmt: skip
    table = pd.DataFrame(rows)
    stored = pd.read_csv(FOLDER / "steps_before_after.csv")
    others = stored[stored["processor"] != processor]
    write_text(FOLDER / "steps_before_after.csv", csv(pd.concat([others, table]), decimals=3))
    assert (table["ratio"] < 1.2).all()


def test_waits_of_both_commits(before: Path, tmp_path: Path) -> None:
    """Operations of two steps in 2D that make the host wait for a GPU, by method and line."""
    script, tables = ROOT / "tests/speed/waits.py", []
    for commit, checkout in ((COMMIT, before), ("now", ROOT)):
        done = subprocess.run(
            [sys.executable, str(script), str(tmp_path / commit)],
            cwd=checkout, capture_output=True, text=True, check=True,
        )  # fmt: skip
        columns = ["method", "line", "operation", "count"]
        table = pd.read_csv(StringIO(done.stdout), names=columns)
        table.insert(0, "commit", commit)
        tables.append(table)
    write_text(FOLDER / "waits.csv", csv(pd.concat(tables)))
    exempt = {m for m in method_ids() if load_method(m).uncaptured in WAITS}
    old, new = (set(table["method"]) for table in tables)
    assert new == exempt
    assert old > {m for m in exempt if (before / f"methods/{m}.py").is_file()}


def test_cost_of_the_ledger(tmp_path: Path) -> None:
    """Of the steps of a run of 1,000, and of one so short that it has the fewest probes.

    A probe takes what its step takes beyond a plain one, and the masks of unlabelled images.
    """
    config = make_config(
        labeled_batch=2, unlabeled_batch=2, iterations=ITERATIONS, augment="none",
        network={"kind": "unet", "channels": [16, 32, 64, 128]},
    )  # fmt: skip
    update = {"prepare": {"size": [96, 96]}, "fetch": {"patients": 6, "matrix": 96}}
    block = config.data["phantom_acdc"].model_copy(update=update)
    config = config.model_copy(update={"data": {"phantom_acdc": block}})
    build(tmp_path, config)
    probes, fewest = probe_steps(ITERATIONS), len(probe_steps(SHORT))
    probe, plain = probes[-3], probes[-3] + 1  # late, and neither is one that is logged
    rows = []
    for method in method_ids():
        job = job_of(tmp_path, tmp_path / method, method, config)
        trainer = Trainer(job, torch.device("cpu"), QUIET)
        assert [trainer.ledger.probes(s) for s in (probe, plain)] == [True, False]
        assert not any(trainer._is_logged(s) for s in (probe, plain))

        def probing(trainer: Trainer = trainer) -> None:
            trainer.step(probe)
            trainer.pseudo_labels.note(probe + 1)

        ratio, probed, usual = median_ratio(probing, partial(trainer.step, plain), rounds=3)
        trainer.loader.close()
        rows.append(
            {
                "method": method, "step_ms": 1e3 * usual, "probe_ms": 1e3 * probed,
                "probes": len(probes),
                "percent": 100 * len(probes) * (ratio - 1) / ITERATIONS,
                f"percent_of_{SHORT}": 100 * fewest * (ratio - 1) / SHORT,
            }
        )  # fmt: skip
    table = pd.DataFrame(rows)
    write_text(FOLDER / "ledger.csv", csv(table, decimals=3))
    assert (table["percent"] <= 2).all()
