"""What many runs and many workers cost, apart from training; writes reports/scaling.

`make scale` runs this. SCALE_QUEUED=5,10 SCALE_FOLDER=/tmp/scaling tries it with few runs.
"""

from __future__ import annotations

import heapq
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import seaborn as sns
import yaml

from benchmarks.common.device import environment
from benchmarks.common.files import write_json, write_text
from benchmarks.common.workers import quiet
from benchmarks.config import load_config
from benchmarks.engine import trainer
from benchmarks.launch.backend import Slots
from benchmarks.launch.campaign import launch
from benchmarks.launch.local import Local
from benchmarks.plan.estimate import run_cost
from benchmarks.plan.resolve import Run
from benchmarks.report.style import WIDTH, figure_style, new_figure, save_both
from benchmarks.report.tables import csv
from benchmarks.training.one import Place
from tests.launch.stub import NoTraining, plan

pytestmark = pytest.mark.scale
ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("SCALE_FOLDER", ROOT / "reports/scaling"))
# Seconds of one core that a run may cost apart from its training, at 1,000 runs.
MOST = 0.3
QUEUED = tuple(map(int, os.environ.get("SCALE_QUEUED", "100,1000,5000").split(",")))
SIMULATED = 10_000
_RUNS = 12  # a multiple of all numbers of workers


def spent() -> float:
    """Processor seconds of this process and of those that have ended."""
    own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in own)


def go(runs: list[Run], root: Path, workers: int) -> tuple[float, float]:
    """Launch; returns wall and processor seconds."""
    started, before = time.perf_counter(), spent()
    local = Local(Slots(workers))
    found = launch(runs, local, Place(root, "cpu"), report=quiet, say=lambda _line: None)
    assert found.kept + found.trained == len(runs), found.lines()
    return time.perf_counter() - started, spent() - before


def write(name: str, rows: list[dict[str, object]]) -> pd.DataFrame:
    table = pd.DataFrame(rows)
    write_text(FOLDER / f"{name}.csv", csv(table, decimals=5))
    write_json(FOLDER / "machine.json", environment("cpu"))
    return table


def test_overhead_of_a_queued_run(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[dict[str, object]] = []
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "Trainer", NoTraining)
        for queued in QUEUED:
            shutil.rmtree(flat / "runs", ignore_errors=True)
            runs = plan(flat, queued)
            wall, cpu = go(runs, flat, 2)
            again, _ = go(runs, flat, 2)
            rows.append(
                {
                    "training": "none", "queued": queued, "wall_s_per_run": wall / queued,
                    "cpu_s_per_run": cpu / queued, "finished_before_s_per_run": again / queued,
                }
            )  # fmt: skip
    shutil.rmtree(flat / "runs", ignore_errors=True)
    runs = plan(flat, QUEUED[0])
    wall, cpu = go(runs, flat, 2)
    again, _ = go(runs, flat, 2)
    rows.append(
        {
            "training": "one step", "queued": QUEUED[0], "wall_s_per_run": wall / QUEUED[0],
            "cpu_s_per_run": cpu / QUEUED[0], "finished_before_s_per_run": again / QUEUED[0],
        }
    )  # fmt: skip
    table = write("overhead", rows)
    by_queued = table[table["training"] == "none"].set_index("queued")["cpu_s_per_run"]
    assert by_queued[QUEUED[1] if len(QUEUED) > 1 else QUEUED[0]] <= MOST


def test_speed_of_workers(flat: Path) -> None:
    rows: list[dict[str, object]] = []
    for workers in (1, 2, 4):
        shutil.rmtree(flat / "runs", ignore_errors=True)
        wall, cpu = go(plan(flat, _RUNS, iterations=60), flat, workers)
        rows.append({"workers": workers, "runs": _RUNS, "wall_s": wall, "cpu_s": cpu})
    table = write("workers", rows)
    assert table["wall_s"][1] < table["wall_s"][0], "on a busy machine, measure again"


def test_file_operations_of_a_run(flat: Path) -> None:
    """Counted by strace as the difference between longer and shorter plans."""
    if shutil.which("strace") is None:
        pytest.skip("no strace here")
    (few, many), states = (10, 30), ("trained", "finished before")
    counts: dict[tuple[str, int], dict[str, int]] = {}
    for queued in (few, many):
        shutil.rmtree(flat / "runs", ignore_errors=True)
        for state in states:
            counts[state, queued] = calls(flat, queued)
    rows: list[dict[str, object]] = [
        {
            "run": state,
            "call": call,
            "per_run": (n - counts[state, few].get(call, 0)) / (many - few),
        }
        for state in states
        for call, n in sorted(counts[state, many].items())
    ]
    table = write("file_operations", [row for row in rows if float(str(row["per_run"])) >= 0.5])
    per_run = table.groupby("run")["per_run"].sum()
    assert per_run["finished before"] < 30 < per_run["trained"]


