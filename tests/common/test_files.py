"""Locks and folders that appear in one step."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from benchmarks.common.files import FILLING, claimed, fill_folder, in_use


def contend(lock: Path, held: Path, until: float, overlaps: multiprocessing.Queue[int]) -> None:
    """Claim in a tight loop; a second process inside finds the mark of the first."""
    count = 0
    while time.monotonic() < until:
        try:
            with claimed(lock):
                try:
                    os.close(os.open(held, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    count += 1
                    continue
                held.unlink()
        except BlockingIOError:
            continue
    overlaps.put(count)


def test_a_claim_is_exclusive(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    overlaps: multiprocessing.Queue[int] = context.Queue()
    until = time.monotonic() + 2
    arguments = (tmp_path / "lock", tmp_path / "held", until, overlaps)
    processes = [context.Process(target=contend, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    assert [overlaps.get(timeout=30) for _ in processes] == [0, 0, 0]
    for process in processes:
        process.join()


def full(folder: Path) -> None:
    (folder / "file").write_text("new")


def fill_and_be_killed(target: Path) -> None:
    def fill(folder: Path) -> None:
        full(folder)
        os._exit(9)

    fill_folder(target, fill)


def test_what_a_killed_call_left_is_removed_by_the_next_and_what_is_in_use_is_not(
    tmp_path: Path,
) -> None:
    target = tmp_path / "folder"
    context = multiprocessing.get_context("fork")
    process = context.Process(target=fill_and_be_killed, args=(target,))
    process.start()
    process.join()
    (left,) = tmp_path.glob(f"*{FILLING}")
    assert (left / "file").is_file() and not in_use(left)

    def fill(folder: Path) -> None:
        assert not left.exists() and in_use(folder)
        other = context.Process(target=fill_folder, args=(target, full))
        other.start()
        other.join()
        assert folder.is_dir() and (target / "file").read_text() == "new"
        (folder / "file").write_text("newer")

    fill_folder(target, fill)
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]
    assert (target / "file").read_text() == "newer"


@pytest.mark.parametrize("key", [None, "key"])
def test_an_older_folder_stays_whole_until_the_new_one_is_complete(
    key: str | None, tmp_path: Path
) -> None:
    def failing(folder: Path) -> None:
        full(folder)
        raise KeyboardInterrupt

    (tmp_path / "disk" / "folder").mkdir(parents=True)
    (tmp_path / "disk/folder/old").touch()
    (tmp_path / "link").symlink_to(tmp_path / "disk/folder")
    with pytest.raises(KeyboardInterrupt):
        fill_folder(tmp_path / "link", failing, key=key)
    assert [p.name for p in (tmp_path / "link").iterdir()] == ["old"]
    assert len(list((tmp_path / "disk").iterdir())) == (2 if key else 1)
    fill_folder(tmp_path / "link", full, key=key)
    assert (tmp_path / "link").is_symlink()
    assert [p.name for p in (tmp_path / "link").iterdir()] == ["file"]
    assert [p.name for p in (tmp_path / "disk").iterdir()] == ["folder"]
