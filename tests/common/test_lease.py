"""Leases: one holder at a time, on disks without locks too; the dead hold nothing."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from benchmarks.common import lease
from benchmarks.common.lease import is_held, leased
from tests.common.contend import FORK, overlaps_of


def hold(path: Path, ready: Path) -> None:
    with leased(path):
        ready.touch()
        time.sleep(60)


def start_holder(path: Path) -> multiprocessing.process.BaseProcess:
    ready = path.with_name("ready")
    ready.unlink(missing_ok=True)
    holder = FORK.Process(target=hold, args=(path, ready))
    holder.start()
    while not ready.exists():
        time.sleep(0.01)
    return holder


def test_a_lease_is_exclusive_without_locks_of_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four processes that begin with the lease of a dead one; `flock` fails as on some disks."""

    def no_flock(*_: object) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr(fcntl, "flock", no_flock)
    path = tmp_path / "run.lock"
    dead = start_holder(path)
    os.kill(dead.pid or 0, signal.SIGKILL)
    dead.join()
    assert path.exists()
    assert overlaps_of(leased, path, processes=4, seconds=1.5) == [0, 0, 0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["ready"]


def test_a_fresh_lease_is_not_removed_by_who_saw_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes the lease right after this one has looked and seen none."""
    path, looks, fresh = tmp_path / "run.lock", list[None](), lease.Holder.me()

    def holder(_: Path) -> None:
        looks.append(None)
        if len(looks) == 2:  # the one that decides what is removed
            assert lease._create(path, fresh)

    with monkeypatch.context() as patched:
        patched.setattr(lease, "_holder", holder)
        lease._clear_dead(path, 60.0)
    assert len(looks) == 2 and lease._holder(path) == fresh


def test_a_killed_holder_of_this_machine_is_replaced_at_once(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    holder = start_holder(path)
    with pytest.raises(BlockingIOError, match=f"held by process {holder.pid} on "), leased(path):
        pass
    os.kill(holder.pid or 0, signal.SIGKILL)
    while lease._born(holder.pid or 0):  # a zombie counts as dead: nobody has reaped it yet
        time.sleep(0.01)
    with leased(path) as held:
        assert held()
    holder.join()
    assert not path.exists()


def test_a_silent_holder_of_another_machine_is_replaced_and_notices(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with leased(path, beat=600) as first_held:
        content = json.loads(path.read_text())
        os.utime(path, (time.time() - 100, time.time() - 100))
        far = {**content, "machine": "another", "host": "node7"}
        path.write_text(json.dumps(far))
        os.utime(path, (time.time() - 100, time.time() - 100))
        with pytest.raises(BlockingIOError, match="on node7"), leased(path, stale=180):
            pass
        with leased(path, stale=60) as second_held:
            assert second_held() and not first_held()
    path.write_text("")  # cut by a power failure
    with pytest.raises(BlockingIOError, match="unknown machine"), leased(path):
        pass
    path.unlink()
    with leased(path, beat=600) as first_held:
        with leased(tmp_path / "other.lock"):
            path.write_bytes((tmp_path / "other.lock").read_bytes())  # taken over meanwhile
        assert not first_held()
    assert path.exists(), "the lease of another process was removed"


def test_a_stopped_holder_of_this_machine_keeps_its_lease(tmp_path: Path) -> None:
    """After Ctrl-Z it may go on at any time, and would write beside the one who took it over."""
    path = tmp_path / "run.lock"
    holder = start_holder(path)
    os.kill(holder.pid or 0, signal.SIGSTOP)
    os.utime(path, (1, 1))
    with pytest.raises(BlockingIOError, match=f"`kill -CONT {holder.pid}` lets it go on"):
        leased(path).__enter__()
    assert is_held(path)
    os.kill(holder.pid or 0, signal.SIGKILL)
    holder.join()
    with leased(path) as held:
        assert held()


def test_a_holder_gives_signs_of_life(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with leased(path, beat=0.02):
        os.utime(path, (1, 1))
        until = time.monotonic() + 10
        while path.stat().st_mtime < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 10
