"""`doctor --repair` mends what is of no use, and touches nothing else."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.common.errors import RunError
from benchmarks.common.lease import STALE_SECONDS, Holder, leased
from benchmarks.repair import Repair, find_repairs

SCORES = "data/scores/b/external-masks/.acdc-my_net.lock"
LOCK = {"schema": "2.0", "stages": {"one": {"cmd": "true", "deps": []}}}


def make(root: Path, *paths: str, text: str = "") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


@pytest.fixture(scope="module")
def dead() -> int:
    """Number of a process that is gone."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.fixture
def useless(tmp_path: Path, dead: int) -> list[str]:
    """What killed commands leave; every path is to be named and removed."""
    files = [
        f"runs/b/acdc/m/.l2-f0-s0.partial/.state.pt.{dead}.tmp",
        f"reports/b/.table.csv.{dead}.tmp",
        f"datasets/splits/b/.acdc.json.{dead}.tmp",
        "runs/b/acdc/m/.l2-f0-s0.partial/state.pt.damaged",
        "runs/b/acdc/m/.l2-f0-s0.lock",
        "data/prepared/b/.acdc.lock",
        "data/scores/b/external-masks/.acdc-other.lock",
        "dvc.lock",
        "benchmarks/presets/b/dvc.lock",
        ".dvc/tmp/rwlock",
    ]
    folders = [
        f"data/raw/.phantom.{dead}.filling",
        f"data/scores/b/.acdc-m.{dead}.new",
        "runs/b/acdc/m/.l2-f0-s3.partial",
    ]
    make(tmp_path, *files, *(f"{folder}/file" for folder in folders))
    cut = "schema: '2.0'\nstages:\n  one:\n    cmd: yes\n    deps:\n    - pa"
    (tmp_path / "dvc.lock").write_text(cut)
    holder = asdict(replace(Holder.me(), pid=dead))
    for lease in ("runs/b/acdc/m/.l2-f0-s0.lock", "data/scores/b/external-masks/.acdc-other.lock"):
        (tmp_path / lease).write_text(json.dumps(holder))
    for path in (*files, *folders):
        if path.endswith((".tmp", ".new")):
            os.utime(tmp_path / path, (time.time() - STALE_SECONDS - 60,) * 2)
    return [*files, *folders]


