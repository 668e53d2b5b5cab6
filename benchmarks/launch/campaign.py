"""A whole plan with any back end: until every run is finished or failed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.common.errors import ConfigError
from benchmarks.common.signals import catching_stops, refuse_stopped
from benchmarks.common.workers import Report
from benchmarks.launch.backend import Backend
from benchmarks.launch.work import Outcome
from benchmarks.plan.resolve import Run
from benchmarks.training.many import LOOK, divided
from benchmarks.training.one import Place

# A run is given up after so many workers have died of it, a launch after so many rounds in which
# its workers came to the end of no run.
_TRIES = 3


@dataclass
class Summary:
    """How a plan stands.

    Attributes:
        kept: runs that were finished, before or by others.
        trained: runs of this launch.
        failed: reasons by run.
        left: why a run was not done, by run.
    """

    kept: int = 0
    trained: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """For people: the counts, and the reason of every run that is not done."""
        done = self.kept + self.trained
        head = f"done {done} ({self.trained} trained here), failed {len(self.failed)}"
        reasons = [f"failed: {t}: {r}" for t, r in self.failed.items()]
        reasons += [f"left: {t}: {r}" for t, r in self.left.items()]
        return [f"{head}, left {len(self.left)}", *reasons]


def launch(
    runs: Sequence[Run],
    backend: Backend,
    place: Place,
    *,
    report: Report,
    say: Callable[[str], None],
) -> Summary:
    """Do all runs of a plan; those that others hold are waited for, and done if they are left.

    Args:
        runs: the plan, in the order in which they are wanted.
        backend: starts the workers.
        place: where runs are made.
        report: called with progress.
        say: called with lines for people: what has failed, and the summary, also after a stop.

    Raises:
        Interrupted: a signal came; what is done is kept.
        BenchError: nothing can be started.
    """
    summary = Summary(left={run.key.title: "not done yet" for run in runs})
    deaths: Counter[str] = Counter()
    waiting, idle = list(runs), 0
    with catching_stops():
        try:
            while waiting and idle < _TRIES:
                before = len(summary.left)
                ready, free, waiting = divided(waiting, place.root)
                for run in ready:
                    del summary.left[run.key.title]
                summary.kept += len(ready)
                if free:
                    outcomes = backend.start(free, place, report)
                    waiting += [o.run for o in outcomes if _again(o, summary, deaths, say)]
                    idle = idle + 1 if len(summary.left) == before else 0
                elif waiting:
                    time.sleep(LOOK)
                refuse_stopped()
        finally:
            for line in summary.lines():
                say(line)
    return summary


def _again(
    outcome: Outcome, summary: Summary, deaths: Counter[str], say: Callable[[str], None]
) -> bool:
    """Count an outcome; returns whether the run is to be looked at again."""
    title = outcome.run.key.title
    del summary.left[title]
    if outcome.state == "kept":
        summary.kept += 1
    elif outcome.state == "trained":
        summary.trained += 1
    elif outcome.state == "failed":
        summary.failed[title] = outcome.reason
    else:
        summary.left[title] = outcome.reason
        deaths[title] += outcome.state == "lost"
        if deaths[title] < _TRIES:
            return True
        summary.failed[title] = summary.left.pop(title)
    if outcome.reason:
        say(f"{title}: {outcome.state}: {outcome.reason}")
    return False


def shard_of(shard: str | None) -> slice:
    """Where the i-th of n parts of about equal cost is in a plan, the longest run first.

    Args:
        shard: "i/n", with i from 1 to n; None is all.

    Raises:
        ConfigError: another text.
    """
    if shard is None:
        return slice(None)
    part, slash, parts = shard.partition("/")
    if not (slash and part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise ConfigError(f"--shard '{shard}': give a part and their number, such as 1/4 to 4/4")
    return slice(int(part) - 1, None, int(parts))
