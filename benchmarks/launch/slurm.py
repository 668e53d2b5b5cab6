"""Workers as jobs of SLURM, by submitit: an array of jobs that pull runs until none is left.

Before its time limit a job is put back into the queue and goes on later. Where there is no SLURM,
submitit starts the jobs as processes of this machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common.errors import ConfigError, Interrupted
from benchmarks.common.signals import catching_stops, stop_asked
from benchmarks.common.workers import Report
from benchmarks.common.workspace import launch_folder
from benchmarks.launch.backend import Slots, missing
from benchmarks.launch.work import Outcome, walk
from benchmarks.plan.resolve import Run
from benchmarks.training.one import Place, lease_file

# Of a job where the user names nothing else.
_JOB: dict[str, Any] = {"name": "bench", "timeout_min": 240, "cpus_per_task": 4}
_WORKERS = 4
_REQUEUED = 1000  # times that a job comes to its time limit; submitit would end it at the third
_LOOK = 1.0  # seconds between two looks for a signal and for ended jobs


@dataclass(frozen=True)
class Pull:
    """A job: a walk over the plan, which starts anew where the job is put back into the queue.

    Attributes:
        runs: the plan.
        place: where runs are made.
        notes: shared by the workers of this launch.
        number: of the worker.
    """

    runs: tuple[Run, ...]
    place: Place
    notes: Path
    number: int

    def __call__(self) -> list[Outcome]:
        """Walk; what was done, run by run."""
        with catching_stops():
            return list(walk(self.runs, self.place, self.notes, self.number))

    def checkpoint(self) -> Any:
        """What submitit puts into the queue before the time limit: the same walk."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


@dataclass(frozen=True)
class OnSlurm:
    """An array of jobs.

    Attributes:
        slots: `workers` jobs, with the parameters `job` of submitit.
    """

    slots: Slots

    def start(self, runs: Sequence[Run], place: Place, report: Report) -> Iterator[Outcome]:
        """See `Backend.start`; a stop of the launcher leaves the jobs in the queue."""
        workers = min(self.slots.workers or _WORKERS, len(runs))
        stamp = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        folder = launch_folder(place.root, runs[0].key.benchmark) / stamp
        executor = _executor(folder, workers, place, self.slots.job)
        pulls = [Pull(tuple(runs), place, folder, number) for number in range(workers)]
        with catching_stops():
            with executor.batch():  # one array
                jobs = [executor.submit(pull) for pull in pulls]
            yield from _outcomes(jobs, runs, place.root, folder, report)


def _executor(folder: Path, workers: int, place: Place, job: dict[str, str]) -> Any:
    """What submits jobs with the wanted parameters.

    Raises:
        ConfigError: submitit is not installed, or knows no such parameter.
    """
    try:
        import submitit
    except ImportError:
        raise missing("slurm") from None
    cards = {} if place.device == "cpu" else {"gpus_per_node": 1}
    given = {key: int(value) if value.isdigit() else value for key, value in job.items()}
    executor = submitit.AutoExecutor(folder=folder, slurm_max_num_timeout=_REQUEUED)
    try:
        executor.update_parameters(**{**_JOB, "slurm_array_parallelism": workers, **cards, **given})
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(f"--job: {error}") from None
    return executor


def _outcomes(
    jobs: list[Any], runs: Sequence[Run], root: Path, folder: Path, report: Report
) -> Iterator[Outcome]:
    """Wait for all jobs; what no job has done is looked at last."""
    # By key: rows of a grid may be equal, and have the same digest.
    open_runs, held, running = {run.key: run for run in runs}, {}, list(jobs)
    while running:
        if stop_asked():
            names = " ".join(job.job_id for job in running)
            raise Interrupted(
                f"stopped waiting; the jobs go on: `scancel {names}` ends them, the same command"
                " adds workers"
            )
        for job in [job for job in running if job.done()]:
            running.remove(job)
            report("jobs", len(jobs) - len(running), len(jobs), "")
            for outcome in _of_job(job):
                if outcome.state == "held":
                    held[outcome.run.key] = outcome
                elif open_runs.pop(outcome.run.key, None) is not None:
                    yield outcome
        time.sleep(_LOOK if running else 0)
    for key, run in open_runs.items():
        died = lease_file(run, root).exists()  # whoever leaves a run takes its lease away
        reason = f"its job ended; what it said is in '{folder}'"
        yield held.get(key, Outcome(run, "lost" if died else "open", reason))


def _of_job(job: Any) -> list[Outcome]:
    """What a job did; nothing if it was killed."""
    try:
        found: list[Outcome] = job.result()
    except Exception:  # submitit has one for every way to end
        return []
    return found
