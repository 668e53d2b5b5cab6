"""Locks and folders that appear in one step."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from benchmarks.common.files import FILLING, claimed, fill_folder, in_use
from tests.common.contend import overlaps_of


def test_a_claim_is_exclusive(tmp_path: Path) -> None:
    assert overlaps_of(claimed, tmp_path / "lock", processes=3, seconds=2) == [0, 0, 0]


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
