"""The same work for all cases of a data set, in this process or in several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import takewhile
from typing import TypeVar

from benchmarks.common.workers import Outcome, Report, run_tasks
from datasets.base import RawCase

# Seconds that a case may go on after a stop; it is begun anew by the next call.
_GRACE = 1.0

T = TypeVar("T")


def map_cases(work: Callable[[RawCase], T], cases: Iterable[RawCase], jobs: int) -> Iterator[T]:
    """Apply `work` to all cases in order, in this process or in several.

    Raises:
        Interrupted: a signal came; cases that did not end soon after it were given up.
        Exception: of the first case, in order, that failed; no case is begun after a failure.
    """
    if jobs > 1:
        yield from _map_at_once(work, cases, jobs)
        return
    for case in cases:
        yield work(case)


def _map_at_once(work: Callable[[RawCase], T], cases: Iterable[RawCase], jobs: int) -> Iterator[T]:
    waiting: dict[int, Outcome[tuple[int, RawCase], T]] = {}
    failed: list[int] = []
    tasks = takewhile(lambda _: not failed, enumerate(cases))
    # Forked children of a process with running threads can hang, so they are spawned.
    with closing(run_tasks(partial(_numbered, work), tasks, jobs, grace=_GRACE)) as outcomes:
        number = 0
        for outcome in outcomes:
            waiting[outcome.task[0]] = outcome
            if outcome.error is not None:
                failed.append(outcome.task[0])
            while number in waiting:
                yield waiting.pop(number).value()
                number += 1


def _numbered(work: Callable[[RawCase], T], task: tuple[int, RawCase], report: Report) -> T:
    del report
    return work(task[1])
