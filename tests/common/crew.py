"""A command with worker processes for the tests to interrupt: `python -m tests.common.crew`.

Every task notes in the folder that it began, and then how it went on: `ended` or `interrupted`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.common.errors import DataError, Interrupted
from benchmarks.common.signals import catching_stops, stop_asked
from benchmarks.common.workers import Report, run_tasks

if TYPE_CHECKING:
    from datasets.base import RawCase

INTERRUPTED, AT_ONCE, FAILED = 130, 131, 3


@dataclass(frozen=True)
class Work:
    """A task that sleeps.

    Attributes:
        folder: of the notes.
        seconds: of every task.
        deaf: it never asks whether to stop.
        long: number of a task that takes as long as a test may.
    """

    folder: Path
    seconds: float
    deaf: bool = False
    long: int | None = None

    def __call__(self, task: int, report: Report) -> int:
        report(str(task), 0, 1, "")
        (self.folder / f"{task}.began").write_text(str(os.getpid()))
        until = time.monotonic() + (30 if task == self.long else self.seconds)
        while time.monotonic() < until:
            if not self.deaf and stop_asked():
                (self.folder / f"{task}.interrupted").touch()
                raise Interrupted("in the middle")
            time.sleep(0.005)
        (self.folder / f"{task}.ended").touch()
        return task


HELD = 100


def held(raw: RawCase) -> str:
    """The id of a case; from `HELD` on only when a stop is asked for."""
    until = time.monotonic() + 60
    while int(raw.case) >= HELD and not stop_asked() and time.monotonic() < until:
        time.sleep(0.005)
    return raw.case


def endless(raw: RawCase) -> str:
    """The id of a case; from `HELD` on it takes a minute, whatever is asked for."""
    if int(raw.case) >= HELD:
        time.sleep(60)
    return raw.case


def named(raw: RawCase) -> str:
    """The id of a case, if it is none of those that fail; the first cases take longest."""
    number = int(raw.case)
    time.sleep(max(0.0, 0.2 - number / 20))
    if number in {5, 6}:
        raise DataError(f"case {number}")
    if number == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return raw.case


def noted_tasks(folder: Path, count: int) -> Iterator[int]:
    """Tasks; notes that one was taken, from the first of which on signals are caught."""
    for task in range(count):
        (folder / f"{task}.taken").touch()
        yield task


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--long", type=int, help="a task that takes half a minute")
    parser.add_argument("--fork", action="store_true")
    parser.add_argument("--slow", type=float, default=0, help="seconds after each outcome")
    parser.add_argument("--leave", action="store_true", help="after the first outcome")
    given = parser.parse_args()
    work = Work(given.folder, given.seconds, given.deaf, given.long)
    tasks, failed = noted_tasks(given.folder, given.tasks), False
    try:
        try:
            with closing(run_tasks(work, tasks, 2, fork=given.fork)) as outcomes:
                for outcome in outcomes:
                    (given.folder / f"{outcome.task}.told").write_text(str(outcome.error or ""))
                    failed |= outcome.error is not None
                    time.sleep(given.slow)
                    if given.leave:
                        break
        except Interrupted:
            return INTERRUPTED
    except KeyboardInterrupt:
        return AT_ONCE
    return FAILED if failed else 0


def command(folder: Path, *options: str) -> list[str]:
    """What starts this module."""
    return [sys.executable, "-m", "tests.common.crew", str(folder), *options]


def set_sigint(handler: signal.Handlers) -> Callable[[], object]:
    """For `preexec_fn`: what the command inherits, whatever the tests' own shell does."""
    return partial(signal.signal, signal.SIGINT, handler)


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def members(group: int) -> list[int]:
    """Processes of a group, but for those that nobody has waited for (zombies)."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of_group = status.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of_group) == group and state != "Z":
            found.append(int(status.parent.name))
    return found


def gone(group: int) -> bool:
    """Whether no process of a group is left."""
    return not members(group)


if __name__ == "__main__":
    with catching_stops():  # to the very end: how Python ends under a signal is of no interest here
        os._exit(main())
