"""A run that several benchmarks contain is trained once: the others take it over.

What a run is, its data set, method, parameters, split, data and code, does not depend on the names
of its benchmark and row. So the finished folder of one is that of the other.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from benchmarks.common.files import fill_folder, read_json
from benchmarks.common.lease import leased
from benchmarks.common.workspace import RECORD
from benchmarks.plan.record import finished, mismatch
from benchmarks.plan.resolve import Run
from benchmarks.training.one import lease_file, partial_run


def take_over(wanted: Sequence[Run], root: Path, say: Callable[[str], None]) -> int:
    """Give finished runs of other benchmarks of the checkout their places in this one.

    The files are links to the same bytes where the file system has such, else copies.

    Args:
        wanted: runs of a benchmark; those that are finished or being trained are left alone.
        root: the checkout.
        say: called with a line for every run that is taken over.

    Returns:
        Number of runs that were taken over.

    Raises:
        StorageError: the disk is full or `runs/` cannot be written.
    """
    todo = [run for run in wanted if not finished(run, root)]
    known = _finished(root) if todo else {}
    count = 0
    for run in todo:
        target = run.key.folder(root)
        others = (folder for folder in known.get(run.digest, ()) if folder != target)
        source = next((folder for folder in others if not mismatch(run, folder)), None)
        if source is None:
            continue
        with suppress(BlockingIOError), leased(lease_file(run, root)):
            fill_folder(target, partial(_link, source))
            shutil.rmtree(partial_run(target), ignore_errors=True)  # of a run that was stopped
            say(f"{run.key.title}: the same as {source.relative_to(root)}, taken over")
            count += 1
    return count


def _finished(root: Path) -> dict[str, list[Path]]:
    """Folders of all runs that have a record, by identity; any of equal ones may be damaged."""
    found = dict[str, list[Path]]()
    for record in sorted(root.glob(f"runs/*/*/*/[!.]*/{RECORD}")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            found.setdefault(str(read_json(record)["digest"]), []).append(record.parent)
    return found


def _link(source: Path, folder: Path) -> None:
    for path in sorted(source.iterdir()):
        try:
            os.link(path, folder / path.name)
        except OSError:  # another file system, or one without links
            shutil.copy2(path, folder / path.name)
