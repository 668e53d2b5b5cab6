"""Full disks, places that cannot be written and files that are none: one message, then a re-run."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.common.crew import set_sigint
from tests.common.forks import call
from tests.noting import noted
from tests.pipeline.test_cli import copy_packages, params, refused, save, write_acdc

Mend = Callable[[], object]
LIMIT = 3000  # bytes a file may have, as on a disk that is full


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Packages, and raw data of four patients."""
    copy_packages(tmp_path)
    write_acdc(tmp_path / "data/raw/acdc")
    params(tmp_path)
    return tmp_path


def call_on_full_disk(cwd: Path, *args: str) -> str:
    """What a command says that fails because no file may grow beyond `LIMIT`."""
    done = subprocess.run(
        [sys.executable, "-B", "-m", "benchmarks", *args],
        cwd=cwd, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT)),
    )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    return done.stderr


def replaced(path: Path, content: bytes | None) -> Mend:
    """Put other bytes, or a folder, in place of a file; returns what undoes it."""
    before = path.read_bytes()
    path.unlink()
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)

    def mend() -> None:
        if path.is_dir():
            path.rmdir()
        path.write_bytes(before)

    return mend


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "has zero bytes"),
        (b"\x1f\x8b" + bytes(50), "is cut off"),
        (b"PK\x03\x04 a zip file", "has another magic number"),
        (bytes(400), "holds only zeros"),
        (None, "is a folder"),
    ],
)
def test_files_that_are_none(checkout: Path, content: bytes | None, what: str) -> None:
    path = checkout / "data/raw/acdc/patient002/patient002_frame01.nii.gz"
    mend = replaced(path, content)
    said = noted(f"prepare: an image {what}", refused(checkout, "prepare", "acdc"))
    assert "patient002_frame01" in said
    assert not list((checkout / "data/prepared").rglob("*.npy"))
    mend()
    assert call("prepare", "acdc", cwd=checkout).returncode == 0


def test_a_folder_that_cannot_be_written(checkout: Path) -> None:
    # sysfs takes no new folders, from root neither.
    (checkout / "data/prepared").symlink_to("/sys")
    said = noted("prepare: read-only target", refused(checkout, "prepare", "acdc"))
    assert "/prepared/" in said and "write permission" in said
    (checkout / "data/prepared").unlink()
    (checkout / "data/prepared").write_text("a file where a folder should be")
    said = noted("prepare: a file in place of the folder", refused(checkout, "prepare", "acdc"))
    assert "data/prepared" in said
    (checkout / "data/prepared").unlink()
    assert call("prepare", "acdc", cwd=checkout).returncode == 0


def test_a_full_disk_while_preparing_keeps_what_was_there(checkout: Path) -> None:
    assert call("prepare", "acdc", cwd=checkout).returncode == 0
    kept = {p: p.read_bytes() for p in (checkout / "data/prepared").rglob("*") if p.is_file()}
    stem = checkout / "data/raw/acdc/patient001/patient001_frame01"
    save(stem, np.random.default_rng(3).integers(0, 200, (24, 20, 3)), "")
    said = noted("prepare: full disk", call_on_full_disk(checkout, "prepare", "acdc"))
    assert "patient00" in said and "free the disk" in said
    assert {p: p.read_bytes() for p in kept} == kept
    # What was done before the disk was full is there for the next call, and nothing else.
    [begun] = (checkout / "data/prepared/mine").glob(".*")
    assert begun.name.endswith(".partial")
    assert call("prepare", "acdc", cwd=checkout).returncode == 0
    assert not begun.exists()


def test_a_full_disk_while_training_and_a_vanished_data_set(checkout: Path) -> None:
    assert call("prepare", "acdc", cwd=checkout).returncode == 0
    assert call("split", "acdc", cwd=checkout).returncode == 0
    said = call_on_full_disk(checkout, "run", "acdc", "supervised", "--device", "cpu")
    noted("run: full disk", said)
    assert "runs/" in said and "free the disk" in said
    assert not list((checkout / "runs").rglob("run.json"))
    away = checkout / "data/elsewhere"
    (checkout / "data/prepared").rename(away)
    said = noted("run: data set vanished", refused(checkout, "run", "acdc", "supervised"))
    assert "python -m benchmarks prepare acdc" in said
    away.rename(checkout / "data/prepared")
    assert call("run", "acdc", "supervised", "--device", "cpu", cwd=checkout).returncode == 0
    assert len(list((checkout / "runs").rglob("run.json"))) == 1


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("inherited", [signal.SIG_DFL, signal.SIG_IGN])
def test_ctrl_c_keeps_the_cases_that_are_done(
    inherited: signal.Handlers, jobs: str, checkout: Path
) -> None:
    write_acdc(checkout / "data/raw/acdc", patients=40)
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "prepare", "acdc", "--jobs", jobs],
        cwd=checkout, start_new_session=True, text=True, preexec_fn=set_sigint(inherited),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    prepared = checkout / "data/prepared/mine"
    while not list(prepared.glob(".acdc.*.partial/.done/*.json")) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "run the same command again" in said and "Traceback" not in said
    assert not (prepared / "acdc").exists()
    kept = {p: p.stat().st_mtime_ns for p in prepared.glob(".acdc.*.partial/*/image.npy")}
    assert 0 < len(kept) < 80
    assert call("prepare", "acdc", cwd=checkout).returncode == 0
    assert {p.name for p in prepared.iterdir()} == {"acdc", "acdc.raw.json"}
    same = [
        p
        for p in kept
        if (prepared / "acdc" / p.parent.name / p.name).stat().st_mtime_ns == kept[p]
    ]
    assert len(same) >= len(kept) - int(jobs)  # all but those that were being written


def test_names_that_are_not_ascii(checkout: Path) -> None:
    raw = checkout / "Kardiologie Zürich/心臓 ☃"
    raw.parent.mkdir()
    (checkout / "data/raw/acdc").rename(raw)
    done = call("prepare", "acdc", "--raw", str(raw), cwd=checkout, LC_ALL="C")
    assert done.returncode == 0, done.stderr
    replaced(raw / "patient003/patient003_frame07_gt.nii.gz", b"")
    done = call("prepare", "acdc", "--raw", str(raw), cwd=checkout, LC_ALL="C")
    assert done.returncode == 2 and "patient003_frame07_gt" in done.stderr
