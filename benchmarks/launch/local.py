"""Workers on this machine: one for every core, or some for every card."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module

from benchmarks.common.device import cores_per_run
from benchmarks.common.workers import Report, run_tasks, worker_number
from benchmarks.launch.backend import Slots, cards
from benchmarks.launch.work import Outcome, attempt
from benchmarks.plan.resolve import Run
from benchmarks.training.one import Place

# Imported once, before processes are forked; torch's deterministic mode imports the second.
_WARM = ("benchmarks.engine.trainer", "torch._inductor")


@dataclass(frozen=True)
class Local:
    """Processes of this machine; a run is given to the next free one.

    Attributes:
        slots: how many at once.
    """

    slots: Slots

    def start(self, runs: Sequence[Run], place: Place, report: Report) -> Iterator[Outcome]:
        """See `Backend.start`."""
        found, cores = cards(place.device), len(os.sched_getaffinity(0))
        most = self.slots.workers or len(found) * self.slots.per_card or cores
        count = min(most, len(runs))
        place = replace(place, threads=place.threads or cores_per_run(count))
        for module in _WARM:
            import_module(module)
        work = partial(_on_slot, place=place, found=found)
        with closing(run_tasks(work, runs, count, report=report, fork=not found)) as outcomes:
            for outcome in outcomes:
                if outcome.error is None:
                    yield outcome.value()
                else:  # of the process alone: what the work raises is an outcome of its own
                    yield Outcome(outcome.task, "lost", str(outcome.error))


def _on_slot(run: Run, report: Report, *, place: Place, found: tuple[str, ...]) -> Outcome:
    """Attempt a run on the card of this worker process."""
    if found:
        place = replace(place, device=found[worker_number() % len(found)])
    return attempt(run, report, place)
