"""Ray and submitit in a copy of the checkout, with kills; then `dvc repro`, as after a serial run.

`make launch` runs this.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.pipeline.test_pipeline import PARAMS, _repro
from tests.pipeline.test_pipeline import clone as serial

__all__ = ["serial"]

pytestmark = pytest.mark.launch
# States are written after every step, so that a kill may hit the writing of one.
MORE = {
    "train": {**PARAMS["train"], "iterations": 150},  # type: ignore[dict-item]
    "grid": {**PARAMS["grid"], "seeds": [0, 1, 2, 3]},  # type: ignore[dict-item]
    "runtime": {"checkpoint_seconds": 0.0},
}
RUNS = 12
KILLS = int(os.environ.get("LAUNCH_KILLS", "4"))
BACKENDS = ["local", "ray", "slurm"]


def begin(root: Path, on: str, log: Path, *more: str) -> subprocess.Popen[bytes]:
    with log.open("ab") as stream:
        return subprocess.Popen(
            [
                sys.executable, "-m", "benchmarks", "launch", "--on", on, "--workers", "2",
                "--device", "cpu", *more,
            ],
            cwd=root, stdout=stream, stderr=stream,
            env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_ADDRESS": ""},
        )  # fmt: skip


def finished(root: Path) -> dict[Path, int]:
    """Time of the weights of every finished run."""
    return {p: p.stat().st_mtime_ns for p in root.glob("runs/quick/*/*/l*/last.safetensors")}


def workers(launcher: int, root: Path) -> list[psutil.Process]:
    """Processes that train below this checkout, but for the launcher."""
    found = []
    for process in psutil.process_iter():
        try:
            inside = process.cwd() == str(root)
            name = " ".join(process.cmdline())
        except psutil.Error:
            continue
        trains = "ray::" in name or "submitit.core._submit" in name or "benchmarks launch" in name
        if inside and trains and process.pid != launcher:
            found.append(process)
    return found


def tables(root: Path) -> dict[str, bytes]:
    folder = root / "reports/quick"
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def expected(serial: Path) -> dict[str, bytes]:
    """Tables, figures and pages of a serial run by DVC."""
    (serial / "params.yaml").write_text(yaml.safe_dump({**PARAMS, **MORE}))
    _repro(serial, "report")
    return tables(serial)


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def bare(serial: Path, expected: dict[str, bytes], tmp_path: Path) -> Iterator[Path]:
    """The same checkout without data, runs, scores, locks and reports."""
    del expected
    target = tmp_path / "checkout"
    ignored = "--exclude=./data --exclude=./runs --exclude=./dvc.lock --exclude=./.dvc/cache"
    copy = f"mkdir {target} && tar -C {serial} {ignored} --exclude=./.dvc/tmp --exclude=./reports"
    subprocess.run(f"{copy} -cf - . | tar -C {target} -xf -", shell=True, check=True)
    yield target
    for process in workers(0, target):
        process.kill()


@pytest.mark.parametrize("on", BACKENDS)
def test_kills_lose_nothing_and_dvc_finds_all_done(
    on: str, bare: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    log, rng = tmp_path / "log", random.Random(on)
    launcher, killed = begin(bare, on, log), 0
    while killed < KILLS and launcher.poll() is None:
        time.sleep(rng.uniform(2, 5))
        if found := workers(launcher.pid, bare):
            rng.choice(found).send_signal(signal.SIGKILL)
            killed += 1
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    half = finished(bare)
    for _ in range(2):  # the second one finds all done
        again = begin(bare, on, log)
        assert again.wait(500) == 0, log.read_text()
    after = finished(bare)
    assert len(after) == RUNS and after | half == after, log.read_text()
    assert f"done {RUNS} (0 trained here), failed 0, left 0" in log.read_text()

    _repro(bare, "report")
    assert finished(bare) == after
    made = tables(bare)
    assert made.keys() == expected.keys()
    assert [name for name in made if made[name] != expected[name]] == []
    assert killed or half, "nothing was killed"
