"""Many runs at once in worker processes, with shared progress and a clean stop."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from threading import Thread
from typing import TypeVar

from benchmarks.console import Board
from benchmarks.errors import Interrupted, RunError
from benchmarks.signals import StopFlag

Report = Callable[[str, int, int, str], None]
Update = tuple[str, int, int, str]
Task = TypeVar("Task")

_queue: SimpleQueue[Update | None] | None = None


def run_pool(
    work: Callable[[Task, int, Report], None],
    tasks: Sequence[Task],
    count: int,
    board: Board,
    *,
    fork: bool,
) -> None:
    """Do all tasks in `count` processes; on a signal every worker saves its state before it leaves.

    Args:
        work: called in a worker with a task, its share of the CPU threads and a progress callback;
            must be importable.
        tasks: what to do, in order; must be picklable.
        count: processes.
        board: where progress is shown.
        fork: workers inherit what is imported, which saves seconds each; CUDA forbids it.

    Raises:
        Interrupted: a signal came.
        RunError: tasks failed; the others are done.
    """
    context = get_context("fork" if fork and sys.platform == "linux" else "spawn")
    queue: SimpleQueue[Update | None] = context.SimpleQueue()
    listener = Thread(target=_listen, args=(queue, board), daemon=True)
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    with StopFlag(forward=True) as flag:
        pool = ProcessPoolExecutor(count, context, _start_worker, (queue,))
        try:
            futures = [pool.submit(_do, work, task, threads) for task in tasks]
            listener.start()  # after the workers, so that none is forked from two threads
            _collect(futures, flag, pool)
        finally:
            pool.shutdown(cancel_futures=True)
            queue.put(None)
            listener.join()


def _start_worker(queue: SimpleQueue[Update | None]) -> None:
    global _queue
    _queue = queue


def _do(work: Callable[[Task, int, Report], None], task: Task, threads: int) -> None:
    work(task, threads, _report)


def _report(name: str, done: int, total: int, note: str) -> None:
    if _queue is not None:
        _queue.put((name, done, total, note))


def _listen(queue: SimpleQueue[Update | None], board: Board) -> None:
    while (update := queue.get()) is not None:
        board.update(*update)


def _collect(futures: list[Future[None]], flag: StopFlag, pool: ProcessPoolExecutor) -> None:
    """Wait for all tasks; report failures together, after the others are done."""
    pending, errors = set(futures), []
    while pending:
        done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
        errors += [_named(e) for f in done if not f.cancelled() and (e := f.exception())]
        if flag.raised:
            pool.shutdown(wait=False, cancel_futures=True)
            pending = {f for f in pending if not f.cancelled()}
    if flag.raised:
        raise Interrupted("stopped; finished runs are kept, run the same command again to resume")
    if errors:
        raise failures(errors) from errors[0]


def _named(error: BaseException) -> BaseException:
    """What a worker's sudden end may mean."""
    if not isinstance(error, BrokenProcessPool):
        return error
    return RunError(
        "a worker process was killed, most often because memory ran out: lower --jobs,"
        " train.labeled_batch, train.unlabeled_batch or train.patch, then run the same command"
        " again; what was saved is kept"
    )


def failures(errors: Sequence[BaseException]) -> RunError:
    """One error with the message of each, none twice."""
    return RunError("\n".join(dict.fromkeys(str(e) for e in errors)))
