"""The interface of all ways to start workers, and what is asked of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.common.errors import ConfigError, not_installed
from benchmarks.common.workers import Report
from benchmarks.launch.work import Outcome
from benchmarks.plan.resolve import Run
from benchmarks.training.one import Place


@dataclass(frozen=True)
class Slots:
    """How much is done at once.

    Attributes:
        workers: runs at once; None leaves it to the machine or cluster.
        per_card: runs at once on one GPU; None leaves it to this machine's memory, elsewhere 1.
        job: parameters of a scheduler's job.
    """

    workers: int | None = None
    per_card: int | None = None
    job: dict[str, str] = field(default_factory=dict)


class Backend(Protocol):
    """Starts workers somewhere and says how every run ended."""

    def start(self, runs: Sequence[Run], place: Place, report: Report) -> Iterator[Outcome]:
        """Do the runs, in about their order; yields an outcome of each as it becomes known.

        Raises:
            Interrupted: a signal asked this process to stop.
            BenchError: nothing can be started; says what mends it.
        """


def missing(extra: str) -> ConfigError:
    """The error where an optional package is not installed."""
    return not_installed(f"--on {extra}", extra, "or take --on local")
