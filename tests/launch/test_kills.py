"""Workers and launchers killed at random, with stub runs; jobs that come to their time limit.

`make launch` runs this.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import threading
import time
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path

import psutil
import pytest

from benchmarks.common.workers import quiet
from benchmarks.common.workspace import RECORD
from benchmarks.engine import trainer
from benchmarks.engine.state import STATE, Position
from benchmarks.launch.backend import Slots
from benchmarks.launch.campaign import launch
from benchmarks.launch.local import Local
from benchmarks.launch.slurm import OnSlurm
from benchmarks.plan.record import finished
from benchmarks.plan.resolve import Run
from benchmarks.training.one import Place, train_run
from tests.engine.small import weights
from tests.launch.kills import note
from tests.launch.stub import NoTraining, plan

pytestmark = pytest.mark.launch
WORKERS, PLANNED = 2, 300
KILLS = {"worker": 50, "launcher": 10}


class Slow(NoTraining):
    """A run that takes a moment, in which it can be killed."""

    def train(self) -> Position:
        time.sleep(0.1)
        return super().train()


def go(runs: list[Run], root: Path) -> None:
    """A launcher; exit code 0 means that all are done."""
    place, local = Place(root, "cpu"), Local(Slots(WORKERS))
    found = launch(runs, local, place, report=quiet, say=lambda _line: None)
    raise SystemExit(bool(found.failed or found.left))


def begun(runs: list[Run], root: Path) -> ForkProcess:
    process = get_context("fork").Process(target=go, args=(runs, root))
    process.start()
    return process


def records(runs: list[Run], root: Path) -> dict[Path, tuple[int, int]]:
    """File and time of every finished run's record: another one if it was made again."""
    found = {}
    for run in runs:
        path = run.key.folder(root) / RECORD
        if path.is_file():
            stat = path.stat()
            found[path] = (stat.st_ino, stat.st_mtime_ns)
    return found


def test_random_kills_of_workers_and_launchers(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "Trainer", Slow)
    shutil.rmtree(flat / "runs", ignore_errors=True)
    runs, rng = plan(flat, PLANNED), random.Random(0)
    victims = [kind for kind, count in KILLS.items() for _ in range(count)]
    rng.shuffle(victims)
    killed, seen, again = dict.fromkeys(KILLS, 0), dict[Path, tuple[int, int]](), set[Path]()
    launcher = begun(runs, flat)
    for kind in victims:
        time.sleep(rng.uniform(0.05, 0.3))
        assert launcher.is_alive(), "done, or given up, before all kills; plan more runs"
        if kind == "launcher":
            launcher.kill()
            launcher.join()
            launcher = begun(runs, flat)
        else:
            while not (crew := psutil.Process(launcher.pid).children()):
                time.sleep(0.01)
            os.kill(rng.choice(crew).pid, signal.SIGKILL)
        killed[kind] += 1
        now = records(runs, flat)
        again |= {path for path in seen if now.get(path) != seen[path]}
        seen = now
    launcher.join(300)
    if launcher.exitcode:  # three workers died of one run, so that it was given up
        launcher = begun(runs, flat)
        launcher.join(300)
    assert launcher.exitcode == 0 and killed == KILLS
    now = records(runs, flat)
    again |= {path for path in seen if now.get(path) != seen[path]}
    done = sum(finished(run, flat) for run in runs)
    counts = {"workers": WORKERS, "planned": PLANNED, "done": done, "doubled": len(again)}
    killed_of = {f"{kind}_kills": count for kind, count in killed.items()}
    note("launch, local", {**counts, **killed_of, "lost": PLANNED - done})
    assert (done, again) == (PLANNED, set())


def test_jobs_go_back_into_the_queue_before_their_time_limit(flat: Path) -> None:
    pytest.importorskip("submitit", reason="`python -m pip install '.[slurm]'` brings it")
    shutil.rmtree(flat / "runs", ignore_errors=True)
    runs, place = plan(flat, 2, iterations=80), Place(flat, "cpu", 1, checkpoint_seconds=0)
    for run in runs:
        train_run(run, quiet, place)
    expected = [weights(run.key.folder(flat)) for run in runs]
    shutil.rmtree(flat / "runs")
    told: list[int] = []

    def tell() -> None:
        """Send what SLURM sends before the time limit, once a run has a state."""
        until = time.monotonic() + 100
        while time.monotonic() < until and not list(flat.glob(f"runs/**/{STATE}")):
            time.sleep(0.01)
        for process in psutil.Process().children(recursive=True):
            if "submitit.core._submit" in process.cmdline():
                process.send_signal(signal.SIGUSR2)
                told.append(process.pid)

    teller = threading.Thread(target=tell)
    teller.start()
    found = launch(runs, OnSlurm(Slots(1)), place, report=quiet, say=lambda _line: None)
    teller.join()
    assert len(told) == 1
    assert (found.trained + found.kept, found.failed, found.left) == (2, {}, {})
    assert [weights(run.key.folder(flat)) for run in runs] == expected
    logs = "".join(path.read_text() for path in flat.glob("data/launch/**/*_log.*"))
    assert "Caught signal SIGUSR2" in logs and logs.count("Starting with") == 2
