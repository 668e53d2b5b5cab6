"""Trains the runs of a grid: skips finished ones, many at once, and goes on when called again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from benchmarks.common.console import Board
from benchmarks.common.device import default_jobs, pick_device
from benchmarks.common.errors import RunError
from benchmarks.common.signals import catching_stops, refuse_stopped
from benchmarks.common.workers import run_tasks
from benchmarks.plan.resolve import Run, finished
from benchmarks.training.one import Place, train_run


def train_runs(wanted: Sequence[Run], place: Place, *, jobs: int | None = None) -> int:
    """Train what is not finished.

    Args:
        wanted: runs.
        place: where.
        jobs: runs at once; None is one per core on a CPU, one on a GPU.

    Returns:
        Number of runs trained; the others were finished before.

    Raises:
        Interrupted: stopped by a signal.
        RunError: runs failed; the others are finished.
    """
    todo = [run for run in wanted if not finished(run, place.root)]
    if todo:
        import benchmarks.engine.trainer  # noqa: F401 - takes seconds, in which a signal ends all
    count = min(jobs or default_jobs(place.device), len(todo))
    with Board() as board, catching_stops():
        for run in wanted:
            if run not in todo:
                board.say(f"{run.key.title}: finished before, kept")
        errors: list[BaseException] = []
        if count > 1:
            errors = _train_at_once(todo, place, count, board)
        else:
            for run in todo:
                refuse_stopped()
                try:
                    train_run(run, board.update, place)
                except RunError as error:
                    errors.append(error)
        refuse_stopped()
        if errors:
            raise RunError("\n".join(dict.fromkeys(str(e) for e in errors))) from errors[0]
        for run in todo:
            board.say(str(run.key.folder(place.root)))
    return len(todo)


def _train_at_once(
    todo: Sequence[Run], place: Place, count: int, board: Board
) -> list[BaseException]:
    """Train in worker processes; returns what went wrong."""
    threads = place.threads or max(1, len(os.sched_getaffinity(0)) // count)
    work = partial(train_run, place=replace(place, threads=threads))
    on_cpu = pick_device(place.device).type == "cpu"
    outcomes = run_tasks(work, todo, count, report=board.update, fork=on_cpu)
    return [outcome.error for outcome in outcomes if outcome.error is not None]
