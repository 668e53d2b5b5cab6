"""Trains the runs of a grid: skips finished ones, many at once, and goes on when called again."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.common.blame import in_words
from benchmarks.common.console import Board
from benchmarks.common.device import native_bf16, on_cpu
from benchmarks.common.errors import BenchError, Held, Interrupted, RunError
from benchmarks.common.lease import is_held
from benchmarks.common.signals import catching_stops, refuse_stopped
from benchmarks.common.workers import run_tasks
from benchmarks.plan.grid import RunKey
from benchmarks.plan.record import finished, mismatch
from benchmarks.plan.resolve import Run
from benchmarks.training.one import Place, lease_file, train_run
from benchmarks.training.placing import Room, find_room

LOOK = 5.0  # seconds between two looks at runs that others train


def train_with_others(wanted: Sequence[Run], place: Place, *, jobs: int | None = None) -> None:
    """Train what is not finished; what other processes train is waited for, and done if they stop.

    Args:
        wanted: runs, the longest first.
        place: where.
        jobs: as of `train_runs`.

    Raises:
        BenchError: as `train_runs`, other than `Held`; or another process trains the same runs
            with other parameters.
    """
    todo, done = list(wanted), set[RunKey]()
    while todo:
        told = ""
        try:
            train_runs(todo, place, jobs=jobs)
        except Held as error:
            told = f"{error}\nwaiting for what others train; Ctrl-C ends it"
        with Board() as board:  # not around the training, which has one of its own
            if told:
                board.say(told)
            todo = _free(wanted, done, place.root, board)


def _free(wanted: Sequence[Run], done: set[RunKey], root: Path, board: Board) -> list[Run]:
    """What is not finished and nobody trains; waits while all that is left is trained by others.

    What is finished is added to `done`. If it is not any more, two processes would train it anew in
    turns.
    """
    while True:
        ready, free, held = divided(wanted, root)
        for run in (*free, *held):
            if run.key in done:
                raise RunError(
                    f"another process has trained '{run.key.folder(root)}' with other parameters"
                    " since; stop one of the two"
                )
        done.update(run.key for run in ready)
        board.update("runs, with those of other processes", len(ready), len(wanted))
        if free or not held:
            return free
        time.sleep(LOOK)


def divided(runs: Sequence[Run], root: Path) -> tuple[list[Run], list[Run], list[Run]]:
    """Runs that are finished, those that nobody trains, and those that other processes hold."""
    done: list[Run] = []
    free: list[Run] = []
    held: list[Run] = []
    for run in runs:
        if finished(run, root):
            done.append(run)
        else:
            (held if is_held(lease_file(run, root)) else free).append(run)
    return done, free, held


def train_runs(wanted: Sequence[Run], place: Place, *, jobs: int | None = None) -> int:
    """Train what is not finished.

    Args:
        wanted: runs, the longest first.
        place: where.
        jobs: runs at once; None is one per core on a CPU, on GPUs as many as their memory holds.

    Returns:
        Number of runs trained; the others were finished before.

    Raises:
        Interrupted: stopped by a signal.
        RunError: runs failed; the others are finished.
        BenchError: as `RunError`, where all errors are of one kind: `Lost` if worker processes
            died, `Held` if other processes train what is left, or another that `train_run` raises.
    """
    why = {run.key: mismatch(run, run.key.folder(place.root)) for run in wanted}
    todo = [run for run in wanted if why[run.key]]
    if todo:
        import benchmarks.engine.trainer  # noqa: F401 - takes seconds, in which a signal ends all
    with Board() as board, catching_stops():
        _announce(wanted, why, place, board)
        errors: list[BaseException] = []
        room = find_room(todo, place, jobs) if len(todo) > 1 else Room(1)
        if room.cards:
            board.say(f"{room.count} runs at once on {len(room.cards)} GPUs")
        if room.count > 1:
            errors = _train_at_once(todo, place, room, board)
        else:
            for run in todo:
                refuse_stopped()
                try:
                    train_run(run, board.update, place)
                except Interrupted:
                    raise
                except BenchError as error:
                    errors.append(error)
        refuse_stopped()
        if errors:
            raise _as_one(errors) from errors[0]
        for run in todo:
            board.say(str(run.key.folder(place.root)))
    return len(todo)


def _announce(wanted: Sequence[Run], why: Mapping[RunKey, str], place: Place, board: Board) -> None:
    """Say which runs are kept, why some that are there are trained again, and what is slow."""
    for run in wanted:
        if not why[run.key]:
            board.say(f"{run.key.title}: finished before, kept")
        elif run.key.folder(place.root).exists():
            board.say(f"{run.key.title}: trained again, since {why[run.key]}")
    slow = on_cpu(place.device) and not native_bf16("cpu")
    if slow and any(run.train.amp == "bf16" for run in wanted if why[run.key]):
        board.say("this processor has no bf16 instructions: `train.amp: off` is much faster")


def _as_one(errors: Sequence[BaseException]) -> BenchError:
    """One error with the words of all; of their kind, if they have one that was expected."""
    text = "\n".join(dict.fromkeys(map(in_words, errors)))
    kind, *others = {type(error) for error in errors}
    # A worker alone that was asked to stop is no stop of this process.
    if others or not issubclass(kind, BenchError) or kind is Interrupted:
        return RunError(text)
    return kind(text)


def _train_at_once(
    todo: Sequence[Run], place: Place, room: Room, board: Board
) -> list[BaseException]:
    """Train in worker processes; returns what went wrong."""
    work = partial(train_run, place=room.place(place))
    outcomes = run_tasks(
        work,
        todo,
        room.count,
        report=board.update,
        fork=room.forks(place),
        variables=room.variables,
    )
    return [outcome.error for outcome in outcomes if outcome.error is not None]