def calls(root: Path, runs: int) -> dict[str, int]:
    """System calls on names of files, and flushes, of a walk over so many runs."""
    out = root / "strace.txt"
    subprocess.run(
        [
            "strace", "-f", "-c", "-e", "trace=%file,fsync", "-o", str(out),
            sys.executable, "-m", "tests.launch.stub", str(root), str(runs),
        ],
        cwd=ROOT, check=True,
    )  # fmt: skip
    lines = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", out.read_text(), re.M)
    return {name: int(count) for count, name in lines if name != "total"}


def test_dvc_at_the_size_of_the_paper(tmp_path: Path) -> None:
    """As many stages as the preset `paper` has, each of which writes one small file."""
    grid = load_config(ROOT / "benchmarks/presets/paper/params.yaml").grid
    matrix = {"dataset": list(grid.datasets), "method": list(grid.methods)}
    stage = "${item.dataset}/${item.method}"
    make = "mkdir -p {0}/{1} && echo {1} > {0}/{1}/file"
    stages = {
        "run": {"matrix": matrix, "cmd": make.format("runs", stage), "outs": [f"runs/{stage}"]},
        "evaluate": {
            "matrix": {"dataset": matrix["dataset"]},
            "cmd": make.format("scores", "${item.dataset}"),
            "deps": ["runs/${item.dataset}"],
            "outs": ["scores/${item.dataset}"],
        },
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    rows: list[dict[str, object]] = []
    for state in ("nothing done", "all done"):
        started, before = time.perf_counter(), spent()
        subprocess.run([*dvc, "repro", "-q"], cwd=tmp_path, check=True)
        count = len(grid.datasets) * (1 + len(grid.methods))
        wall, cpu = time.perf_counter() - started, spent() - before
        rows.append({"before": state, "stages": count, "wall_s": wall, "cpu_s": cpu})
    table = write("dvc", rows)
    assert table["cpu_s"][1] < table["cpu_s"][0]


def hours(durations: Sequence[float], workers: int, looks: float) -> float:
    """Hours until all runs are done by workers that pull, each of which looks at every run.

    Args:
        durations: seconds of the runs, in their order.
        workers: how many.
        looks: seconds that a worker spends at a run that another one has done.
    """
    free = [0.0] * workers
    for duration in durations:
        heapq.heappush(free, heapq.heappop(free) + duration)
    return (max(free) + looks * len(durations)) / 3600


def test_simulation_of_ten_thousand_runs() -> None:
    """With the measured costs: how much of the workers' time is training, and what the disk does.

    Every pulling worker looks at every run, so that on a shared disk the looks are what grows.
    """
    measured = pd.read_csv(FOLDER / "overhead.csv")
    none = measured[measured["training"] == "none"].iloc[-1]
    beside, look = float(none["cpu_s_per_run"]), float(none["finished_before_s_per_run"])
    files = pd.read_csv(FOLDER / "file_operations.csv").groupby("run")["per_run"].sum()
    paper = load_config(ROOT / "benchmarks/presets/paper/params.yaml")
    relative = np.array([run_cost(paper, "acdc", method) for method in paper.grid.methods])
    shares = np.sort(np.resize(relative / relative.mean(), SIMULATED))[::-1]
    rows: list[dict[str, object]] = []
    for seconds in (60, 3600):
        for workers in (1, 16, 128, 1024):
            took = hours([seconds * share + beside for share in shares], workers, look)
            ideal = SIMULATED * seconds / workers / 3600
            rows.append(
                {
                    "runs": SIMULATED, "mean_training_s": seconds, "workers": workers,
                    "hours": took, "efficiency": ideal / took,
                    "file_operations": SIMULATED
                    * (files["trained"] + workers * files["finished before"]),
                }
            )  # fmt: skip
    table = write("simulated", rows)
    assert table["efficiency"].between(0, 1).all()
    assert table["efficiency"].iloc[0] > 0.9


def test_figure() -> None:
    overhead, workers = (pd.read_csv(FOLDER / f"{n}.csv") for n in ("overhead", "workers"))
    files = pd.read_csv(FOLDER / "file_operations.csv")
    with figure_style():
        figure = new_figure(WIDTH, 2.4)
        left, middle, right = figure.subplots(1, 3)
        sns.lineplot(
            overhead, x="queued", y="cpu_s_per_run", hue="training", style="training",
            markers=True, ax=left,
        )  # fmt: skip
        left.set(xscale="log", ylim=(0, None), xlabel="queued runs", ylabel="core seconds a run")
        speed = workers.assign(speed=workers["wall_s"][0] / workers["wall_s"])
        sns.lineplot(speed, x="workers", y="speed", marker="o", ax=middle)
        middle.set(ylim=(0, None), ylabel="speed, 1 worker = 1", xticks=workers["workers"])
        sns.barplot(files, y="call", x="per_run", hue="run", ax=right)
        right.set(xlabel="system calls a run", ylabel="")
        for axes, title in zip(
            (left, middle, right), ("Overhead", "Workers", "Files"), strict=True
        ):
            axes.set_title(title)
        paths = save_both(figure, FOLDER / "scaling")
    assert all(path.stat().st_size > 1000 for path in paths)
