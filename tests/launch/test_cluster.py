"""Ray and submitit in a copy of the checkout, with kills; then `dvc repro`, as after a serial run.

`make launch` runs this.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml

from benchmarks.common.errors import RunError
from benchmarks.common.workers import quiet
from benchmarks.engine.state import STATE
from benchmarks.launch.backend import Slots
from benchmarks.launch.ray import OnRay
from benchmarks.training.one import Place
from tests.pipeline.test_pipeline import METHODS, PARAMS, _repro, clone_of_files

pytestmark = pytest.mark.launch
# States are written after every step, so that a kill may hit the writing of one.
MORE = {
    "train": {**PARAMS["train"], "iterations": 150},  # type: ignore[dict-item]
    "grid": {**PARAMS["grid"], "methods": METHODS[:2], "seeds": [0, 1, 2, 3]},  # type: ignore[dict-item]
    "runtime": {"checkpoint_seconds": 0.0},
}
RUNS = 8
KILLS = int(os.environ.get("LAUNCH_KILLS", "4"))
BACKENDS = ["local", "ray", "slurm"]
# Nodes and drivers of a cluster of Ray show each other a token; the one in the home folder, which
# may be there or not, is left alone.
RAY = {
    "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}  # fmt: skip


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("serial")
    clone_of_files(target)
    return target


def begin(root: Path, on: str, log: Path, ray: str = "") -> subprocess.Popen[bytes]:
    """A launcher, for Ray with the address of a cluster or with one of its own."""
    with log.open("ab") as stream:
        return subprocess.Popen(
            [
                sys.executable, "-m", "benchmarks", "launch", "--on", on, "--workers", "2",
                "--device", "cpu",
            ],
            cwd=root, stdout=stream, stderr=stream,
            env={**os.environ, **RAY, "RAY_ADDRESS": ray},
        )  # fmt: skip


def finished(root: Path) -> dict[Path, int]:
    """Time of the weights of every finished run."""
    return {p: p.stat().st_mtime_ns for p in root.glob("runs/quick/*/*/l*/last.safetensors")}


def inside(root: Path) -> Iterator[psutil.Process]:
    """Processes that work in this checkout."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(root):
                yield process


# What a process that trains is called, by its back end; Ray has others, which are the node's.
TRAINS = ("ray::_attempt", "submitit.core._submit", "benchmarks launch")


def workers(launcher: int, root: Path) -> list[psutil.Process]:
    """Processes that train in this checkout, but for the launcher."""
    found = []
    for process in inside(root):
        with suppress(psutil.Error):
            name = " ".join(process.cmdline())
            if process.pid != launcher and any(text in name for text in TRAINS):
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
    for process in inside(target):
        with suppress(psutil.NoSuchProcess):
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
    assert killed == KILLS, f"done before all kills: {log.read_text()}"
    compare(bare, expected)


def compare(root: Path, expected: dict[str, bytes]) -> None:
    """DVC afterwards: nothing is trained, and the tables have the bytes of a serial run."""
    after = finished(root)
    _repro(root, "report")
    assert finished(root) == after and len(after) == RUNS
    made = tables(root)
    assert made.keys() == expected.keys()
    assert [name for name in made if made[name] != expected[name]] == []


@pytest.fixture
def nodes() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Address of a cluster of two nodes on this machine, and the second node."""
    pytest.importorskip("ray", reason="`python -m pip install '.[ray]'` brings it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # The name of a socket is short, so that the folder is not below pytest's.
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")
    port = address.rpartition(":")[2]
    head = ["--head", "--port", port, "--temp-dir", folder, "--include-dashboard", "false"]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for options in (head, ["--address", address]):
            command = [str(Path(sys.executable).with_name("ray")), "start", "--block", *options]
            command += ["--num-cpus", "1", "--object-store-memory", "100000000"]
            command += ["--node-ip-address", "127.0.0.1"]
            started.append(
                subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    env={**os.environ, **RAY},
                )
            )  # fmt: skip
            wait_for(lambda: raylet(started[-1]), 60)
        yield address, started[1]
    finally:
        everything = [c for p in started for c in psutil.Process(p.pid).children(recursive=True)]
        for process in (*everything, *started):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for node in started:
            node.wait()
        shutil.rmtree(folder, ignore_errors=True)


def raylet(node: subprocess.Popen[bytes]) -> psutil.Process | None:
    """The process that is a node of Ray, once it is there."""
    children = psutil.Process(node.pid).children()
    return next((process for process in children if process.name() == "raylet"), None)


def test_a_killed_node_of_ray_costs_nothing(
    nodes: tuple[str, subprocess.Popen[bytes]],
    bare: Path,
    expected: dict[str, bytes],
    tmp_path: Path,
) -> None:
    (address, second), log = nodes, tmp_path / "log"
    launcher, node = begin(bare, "ray", log, address), raylet(second)
    assert node is not None

    def trains() -> bool:
        names = [" ".join(p.cmdline()) for p in node.children(recursive=True)]
        return any("ray::_attempt" in name for name in names)

    wait_for(trains)
    wait_for(lambda: list(bare.glob(f"runs/**/{STATE}")))
    node.kill()
    assert launcher.wait(300) == 0, log.read_text()
    assert f"done {RUNS} (" in log.read_text() and "failed 0, left 0" in log.read_text()
    compare(bare, expected)


def test_a_cluster_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("ray", reason="`python -m pip install '.[ray]'` brings it")
    for key, value in {**RAY, "RAY_ADDRESS": "127.0.0.1:1"}.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(RunError, match=r"127\.0\.0\.1:1: .* refused\. RAY_ADDRESS names"):
        list(OnRay(Slots()).start([], Place(tmp_path, "cpu"), quiet))
