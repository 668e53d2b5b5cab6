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
from benchmarks.plan.identity import stage_digests
from benchmarks.plan.resolve import Run
from benchmarks.report.tables import csv
from benchmarks.training.one import Place
from tests.launch.scaling_page import draw, write_page
from tests.launch.stub import NoTraining, plan
from tests.noting import replace_row

pytestmark = pytest.mark.scale
ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("SCALE_FOLDER", ROOT / "reports/scaling"))
# Seconds of one core that a run may cost apart from its training.
MOST = 0.3
QUEUED = tuple(map(int, os.environ.get("SCALE_QUEUED", "100,1000,5000,10000").split(",")))
SIMULATED = 10_000
WORKERS = (1, 4, 16, 64, 256, 1024)
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


def put_aside(root: Path) -> None:
    """Begin without runs; to remove those of thousands takes minutes."""
    runs = root / "runs"
    if runs.exists():
        runs.rename(root / f"before-{time.monotonic_ns()}")


@pytest.mark.parametrize(
    ("training", "queued"), [*(("none", n) for n in QUEUED), ("one step", QUEUED[0])]
)
def test_overhead_of_queued_runs(
    training: str, queued: int, flat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if training == "none":
        monkeypatch.setattr(trainer, "Trainer", NoTraining)
    put_aside(flat)
    runs = plan(flat, queued)
    wall, cpu = go(runs, flat, 2)
    again, _ = go(runs, flat, 2)
    seconds = {"wall_s": wall, "cpu_s": cpu, "finished_before_s": again}
    row = {f"{name}_per_run": f"{spent / queued:.5f}" for name, spent in seconds.items()}
    whose = {"training": training, "queued": queued}
    replace_row(FOLDER / "overhead.csv", {**whose, **row}, keys=2)
    write_json(FOLDER / "machine.json", environment("cpu"))
    assert cpu / queued <= MOST


def test_speed_of_workers(flat: Path) -> None:
    rows: list[dict[str, object]] = []
    for workers in (1, 2, 4):
        put_aside(flat)
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
        put_aside(flat)
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
    """The pipeline of `paper` with stages that write one small file each."""
    preset = tmp_path / "benchmarks/presets/paper"
    preset.mkdir(parents=True)
    shutil.copy(ROOT / "benchmarks/presets/paper/params.yaml", preset)
    write_json(tmp_path / "data/code/digests.json", stage_digests(ROOT))
    for dataset in load_config(preset / "params.yaml").grid.datasets:
        write_text(tmp_path / "data/raw" / dataset / "file", dataset)
    pipeline = yaml.safe_load((ROOT / "benchmarks/presets/pipeline.yaml").read_text())
    for stage in pipeline["stages"].values():
        (out,) = stage["outs"][0]
        stage["cmd"] = f"mkdir -p $(dirname {out}) && echo {out} > {out}"
    (preset / "dvc.yaml").write_text(yaml.safe_dump({"stages": pipeline["stages"]}))
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    rows: list[dict[str, object]] = []
    for state in ("nothing done", "all done"):
        started, before = time.perf_counter(), spent()
        subprocess.run([*dvc, "repro", "-q", str(preset / "dvc.yaml")], cwd=tmp_path, check=True)
        wall, cpu = time.perf_counter() - started, spent() - before
        lock = yaml.safe_load((preset / "dvc.lock").read_text())
        rows.append({"before": state, "stages": len(lock["stages"]), "wall_s": wall, "cpu_s": cpu})
    table = write("dvc", rows)
    assert table["cpu_s"][1] < table["cpu_s"][0]


def simulated(
    durations: Sequence[float], workers: int, beside: float, look: float
) -> dict[str, float]:
    """Hours of a worker, on average, until workers that pull have done all runs.

    Args:
        durations: seconds of the runs' training, in the order in which they are taken.
        workers: how many; each looks at every run.
        beside: seconds that a run costs apart from its training.
        look: seconds that a worker spends at a run that another one has done.
    """
    free = [0.0] * workers
    for duration in durations:
        heapq.heappush(free, heapq.heappop(free) + duration + beside)
    runs = len(durations)
    spent = {
        "training": sum(durations) / workers,
        "beside": runs * beside / workers,
        "looks": (runs - runs / workers) * look,
        "waiting": max(free) - sum(free) / workers,
    }
    return {f"{part}_h": seconds / 3600 for part, seconds in spent.items()}


def test_simulation_of_ten_thousand_runs() -> None:
    """With the measured costs: what the time of workers goes to, and what the disk has to serve.

    Pulling workers, each of which walks over the plan in an order of its own: the first free one
    takes any of the runs that are left.
    """
    four = simulated([3600, 3600, 3600, 3 * 3600], 2, 0, 0)  # 1 + 1 hours beside 1 + 3
    assert four == {"training_h": 3, "beside_h": 0, "looks_h": 0, "waiting_h": 1}
    measured = pd.read_csv(FOLDER / "overhead.csv")
    step, none = (measured[measured["training"] == name] for name in ("one step", "none"))
    beside = float(step["cpu_s_per_run"].max())
    look = float(none.sort_values("queued")["finished_before_s_per_run"].iloc[-1])
    files = pd.read_csv(FOLDER / "file_operations.csv").groupby("run")["per_run"].sum()
    paper = load_config(ROOT / "benchmarks/presets/paper/params.yaml")
    relative = np.array([run_cost(paper, "acdc", method) for method in paper.grid.methods])
    shares = np.resize(relative, SIMULATED)
    shares = np.random.default_rng(0).permutation(shares / shares.mean())
    rows: list[dict[str, object]] = []
    for seconds in (60, 3600):
        for workers in WORKERS:
            spent = simulated(list(seconds * shares), workers, beside, look)
            hours = sum(spent.values())
            calls = files["trained"] + (workers - 1) * files["finished before"]
            rows.append(
                {
                    "runs": SIMULATED, "mean_training_s": seconds, "workers": workers,
                    "hours": hours, "efficiency": spent["training_h"] / hours, **spent,
                    "file_operations_per_s": SIMULATED * calls / (3600 * hours),
                }
            )  # fmt: skip
    table = write("simulated", rows)
    assert table["efficiency"].between(0, 1).all()
    assert table["efficiency"].iloc[0] > 0.9


def test_page_and_figure() -> None:
    paths = [*draw(FOLDER), write_page(FOLDER)]
    assert all(path.stat().st_size > 1000 for path in paths)
