"""Tasks in worker processes: a clean stop, no orphans, and a killed worker costs one task.

Every worker has a pipe of its own, on which it gets a task when it is free and answers with
progress and the outcome; there are no queues, locks or threads that a signal or a kill could leave
in a bad state. One further pipe carries the stop: its writing end is open in the parent alone, so
that it reads as ended in all workers when the parent closes it, and when the parent is gone.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkContext, SpawnContext
from multiprocessing.process import BaseProcess
from signal import SIGKILL, Signals
from typing import Any, Generic, TypeVar, cast

from benchmarks.common.errors import Interrupted, Lost, RunError
from benchmarks.common.serving import LOOK, Ended, Report, serve
from benchmarks.common.signals import (
    blocking_stops,
    catching_stops,
    holding_stops,
    refuse_stopped,
    stop_asked,
    stop_at_once,
)

__all__ = ["Outcome", "Report", "quiet", "run_tasks", "variables_set"]

Task = TypeVar("Task")
Result = TypeVar("Result")

# A worker without a task that has not ended after so many seconds is killed.
_PATIENCE = 10.0
_NAME = "worker"  # of worker processes, before their number
_FEWER = "run fewer at once (--jobs, of launch --workers), then run the same command again"


@dataclass(frozen=True)
class Outcome(Generic[Task, Result]):
    """How a task ended.

    Attributes:
        task: as it was given.
        result: what the work returned; None after an error.
        error: what the work raised, of its own type. One that is no `BenchError` has two notes:
            "file:line" where it was raised, and the worker's traceback. `Lost` if the worker
            process was killed; `Interrupted` if that process alone was asked to stop.
    """

    task: Task
    result: Result | None = None
    error: BaseException | None = None

    def value(self) -> Result:
        """The result; raises the error if there is one."""
        if self.error is not None:
            raise self.error
        return cast("Result", self.result)


def quiet(name: str, done: int, total: int, note: str) -> None:
    """Progress that nobody wants to see."""


def run_tasks(
    work: Callable[[Task, Report], Result],
    tasks: Iterable[Task],
    count: int,
    *,
    report: Report = quiet,
    fork: bool = False,
    grace: float = math.inf,
    variables: Callable[[int], Mapping[str, str]] | None = None,
) -> Generator[Outcome[Task, Result], None, None]:
    """Do tasks in `count` processes at once; yields the outcomes in the order of completion.

    A task is taken from `tasks` only when a process is free for it. Work that takes long asks
    `stop_asked()` between two steps and raises `Interrupted`. Whoever may leave the loop early
    closes the iterator (`contextlib.closing`), which stops the tasks that run and waits for them.

    Args:
        work: called in a worker with a task and a progress callback; importable, as are results.
        tasks: what to do, in order; picklable.
        count: processes, at least 1.
        report: called in this process with the progress of all tasks.
        fork: workers inherit what is imported and start in milliseconds, on Linux; CUDA and
            running threads forbid it.
        grace: seconds after a stop in which tasks must end that do not ask for it, or be killed.
        variables: what is set in the environment of a worker of some number before it imports
            anything; not with `fork`, which has imported.

    Raises:
        Interrupted: a signal came; the tasks that ran then have ended and were yielded, but for
            those that were interrupted or killed.
        KeyboardInterrupt: Ctrl-C came after it; the workers were killed.
        RunError: no process can be started.
    """
    with catching_stops():
        crew = _Crew(work, iter(tasks), count, report, fork=fork, grace=grace)
        crew.variables = variables or crew.variables
        try:
            with holding_stops():
                crew.hire()
            while crew.workers:
                with holding_stops():
                    outcomes = crew.step()
                yield from outcomes
            refuse_stopped()
        finally:
            with holding_stops():
                crew.end()


@dataclass(eq=False)
class _Worker(Generic[Task]):
    process: BaseProcess
    pipe: Connection
    task: Task


class _Crew(Generic[Task, Result]):
    """The workers of a call as its parent sees them; each in `workers` has a task."""

    def __init__(
        self,
        work: Callable[[Task, Report], Result],
        tasks: Iterator[Task],
        count: int,
        report: Report,
        *,
        fork: bool,
        grace: float,
    ) -> None:
        self.workers: list[_Worker[Task]] = []
        self.variables: Callable[[int], Mapping[str, str]] = lambda _number: {}
        self._grace, self._until = grace, math.inf
        self._work, self._tasks, self._count, self._report = work, tasks, count, report
        self._fork = fork and sys.platform == "linux"
        self._context: ForkContext | SpawnContext = (
            get_context("fork") if self._fork else get_context("spawn")
        )
        self._stop, self._asks = self._context.Pipe(duplex=False)
        self._free: list[tuple[BaseProcess, Connection]] = []
        self._leaving: list[BaseProcess] = []
        if not self._fork:
            resource_tracker.ensure_running()  # starting it would lift `blocking_stops`

    def hire(self) -> None:
        """Give every free worker a task, or let it go if there is none."""
        while len(self.workers) < self._count and not stop_asked():
            try:
                task = next(self._tasks)
            except StopIteration:
                break
            process, pipe = self._free.pop() if self._free else self._start()
            self.workers.append(_Worker(process, pipe, task))
            with suppress(BrokenPipeError, ConnectionResetError):  # it died: `step` will see
                pipe.send(task)
        while self._free:
            self._let_go(*self._free.pop())

    def _start(self) -> tuple[BaseProcess, Connection]:
        try:
            pipe, theirs = self._context.Pipe()
            known = [pipe, self._asks, *(w.pipe for w in self.workers), *(c for _, c in self._free)]
            alive = [*(w.process for w in self.workers), *(p for p, _ in self._free)]
            taken = {p.name for p in alive}
            number = next(n for n in range(self._count) if f"{_NAME}-{n}" not in taken)
            process = self._context.Process(
                target=serve,
                args=(self._work, theirs, self._stop, known if self._fork else []),
                name=f"{_NAME}-{number}",
                daemon=True,
            )
            with blocking_stops(), variables_set(self.variables(number)):
                process.start()
        except OSError as error:
            raise RunError(
                f"no further worker process can be started ({error.strerror}): {_FEWER}"
            ) from None
        theirs.close()
        return process, pipe

    def step(self) -> list[Outcome[Task, Result]]:
        """Wait a moment for answers; pass the stop on; give free workers their next task."""
        if stop_asked() and not self._asks.closed:
            self._asks.close()
            self._until = time.monotonic() + self._grace
        late = time.monotonic() > self._until
        for worker in self.workers if late else ():
            worker.process.kill()
        by_handle: dict[Any, _Worker[Task]] = {w.pipe: w for w in self.workers}
        by_handle |= {w.process.sentinel: w for w in self.workers}
        answered = dict.fromkeys(by_handle[handle] for handle in wait(list(by_handle), LOOK))
        heard = [self._hear(w) for w in answered]
        self.hire()
        mine = [o for o in heard if o is not None]
        given_up = (Interrupted, Lost) if late else Interrupted
        return [o for o in mine if not (stop_asked() and isinstance(o.error, given_up))]

    def _hear(self, worker: _Worker[Task]) -> Outcome[Task, Result] | None:
        """Take one message of a worker, which is at its end if it has none."""
        try:
            message = worker.pipe.recv() if worker.pipe.poll() else None
        except (EOFError, OSError):
            message = None
        except Exception as error:  # of the result's own unpickling
            message = Ended(None, error, last=False)
        if isinstance(message, tuple):
            self._report(*message)
            return None
        self.workers.remove(worker)
        if message is None:
            self._let_go(worker.process, worker.pipe)
            return Outcome(worker.task, error=_cause(worker.process))
        if message.last:
            self._let_go(worker.process, worker.pipe)
        else:
            self._free.append((worker.process, worker.pipe))
        return Outcome(worker.task, cast("Result", message.result), message.error)

    def _let_go(self, process: BaseProcess, pipe: Connection) -> None:
        pipe.close()
        self._leaving.append(process)

    def end(self) -> None:
        """Stop what runs, wait for it, or kill it after a second Ctrl-C."""
        for connection in (self._asks, self._stop, *(w.pipe for w in self.workers)):
            connection.close()
        busy = {w.process for w in self.workers}
        while self._free:
            self._let_go(*self._free.pop())
        alive, deadline = {*busy, *self._leaving}, time.monotonic() + _PATIENCE
        while alive := {p for p in alive if p.is_alive()}:
            late = alive if stop_at_once() else alive - busy
            if stop_at_once() or time.monotonic() > deadline:
                for process in late:
                    process.kill()
            wait([p.sentinel for p in alive], LOOK)


@contextmanager
def variables_set(variables: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for processes that are started in the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _cause(process: BaseProcess) -> Interrupted | Lost:
    """Why a process ended without an answer."""
    process.join(_PATIENCE)
    code = process.exitcode
    if code == 0:
        return Interrupted("stopped before it began: its worker process was asked to stop")
    if code in {None, -SIGKILL}:
        return Lost(
            f"a worker process was killed, most often because memory ran out: {_FEWER}; what was"
            " saved is kept"
        )
    how = f"was ended by {Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return Lost(f"a worker process {how}; run the same command again to go on")
