"""What a worker does: one run, or a walk over all runs of a plan.

Any number of workers may have the same plan. A run belongs to whoever holds its lease, and what is
finished is seen on disk, so no worker needs to hear of another, and none calls DVC.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal

from benchmarks.common.blame import in_words
from benchmarks.common.errors import Held, Interrupted
from benchmarks.common.files import read_json, write_json
from benchmarks.common.signals import refuse_stopped
from benchmarks.common.workers import Report, quiet
from benchmarks.plan.record import finished
from benchmarks.plan.resolve import Run
from benchmarks.training.one import Place, train_run

State = Literal["trained", "kept", "failed", "held", "lost", "open"]


@dataclass(frozen=True)
class Outcome:
    """How a worker left a run.

    Attributes:
        run: which.
        state: `trained` by this worker; `kept`, since it was finished; `failed` with an error;
            `held` by another process; `lost` with its worker; `open`, since all workers ended
            before they came to it.
        reason: why it is not finished.
    """

    run: Run
    state: State
    reason: str = ""


def attempt(run: Run, report: Report, place: Place) -> Outcome:
    """Train a run if it is not finished and nobody else trains it; an error is its own alone.

    Raises:
        Interrupted: this process is to stop; the state is kept.
    """
    try:
        if finished(run, place.root):
            return Outcome(run, "kept")
        trained = train_run(run, report, place)
    except Interrupted:
        raise
    except Held as error:
        return Outcome(run, "held", str(error))
    except Exception as error:
        return Outcome(run, "failed", in_words(error))
    return Outcome(run, "trained" if trained else "kept")


def walk(runs: Sequence[Run], place: Place, notes: Path, number: int) -> Iterator[Outcome]:
    """Do all of a plan that others leave: what a worker pulls until nothing is left.

    Args:
        runs: the plan.
        place: where runs are made.
        notes: folder that all workers of a launch share; a run that failed in one is not tried by
            the others.
        number: of this worker; it gives the order, so that workers seldom meet at a run.

    Yields:
        The outcome of every run, those that others hold after a second look at the end.

    Raises:
        Interrupted: this process is to stop.
    """
    order = list(runs)
    Random(number).shuffle(order)  # noqa: S311 - no secret
    again = []
    for run in order:
        outcome = _once(run, place, notes)
        if outcome.state == "held":
            again.append(run)
        else:
            yield outcome
    for run in again:
        yield _once(run, place, notes)


def _once(run: Run, place: Place, notes: Path) -> Outcome:
    """Attempt a run unless a worker of this launch failed at it."""
    refuse_stopped()
    note = notes / f"{run.digest}.json"
    if note.is_file():
        return Outcome(run, "failed", str(read_json(note)["reason"]))
    outcome = attempt(run, quiet, place)
    if outcome.state == "failed":
        write_json(note, {"run": run.key.title, "reason": outcome.reason})
    return outcome