@pytest.fixture
def kept(tmp_path: Path, dead: int) -> Iterator[dict[str, bytes]]:
    """Results, unfinished work that is gone on with, what is in use, and files of users."""
    own = os.getpid()
    make(
        tmp_path,
        "runs/b/acdc/m/.l2-f0-s0.partial/state.pt",
        "runs/b/acdc/m/.l2-f0-s1.partial/run.json",
        "runs/b/acdc/m/.l2-f0-s2.partial/metrics.jsonl",
        "runs/b/acdc/m/l2-f0-s5/run.json",
        "data/prepared/b/.acdc.0123456789abcdef.partial/.done/case.json",
        f"data/raw/.used.{own}.filling/file",
        "data/raw/acdc/.user.lock",
        "data/raw/acdc/image.damaged",
        "data/raw/.acdc.downloads/acdc.zip.part",
        f"reports/b/.table.csv.{own}.tmp",
        f"reports/b/.runs.csv.{dead}.tmp",  # being written: the number is that of another machine
        "reports/b/table.csv",
    )  # fmt: skip
    make(tmp_path, "datasets/dvc.lock", text=json.dumps(LOCK))
    paths = [path for path in tmp_path.rglob("*") if path.is_file()]
    content = {str(path.relative_to(tmp_path)): path.read_bytes() for path in paths}
    folder = os.open(tmp_path / f"data/raw/.used.{own}.filling", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    # A run that has no state yet, but is made, and masks that are being scored.
    with leased(tmp_path / "runs/b/acdc/m/.l2-f0-s2.lock"), leased(tmp_path / SCORES):
        yield content
    os.close(folder)


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setattr("benchmarks.cli.doctor.ROOT", tmp_path)
    return CliRunner()


def test_only_what_is_of_no_use_is_listed_and_after_a_yes_removed(
    kept: dict[str, bytes], useless: list[str], tmp_path: Path, doctor: CliRunner
) -> None:
    asked = doctor.invoke(app, ["doctor", "--repair"], input="n\n")
    listed = {line.split(": ")[0] for line in asked.output.splitlines()[:-1]}
    assert listed == set(useless)
    assert all((tmp_path / path).exists() for path in useless)
    assert "git checkout -- dvc.lock" in asked.output and "dvc repro dvc.yaml" in asked.output
    done = doctor.invoke(app, ["doctor", "--repair", "--yes"])
    assert done.exit_code == 0 and f"{len(useless)} mended" in done.output
    assert not any((tmp_path / path).exists() for path in useless)
    assert {name: (tmp_path / name).read_bytes() for name in kept} == kept
    assert "nothing to mend" in doctor.invoke(app, ["doctor", "--repair"]).output


def test_a_running_dvc_keeps_its_files(tmp_path: Path) -> None:
    make(tmp_path, "dvc.lock", ".dvc/tmp/rwlock", ".dvc/tmp/lock")
    with (tmp_path / ".dvc/tmp/lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert find_repairs(tmp_path) == []
    assert len(find_repairs(tmp_path)) == 2


@pytest.mark.parametrize("damage", [b'{"op_code": 4, "cu', b"\0\0\0\0\n", b'not json\n{"op": 1}\n'])
def test_a_damaged_journal_keeps_its_readable_part(damage: bytes, tmp_path: Path) -> None:
    journal = tmp_path / "data/tuning/study/studies/m/journal.log"
    good = b'{"op_code": 0}\n{"op_code": 1}\n'
    make(tmp_path, str(journal.relative_to(tmp_path)))
    journal.write_bytes(good + damage)
    with leased(journal.with_name("trial-0007.lock")):
        assert find_repairs(tmp_path) == []  # a search runs
    (repair,) = find_repairs(tmp_path)
    assert f"its last {max(1, damage.count(chr(10).encode()))} entries" in repair.what
    repair.mend()
    assert journal.read_bytes() == good
    assert journal.with_name("journal.log.damaged").read_bytes() == good + damage


@pytest.mark.parametrize("taken", ["runs/b/acdc/m/.l2-f0-s0.lock", SCORES])
@pytest.mark.usefixtures("useless")
def test_what_comes_into_use_before_it_is_mended_stays(tmp_path: Path, taken: str) -> None:
    make(tmp_path, SCORES, text=(tmp_path / "runs/b/acdc/m/.l2-f0-s0.lock").read_text())
    repairs = {str(r.path.relative_to(tmp_path)): r for r in find_repairs(tmp_path)}
    begun = tmp_path / "runs/b/acdc/m/.l2-f0-s3.partial"
    with leased(begun.with_suffix(".lock")), leased(tmp_path / taken) as held:
        repairs[str(begun.relative_to(tmp_path))].mend()
        repairs[taken].mend()
        assert begun.is_dir() and (tmp_path / taken).is_file() and held()


@pytest.mark.usefixtures("useless")
def test_what_is_gone_before_it_is_mended_is_no_error(tmp_path: Path) -> None:
    repairs = find_repairs(tmp_path)
    for path in tmp_path.iterdir():
        shutil.rmtree(path, ignore_errors=True)
    for repair in repairs:
        repair.mend()


def test_what_cannot_be_mended_is_told_after_all_else_is_mended(
    tmp_path: Path, doctor: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(error: Exception) -> None:
        raise error

    found = [
        Repair(tmp_path / "dvc.lock", "", partial(fail, RunError("DVC does not take it"))),
        Repair(tmp_path / "table", "", partial(fail, PermissionError(13, "Permission denied"))),
        Repair(tmp_path / "done", "", (tmp_path / "done").touch),
    ]
    monkeypatch.setattr("benchmarks.repair.find_repairs", lambda _root: found)
    done = doctor.invoke(app, ["doctor", "--repair", "--yes"])
    assert (tmp_path / "done").is_file() and "1 mended" in done.output
    told = str(done.exception)
    assert isinstance(done.exception, RunError) and "2 could not be mended" in told
    assert "dvc.lock: DVC does not take it" in told and "table: [Errno 13]" in told
