"""Workers on this machine: one for every core, or some for every card."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib import import_module

from benchmarks.common.workers import Report, run_tasks
from benchmarks.launch.backend import Slots
from benchmarks.launch.work import Outcome, attempt
from benchmarks.plan.resolve import Run
from benchmarks.training.one import Place
from benchmarks.training.placing import cards_of, find_room

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
        slots, per_card = self.slots, self.slots.per_card or 0
        jobs = slots.workers or len(cards_of(place.device)) * per_card or None
        for module in _WARM:
            import_module(module)
        room = find_room(runs, place, jobs)
        work = partial(attempt, place=room.place(place))
        outcomes = run_tasks(
            work, runs, room.count, report=report, fork=room.forks(place), variables=room.variables
        )
        with closing(outcomes):
            for outcome in outcomes:
                if outcome.error is None:
                    yield outcome.value()
                else:  # of the process alone: what the work raises is an outcome of its own
                    yield Outcome(outcome.task, "lost", str(outcome.error))
