"""Life of one worker process of `benchmarks.common.workers`."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any

from benchmarks.common.blame import in_words, raised_at
from benchmarks.common.errors import BenchError, RunError
from benchmarks.common.signals import become_worker, stop_asked

Report = Callable[[str, int, int, str], None]  # name of a task, steps done, in all, note

# Seconds between two looks for a signal, which does not wake a process that waits.
LOOK = 0.1


@dataclass(frozen=True)
class Ended:
    """How a task ended.

    Attributes:
        result: what the work returned.
        error: what it raised.
        last: the worker takes no further task.
    """

    result: object
    error: BaseException | None
    last: bool


def serve(
    work: Callable[[Any, Report], object],
    pipe: Connection,
    stop: Connection,
    inherited: list[Connection],
) -> None:
    """Do tasks until the parent closes the pipe, asks for a stop or is gone.

    Args:
        work: called with a task and a progress callback.
        pipe: tasks come in; tuples of progress and one `Ended` for each task go out.
        stop: reads as ended when the parent asks for a stop or is gone.
        inherited: the parent's ends of pipes; with a copy in here they would never read as ended.
    """
    become_worker(stop.poll)
    for connection in inherited:
        connection.close()

    def report(*progress: object) -> None:
        with suppress(OSError):  # the parent is gone; `stop_asked` tells
            pipe.send(progress)

    while not stop_asked():
        if pipe not in wait([pipe, stop], LOOK):
            continue
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        if not stop_asked():
            _answer(pipe, _done(work, task, report))


def _done(work: Callable[[Any, Report], object], task: object, report: Report) -> Ended:
    try:
        result = work(task, report)
    except BaseException as error:  # the parent decides what it means
        if not isinstance(error, BenchError):
            text = "".join(traceback.format_exception(error))
            error.add_note(raised_at(error))
            error.add_note(text)
        return Ended(None, error, last=stop_asked())
    return Ended(result, None, last=stop_asked())


def _answer(pipe: Connection, ended: Ended) -> None:
    """Send the outcome, or in words what cannot be sent."""
    try:
        data = ForkingPickler.dumps(ended)
        if ended.error is not None:
            ForkingPickler.loads(data)
    except Exception as error:  # whatever a class raises when pickled
        lost = ended.error or error
        plain = RunError(in_words(lost))
        for note in getattr(lost, "__notes__", []):
            plain.add_note(note)
        data = ForkingPickler.dumps(replace(ended, result=None, error=plain))
    with suppress(OSError):
        pipe.send_bytes(data)
